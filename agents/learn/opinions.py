"""What people said and did about one answer: the last word of each user, each conclusion from behaviour once. Pure.

The order in which feedback arrives changes nothing: what is later is told by the time of the event, then by its id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from millrace.events.feedback import FeedbackGiven

from agents.learn.policy import LearnPolicy

_GROUPS: Final = {"up": "vote", "down": "vote", "rating": "vote", "correction": "correction", "comment": "comment"}
_JUDGED: Final = frozenset({"vote", "correction"})
_BEHAVIOUR: Final = "behaviour"
COMPLAINTS: Final = frozenset({"down", "correction", "escalated"})


class Said(msgspec.Struct, frozen=True, array_like=True):
    """The last piece of feedback of one kind by one user.

    Attributes
    ----------
    group : str
        vote, correction, comment or behaviour: of each group the last word of a user counts, of behaviour each kind.
    value : float
        What it says of the answer, -1 (useless) to 1 (right).
    """

    at_us: int
    id: str
    kind: str
    group: str
    user: str
    value: float
    score: float
    text: str = ""

    @property
    def order(self) -> tuple[int, str]:
        """Later feedback has a higher one."""
        return self.at_us, self.id


class Opinions(msgspec.Struct, frozen=True):
    """What counts of all that was said and done.

    Attributes
    ----------
    counts : dict of str to int
        How often each kind was given.
    judged : list of (float, float)
        Value and weight of each judgement.
    correction, rephrased : Said or None
        The last correction, and the question that was asked instead.
    n_dislikes : int
        Users whose vote is against the answer.
    complained : bool
        Whether somebody disliked the answer, corrected it, or asked for a person.
    """

    counts: dict[str, int]
    judged: list[tuple[float, float]]
    correction: Said | None = None
    rephrased: Said | None = None
    n_dislikes: int = 0
    complained: bool = False


def heard(known: Mapping[str, Said], feedback: FeedbackGiven, policy: LearnPolicy) -> dict[str, Said]:
    """What is known once a piece of feedback has come; the same where it changes nothing."""
    said = _said(feedback, policy)
    key = f"{said.group}:{said.kind if said.group == _BEHAVIOUR else said.user}"
    before = known.get(key)
    if before is not None and before.order >= said.order:
        return dict(known)
    judges = {each.user for each in known.values() if each.group != _BEHAVIOUR}
    if said.group != _BEHAVIOUR and said.user not in judges and len(judges) >= policy.max_judges:
        return dict(known)
    return {**known, key: said}


def _said(feedback: FeedbackGiven, policy: LearnPolicy) -> Said:
    group = _GROUPS.get(feedback.kind, _BEHAVIOUR)
    keeps_text = feedback.kind in {"correction", "rephrased"}
    return Said(
        at_us=feedback.meta.time_us,
        id=feedback.meta.id,
        kind=feedback.kind,
        group=group,
        user=feedback.user,
        value=min(max(feedback.value, -1.0), 1.0),
        score=min(max(feedback.score, 0.0), 1.0) if group == _BEHAVIOUR else 1.0,
        text=feedback.text[: policy.max_correction_chars] if keeps_text else "",
    )


def opinions(known: Iterable[Said], policy: LearnPolicy) -> Opinions:
    """Judge what is known: a user who contradicts themselves has said only the later thing."""
    said = sorted(known, key=lambda each: each.order)
    last: dict[str, Said] = {}
    for each in said:
        if each.group in _JUDGED:
            last[each.user] = each
    counted = [each for each in said if each.group not in _JUDGED or each.value * last[each.user].value >= 0]
    judged = [(each.value, 1.0) for each in last.values()]
    judged += [
        (each.value, policy.implicit_weight * each.score) for each in counted if each.group == _BEHAVIOUR and each.value
    ]
    return Opinions(
        counts=dict(sorted(Counter(each.kind for each in counted).items())),
        judged=judged,
        correction=next((each for each in reversed(counted) if each.kind == "correction"), None),
        rephrased=next((each for each in reversed(counted) if each.kind == "rephrased"), None),
        n_dislikes=sum(each.group == "vote" and each.value < 0 for each in counted),
        complained=any(each.kind in COMPLAINTS or (each.kind == "rating" and each.value < 0) for each in counted),
    )
