"""Plots of the comparisons: bars with their spread, as SVG that reads on a light page and in grey."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.peers.findings import Bar, shown

_OURS, _THEIRS, _INK = "#1f5f8b", "#b0b7bf", "#222222"  # dark and light: they keep apart in grey
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "millrace",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
}


def draw(path: Path, title: str, bars: Sequence[Bar], unit: str) -> None:
    """Write horizontal bars, the first one on top, our own in another colour and with a mark of its own.

    Parameters
    ----------
    path : Path
        SVG file; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8, 0.9 + 0.42 * len(bars)), layout="constrained", facecolor="white")
        axes = figure.subplots()
        places = range(len(bars))
        colours = [_OURS if bar.label.startswith("Millrace") else _THEIRS for bar in bars]
        spread = [[bar.value - bar.low for bar in bars], [bar.high - bar.value for bar in bars]]
        axes.barh(places, [bar.value for bar in bars], color=colours, height=0.66)
        axes.errorbar([bar.value for bar in bars], places, xerr=spread, fmt="none", ecolor=_INK, capsize=3, lw=1)
        axes.set_yticks(places, [bar.label for bar in bars])
        for bar, tick in zip(bars, axes.get_yticklabels(), strict=True):
            tick.set_fontweight("bold" if bar.label.startswith("Millrace") else "normal")
        for place, bar in zip(places, bars, strict=True):
            axes.annotate(
                shown(bar.value), (bar.high, place), xytext=(6, 0), textcoords="offset points", va="center", color=_INK
            )
        axes.invert_yaxis()
        axes.set_xlim(0, max(bar.high for bar in bars) * 1.14)
        axes.set_title(title, loc="left", color=_INK)
        axes.set_xlabel(unit, color=_INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.savefig(path, format="svg", metadata={"Date": None, "Title": title})
