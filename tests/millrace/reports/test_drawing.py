"""Laws about the look of plots."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from millrace.reports import drawing
from millrace.reports.drawing import styled, svg


def drawn() -> str:
    figure = Figure()
    figure.subplots().plot([0, 1], [1, 2], marker="o")
    return svg(figure)


def test_the_same_figure_is_the_same_document_whenever_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    with styled():
        assert drawn() == drawn()
    monkeypatch.delitem(drawing._STYLE, "svg.hashsalt")  # what keeps its ids from being drawn by lot
    with styled():
        assert drawn() != drawn()
