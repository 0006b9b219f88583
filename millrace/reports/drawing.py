"""The look of all plots, and how they become SVG."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "millrace",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
}
OURS: Final = "#1f5f8b"
OTHER: Final = "#b0b7bf"
WRONG: Final = "#c2502e"
WIDTH_IN: Final = 7.2


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the look of all reports."""
    with mpl.rc_context(_STYLE):
        yield


def svg(figure: Figure) -> str:
    """A figure as an SVG document that is the same whenever it is drawn."""
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()
