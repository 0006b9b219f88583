"""Confidence intervals by resampling questions (Efron and Tibshirani, 1993): percentile bootstrap, plain and paired."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from millrace.evaluation.judging import Judgement
from millrace.evaluation.ranking import auroc

REPLICATES = 2_000
SEED = 0
Columns = Mapping[str, npt.NDArray[np.float64]]
"""A value for each question, shape (n,), NaN where the question has no say in the measure."""
Statistic = Callable[[Columns, npt.NDArray[np.intp]], float]
"""A number from some of the questions, named by index, with repetition; NaN where they do not give it."""


class Interval(msgspec.Struct, frozen=True):
    """A number with its 95 % confidence interval, and how many questions it rests on."""

    value: float
    low: float
    high: float
    n: int


def columns(judgements: Sequence[Judgement]) -> dict[str, npt.NDArray[np.float64]]:
    """Values of all questions, by measure; ``unanswerable`` is 1 or 0, NaN where that is not known."""
    values = [judgement.values for judgement in judgements]
    names = {name for row in values for name in row}
    found = {name: np.array([row.get(name, np.nan) for row in values]) for name in sorted(names)}
    known = [float(j.unanswerable) if j.unanswerable or j.answerable else np.nan for j in judgements]
    return found | {"unanswerable": np.array(known)}


def mean_of(name: str) -> Statistic:
    """The mean of a measure."""

    def statistic(data: Columns, rows: npt.NDArray[np.intp]) -> float:
        values = data[name][rows]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else np.nan

    return statistic


def percentile_of(name: str, percent: float) -> Statistic:
    """A percentile of a measure, interpolated."""

    def statistic(data: Columns, rows: npt.NDArray[np.intp]) -> float:
        values = data[name][rows]
        values = values[~np.isnan(values)]
        return float(np.percentile(values, percent)) if len(values) else np.nan

    return statistic


def signal_auroc(data: Columns, rows: npt.NDArray[np.intp]) -> float:
    """How well the signal tells answerable from unanswerable questions."""
    signal, unanswerable = data["signal"][rows], data["unanswerable"][rows]
    known = ~np.isnan(signal) & ~np.isnan(unanswerable)
    return auroc(signal[known], unanswerable[known] == 0)


def interval(data: Columns, statistic: Statistic, n: int) -> Interval | None:
    """A statistic with its interval; None where the questions do not give it.

    Parameters
    ----------
    data : mapping of str to numpy.ndarray
        Columns of one run.
    statistic : callable
        What to compute.
    n : int
        How many questions have a say in it.
    """
    size = len(data["unanswerable"])
    value = statistic(data, np.arange(size))
    if np.isnan(value):
        return None
    low, high = _bounds([statistic(data, rows) for rows in _samples(size)])
    return Interval(value, low, high, n)


def paired_difference(data: Columns, against: Columns, statistic: Statistic, n: int) -> Interval | None:
    """What a statistic of one run has over that of another, on the same questions drawn together; None as above.

    A question has a say where it has one in both runs, and where both expect an answer or both expect none.
    """
    data, against = _both(data, against), _both(against, data)
    size = len(data["unanswerable"])
    rows = np.arange(size)
    value = statistic(data, rows) - statistic(against, rows)
    if np.isnan(value):
        return None
    low, high = _bounds([statistic(data, rows) - statistic(against, rows) for rows in _samples(size)])
    return Interval(value, low, high, n)


def _both(data: Columns, other: Columns) -> Columns:
    found = {name: np.where(np.isnan(other[name]), np.nan, column) for name, column in data.items() if name in other}
    apart = data["unanswerable"] != other["unanswerable"]
    return found | {"unanswerable": np.where(apart, np.nan, data["unanswerable"])}


def _samples(size: int) -> Iterator[npt.NDArray[np.intp]]:
    """One sample after the other: together they would take 16 kB of memory for each question."""
    rng = np.random.default_rng(SEED)
    return (rng.integers(0, size, size) for _ in range(REPLICATES))


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.nanpercentile(values, (2.5, 97.5))
    return float(low), float(high)
