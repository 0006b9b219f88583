"""Charts as shapes for SVG: where each point, bar and mark stands. What they show stands in tables beside them too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

WIDTH: Final = 720.0
HEIGHT: Final = 160.0
_MARGIN: Final = 8.0


class Bar(msgspec.Struct, frozen=True):
    """A part of a column; `kind` is its number among the kinds."""

    x: float
    y: float
    width: float
    height: float
    kind: int = 0


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Shapes within `WIDTH` and `HEIGHT`.

    Attributes
    ----------
    line, reference : str
        Points of lines, as SVG has them; empty for none.
    dots : tuple of (float, float)
        Points of the line.
    bars : tuple of Bar
        Columns.
    marks : tuple of float
        Where vertical lines stand.
    low, high : float
        Values at the lower and the upper edge.
    """

    line: str = ""
    reference: str = ""
    dots: tuple[tuple[float, float], ...] = ()
    bars: tuple[Bar, ...] = ()
    marks: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 1.0


def lines(
    values: Sequence[float],
    *,
    reference: Sequence[float] = (),
    marks: Sequence[int] = (),
    low: float | None = None,
    high: float | None = None,
) -> Chart:
    """Values from left to right, with a line to compare with, and marks at some of them.

    >>> lines([0.0, 1.0], low=0.0, high=1.0).line
    '8.0,152.0 712.0,8.0'
    """
    everything = [*values, *reference]
    bottom = min(everything, default=0.0) if low is None else low
    top = max(everything, default=1.0) if high is None else high
    if top <= bottom:
        bottom, top = bottom - 0.5, bottom + 0.5
    dots = _dots(values, bottom, top)
    return Chart(
        line=_joined(dots),
        reference=_joined(_dots(reference, bottom, top)),
        dots=dots,
        marks=tuple(_x(at, len(values)) for at in marks if 0 <= at < len(values)),
        low=bottom,
        high=top,
    )


def columns(counts: Sequence[Mapping[str, int]], kinds: Sequence[str]) -> Chart:
    """A column for each of `counts`, with a part for each kind, in their order from below.

    >>> columns([{"up": 1}, {"up": 1, "down": 1}], ["up", "down"]).high
    2.0
    """
    top = max((sum(each.values()) for each in counts), default=0)
    if not top:
        return Chart(high=0.0)
    room = (WIDTH - 2 * _MARGIN) / len(counts)
    width = min(48.0, room * 0.7)
    bars: list[Bar] = []
    for n, each in enumerate(counts):
        x, floor = _MARGIN + room * (n + 0.5) - width / 2, HEIGHT - _MARGIN
        for kind, name in enumerate(kinds):
            height = each.get(name, 0) / top * (HEIGHT - 2 * _MARGIN)
            if height:
                floor -= height
                bars.append(Bar(round(x, 1), round(floor, 1), round(width, 1), round(height, 1), kind))
    return Chart(bars=tuple(bars), high=float(top))


def _dots(values: Sequence[float], low: float, high: float) -> tuple[tuple[float, float], ...]:
    tall = HEIGHT - 2 * _MARGIN
    return tuple(
        (_x(n, len(values)), round(HEIGHT - _MARGIN - (min(max(value, low), high) - low) / (high - low) * tall, 1))
        for n, value in enumerate(values)
    )


def _x(at: int, n: int) -> float:
    wide = WIDTH - 2 * _MARGIN
    return round(_MARGIN + (wide * at / (n - 1) if n > 1 else wide / 2), 1)


def _joined(dots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in dots)
