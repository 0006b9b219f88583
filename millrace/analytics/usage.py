"""What a tenant used, week by week."""

from collections.abc import Sequence

import msgspec
import numpy as np

from millrace.analytics.questions import Asked, week_name


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """One week of a tenant. Shares are 0 to 1 and None where there is nothing to take a share of."""

    week: str
    n: int
    n_people: int
    answered: float | None
    n_tokens: int
    cost_usd: float
    p50_ms: float | None
    p95_ms: float | None
    n_feedback: int
    liked: float | None
    n_poor: int


def usage_of(questions: Sequence[Asked], weeks: Sequence[int]) -> tuple[Usage, ...]:
    """Usage of each week, those without questions included.

    Parameters
    ----------
    questions : sequence of Asked
        A tenant's.
    weeks : sequence of int
        Begins of the weeks, unix microseconds.
    """
    return tuple(_week(week, [asked for asked in questions if asked.week_us == week]) for week in weeks)


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
