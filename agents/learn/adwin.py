"""Adaptive windowing (ADWIN2): tell when the mean of a stream has changed, and forget what came before.

A. Bifet, R. Gavalda, Learning from time-changing data with adaptive windowing, SIAM Data Mining 2007. The window is an
exponential histogram: rows of buckets, those of row i with 2**i values each, so that n values take about
``max_buckets * log2(n / max_buckets)`` pairs of numbers. That is small enough for the entry of a table, as plain
numbers: a library's detector can only be pickled, and no pickle is ever read from a topic.
"""

import math
from collections.abc import Iterator
from typing import Final

import msgspec

Bucket = tuple[float, float]
"""Sum of a bucket's values, and the sum of the squares of their distances from their mean."""

MIN_SIDE: Final = 5
"""Fewest values on either side of a cut."""
MIN_WIDTH: Final = 10
"""Nothing is judged in a window of at most so many values."""


class Window(msgspec.Struct, frozen=True):
    """What is kept of the values since the last change.

    Attributes
    ----------
    rows : tuple of tuple of Bucket
        Row i has buckets of 2**i values, oldest first; the oldest of all are in the last row.
    n : int
        Values in the window.
    total : float
        Their sum.
    squares : float
        Sum of the squares of their distances from their mean.
    n_seen : int
        Values since the beginning.
    """

    rows: tuple[tuple[Bucket, ...], ...] = ()
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    n_seen: int = 0

    @property
    def mean(self) -> float:
        """Mean of the values, 0 without any."""
        return self.total / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        """Variance of the values, 0 without any; rounding may not make it negative."""
        return max(self.squares, 0.0) / self.n if self.n else 0.0


class Cut(msgspec.Struct, frozen=True):
    """A place in a window, and how much the means on its sides differ.

    Attributes
    ----------
    n_before, n_since : int
        Values on its sides.
    before, since : float
        Their means.
    threshold : float
        Difference of the means that stationary values do not reach.
    """

    n_before: int
    n_since: int
    before: float
    since: float
    threshold: float

    @property
    def difference(self) -> float:
        """Difference of the means, without sign."""
        return abs(self.before - self.since)

    @property
    def strength(self) -> float:
        """Difference in units of the threshold: above 1 it is a change."""
        return self.difference / self.threshold if self.threshold else math.inf if self.difference else 0.0


def step(
    window: Window, value: float, *, delta: float, span: float = 1.0, clock: int = 1, max_buckets: int = 5
) -> tuple[Window, Cut | None]:
    """Take one value in.

    Parameters
    ----------
    window : Window
        What was seen; it is not changed.
    value : float
        The next value.
    delta : float
        Bound of the probability that a stationary stream is cut, above 0 and below 1.
    span : float
        Distance of the smallest possible value from the largest: the more, the more values it takes to be sure.
    clock : int
        Look for a change at every so many values.
    max_buckets : int
        Buckets of each size before two of them become one of the next.

    Returns
    -------
    Window
        With the value; after a change without what came before it.
    Cut or None
        The change: the place where the means differed most, as multiples of the threshold.
    """
    window = _inserted(window, value, max_buckets)
    if window.n_seen % clock:
        return window, None
    found: Cut | None = None
    while any(cut.strength > 1 for cut in _cuts(window, delta, span)):
        found = found or strongest(window, delta, span)
        window = _without_oldest(window)
    return window, found


def strongest(window: Window, delta: float, span: float = 1.0) -> Cut | None:
    """Place of a window where the means differ most, as multiples of the threshold; None in one that is too short."""
    return max(_cuts(window, delta, span), key=lambda cut: cut.strength, default=None)


def _cuts(window: Window, delta: float, span: float) -> Iterator[Cut]:
    """All places between two buckets that have enough values on both sides, the oldest first."""
    if window.n <= MIN_WIDTH:
        return
    n, total = 0, 0.0
    log_term = math.log(2 * math.log(window.n) / delta)
    for size, (bucket_total, _) in _oldest_first(window):
        n, total = n + size, total + bucket_total
        rest = window.n - n
        if n >= MIN_SIDE and rest >= MIN_SIDE:
            # the paper's harmonic mean of both sides, less what either must have at least
            reciprocal = 1 / (n - MIN_SIDE + 1) + 1 / (rest - MIN_SIDE + 1)
            spread = math.sqrt(2 * reciprocal * window.variance * log_term)
            threshold = spread + 2 / 3 * span * log_term * reciprocal
            yield Cut(n, rest, total / n, (window.total - total) / rest, threshold)


def _oldest_first(window: Window) -> Iterator[tuple[int, Bucket]]:
    for i in range(len(window.rows) - 1, -1, -1):
        for bucket in window.rows[i]:
            yield 2**i, bucket


def _inserted(window: Window, value: float, max_buckets: int) -> Window:
    n = window.n + 1
    squares = window.squares + (window.n * (value - window.mean) ** 2 / n if window.n else 0.0)
    rows = [list(row) for row in window.rows] or [[]]
    rows[0].append((value, 0.0))
    for i in range(len(rows)):
        if len(rows[i]) <= max_buckets:
            break
        if i + 1 == len(rows):
            rows.append([])
        first, second = rows[i][:2]
        rows[i] = rows[i][2:]
        rows[i + 1].append(_joined(first, second, 2**i))
    return Window(tuple(map(tuple, rows)), n, window.total + value, squares, window.n_seen + 1)


def _joined(first: Bucket, second: Bucket, size: int) -> Bucket:
    between = ((first[0] - second[0]) / size) ** 2 * size / 2
    return first[0] + second[0], first[1] + second[1] + between


def _without_oldest(window: Window) -> Window:
    *newer, last = window.rows
    total, squares = last[0]
    size = 2 ** len(newer)
    n, rest = window.n - size, window.total - total
    between = size * n * (total / size - rest / n) ** 2 / (size + n)
    rows = (*newer, last[1:]) if len(last) > 1 else tuple(newer)
    return Window(rows, n, rest, window.squares - squares - between, window.n_seen)
