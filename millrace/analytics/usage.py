"""What a tenant used, week by week."""

from collections.abc import Sequence

import msgspec
import numpy as np

from millrace.analytics.few import hidden
from millrace.analytics.questions import Asked, week_name


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One week of a tenant. Shares are 0 to 1 and None where there is nothing to take a share of.

    All is None in a week that is not told, as too few people asked in it.
    """

    week: str
    n: int | None = None
    n_people: int | None = None
    answered: float | None = None
    n_tokens: int | None = None
    cost_usd: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    n_feedback: int | None = None
    liked: float | None = None
    n_poor: int | None = None

    @property
    def told(self) -> bool:
        """Whether it has numbers."""
        return self.n is not None


def usage_of(questions: Sequence[Asked], weeks: Sequence[int], least_people: int) -> tuple[Usage, ...]:
    """Usage of each week, those without questions included.

    Parameters
    ----------
    questions : sequence of Asked
        A tenant's.
    weeks : sequence of int
        Begins of the weeks, unix microseconds.
    least_people : int
        A week in which fewer asked is not told.
    """
    found = [[asked for asked in questions if asked.week_us == week] for week in weeks]
    few = hidden([{asked.person for asked in own} for own in found], least_people)
    return tuple(
        Usage(week=week_name(week)) if at in few else _week(week, own)
        for at, (week, own) in enumerate(zip(weeks, found, strict=True))
    )


def _week(week: int, questions: Sequence[Asked]) -> Usage:
    ended = [asked for asked in questions if asked.status]
    times = [asked.latency_ms for asked in ended if asked.latency_ms > 0]
    said = [value for asked in questions for value in asked.feedback]
    return Usage(
        week=week_name(week),
        n=len(questions),
        n_people=len({asked.person for asked in questions}),
        answered=sum(asked.status == "answered" for asked in ended) / len(ended) if ended else None,
        n_tokens=sum(asked.n_tokens for asked in questions),
        cost_usd=sum(asked.cost_usd for asked in questions),
        p50_ms=float(np.percentile(times, 50)) if times else None,
        p95_ms=float(np.percentile(times, 95)) if times else None,
        n_feedback=len(said),
        liked=sum(value > 0 for value in said) / len(said) if said else None,
        n_poor=sum(asked.poor for asked in questions),
    )
