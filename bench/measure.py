"""How a measurement is made: contenders take turns in one run, and what counts is the ratio within each turn."""

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")


class Sample(msgspec.Struct, frozen=True):
    """One run of one contender.

    Attributes
    ----------
    n : int
        Units of work done.
    seconds : float
        Wall time they took.
    cpu_seconds : float
        Processor time of the contender's process in that span; 0 where it was not measured.
    """

    n: int
    seconds: float
    cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.n / self.seconds

    @property
    def cpu_us(self) -> float:
        """Processor microseconds a unit."""
        return self.cpu_seconds / self.n * 1e6


REPETITIONS = 5
Contender = Callable[[], Awaitable[Sample]]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table of budgets.

    Attributes
    ----------
    id : str
        Budget it belongs to, such as ``P1``.
    what : str
        What was compared with what.
    relation, limit : str, float or None
        The budget: measured must be ``>=`` or ``<=`` the limit; None where there is none, and the line is a cost.
    unit : str
        ``x`` for a ratio.
    values : tuple of float
        One value for each repetition.
    """

    id: str
    what: str
    relation: Literal[">=", "<="]
    limit: float | None
    unit: str
    values: tuple[float, ...]

    @property
    def measured(self) -> float:
        """Median of the repetitions."""
        return statistics.median(self.values)

    @property
    def met(self) -> bool:
        """Whether the median keeps the budget, if there is one."""
        if self.limit is None:
            return True
        return self.measured >= self.limit if self.relation == ">=" else self.measured <= self.limit


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one benchmark found.

    Attributes
    ----------
    checks : tuple of Check
        Its budgets.
    numbers : dict
        Medians behind the ratios, for readers; they depend on the machine.
    notes : str
        How it was measured.
    """

    checks: tuple[Check, ...]
    numbers: dict[str, Any] = {}
    notes: str = ""


async def interleaved(contenders: Mapping[str, Callable[[], Awaitable[T]]], repetitions: int) -> dict[str, list[T]]:
    """Run every contender once per repetition, each time beginning with another one.

    Returns
    -------
    dict of str to list
        What each gave, by contender, in the order of the repetitions.
    """
    names = list(contenders)
    found: dict[str, list[T]] = {name: [] for name in names}
    for i in range(repetitions):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(await contenders[name]())
    return found


def rate_ratios(ours: Sequence[Sample], peer: Sequence[Sample]) -> tuple[float, ...]:
    """How many times the peer's rate we reached, repetition by repetition."""
    return tuple(a.rate / b.rate for a, b in zip(ours, peer, strict=True))


def cpu_ratio(ours: Sequence[Sample], peer: Sequence[Sample]) -> float:
    """The peer's processor time a unit over ours, median: what other work on the machine does to rates cancels."""
    return round(statistics.median(b.cpu_us / a.cpu_us for a, b in zip(ours, peer, strict=True)), 3)


def medians(samples: Mapping[str, Sequence[Sample]], unit: str = "events") -> dict[str, float]:
    """Rates of all contenders, and processor microseconds a unit where they were measured."""
    found: dict[str, float] = {}
    for name, runs in samples.items():
        found[f"{name}: {unit} a second"] = round(statistics.median(run.rate for run in runs))
        if cpu_us := statistics.median(run.cpu_us for run in runs):
            found[f"{name}: CPU us a unit"] = round(cpu_us, 1)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; `share` between 0 and 1."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]
