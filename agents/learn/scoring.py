"""How good an answer is by all that is known of it: pure.

A score has two parts. What is seen of the answer itself: a base by how the question ended, less what its faults cost.
And what people said and did, from -1 to 1. The more was said, the less the first part counts: one explicit judgement
weighs 1, a conclusion from behaviour less, and what is seen of the answer weighs `seen_weight`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from millrace.events.learn import Flag
from millrace.events.query import Citation

from agents.guard.anomalies import repeats
from agents.learn.policy import LearnPolicy
from agents.learn.words import content_terms, share_held

DECIMALS: Final = 4


class Seen(msgspec.Struct, frozen=True):
    """What is seen of an answer itself."""

    status: str
    text: str
    grounded: float
    latency_ms: float


def grounded(text: str, citations: Sequence[Citation]) -> float:
    """Share of the content words of an answer that its citations carry: 1 for its own quotes and for no words."""
    carried = {term for citation in citations for term in content_terms(citation.quote)}
    return round(share_held(content_terms(text), carried), DECIMALS)


def flags_of(seen: Seen, opinion: float | None, policy: LearnPolicy) -> tuple[Flag, ...]:
    """What is wrong with an answer, in the order of `millrace.events.learn.Flag`."""
    answered = seen.status == "answered"
    ended: tuple[Flag, ...] = ("failed", "refused", "retracted", "not_found")
    found: list[Flag] = [flag for flag in ended if flag == seen.status]
    if answered and not seen.text.strip():
        found.append("empty")
    if answered and repeats(seen.text, policy.repeated_times):
        found.append("repeated")
    if answered and seen.grounded < policy.min_grounded:
        found.append("ungrounded")
    if seen.latency_ms > policy.slow_ms:
        found.append("slow")
    if opinion is not None and opinion < 0:
        found.append("disliked")
    return tuple(found)


def opinion_of(judged: Iterable[tuple[float, float]]) -> tuple[float | None, float]:
    """Mean of what people said and did, weighted, and the sum of the weights.

    Parameters
    ----------
    judged : iterable of (float, float)
        Value, -1 to 1, and weight of each piece that says something.

    Returns
    -------
    opinion : float or None
        None where nothing was said.
    weight : float
        Sum of the weights.
    """
    pairs = [(value, weight) for value, weight in judged if weight > 0]
    total = sum(weight for _, weight in pairs)
    return (sum(value * weight for value, weight in pairs) / total if total else None), total


def score(seen: Seen, flags: Iterable[Flag], opinion: float | None, weight: float, policy: LearnPolicy) -> float:
    """Score of an answer, 0 (useless) to 1 (right)."""
    wrong = frozenset(flags)
    base = {
        "answered": policy.answered_score,
        "not_found": policy.not_found_score,
        "refused": policy.refused_score,
        "retracted": policy.retracted_score,
    }.get(seen.status, 0.0)
    if seen.status == "answered":
        base -= policy.ungrounded_cost * (1 - seen.grounded)
    base -= policy.repeated_cost * ("repeated" in wrong) + policy.slow_cost * ("slow" in wrong)
    own = 0.0 if "empty" in wrong else min(max(base, 0.0), 1.0)
    if opinion is None:
        return round(own, DECIMALS)
    share = weight / (weight + policy.seen_weight)
    return round((1 - share) * own + share * (opinion + 1) / 2, DECIMALS)
