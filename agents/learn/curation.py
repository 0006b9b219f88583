"""Decide which proposed examples are taken: each once, none by heart, and nobody's word above the others'.

Delivery: at least once; a table applies each proposal once, and outcomes have ids derived from it, so that readers drop
a repetition. Every proposal has one outcome.

Looked at are the last examples that were taken, by number and by age (`example_window` and `example_days` of the
policy). What was rejected pushes nothing out, so who is at a cap stays there until others are heard or time has passed;
but a correction dislikes its answer, so also one that is not taken withdraws what was approved of the same answer.
Of the same question under the same labels the newest correction counts, else the newest approved answer: it takes the
place of the older one, whoever gave that, and counts for who gave it. An approved answer that is disliked later is
withdrawn. All examples of a document are in one split, by a stable hash of tenant and document; what quotes documents
of both is not taken.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec
from millrace.agent import agent
from millrace.events.learn import ExampleCurated, ExampleProposed, ExampleRejected, Rejection, Split
from millrace.examples.signatures import likeness
from millrace.topics import EXAMPLE_CURATED, EXAMPLE_PROPOSED

from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from agents.learn.positions import remembered

_US_PER_DAY: Final = 86_400_000_000
_COMMON: Final = tuple(name for name in ExampleProposed.__struct_fields__ if name in ExampleRejected.__struct_fields__)


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of an example that was taken: digests, about a hundred bytes."""

    example: bytes
    proposal: int
    question: int
    user: int
    label: int
    figures: int
    answer: int
    source: str
    day: int
    signature: bytes


class Curated(msgspec.Struct):
    """What is known of a tenant.

    Attributes
    ----------
    taken : tuple of Taken
        Examples that were taken lately, oldest first.
    decided : bytes
        Digests of the last proposals, taken or not: read again, they are not decided again.
    """

    taken: tuple[Taken, ...] = ()
    decided: bytes = b""


@agent(source=EXAMPLE_PROPOSED, sinks=(EXAMPLE_CURATED,), state=Curated)
def curate(
    state: Curated, proposed: ExampleProposed, ports: LearnPorts
) -> tuple[Curated, ExampleCurated | ExampleRejected | None]:
    """Take an example or say why not."""
    policy = ports.policy
    new = _taken(proposed)
    decided = remembered(state.decided, proposed.meta.id)
    if decided is None or any(each.proposal == new.proposal for each in state.taken):
        return state, None
    window = _recent(state.taken, new, policy)
    if proposed.disliked:
        left = tuple(each for each in window if (each.example, each.answer) != (new.example, new.answer))
        return Curated(left, decided), _rejected(proposed, "disliked")
    older = next((each for each in window if each.question == new.question), None)
    others = tuple(each for each in window if each is not older)
    if reason := _objection(proposed, new, older, others, policy):
        return Curated(_uncorrected(window, new), decided), _rejected(proposed, reason)
    kept = (*others, new)[-policy.example_window :]
    return Curated(kept, decided), _curated(proposed, older, policy)


def _uncorrected(window: Sequence[Taken], new: Taken) -> tuple[Taken, ...]:
    """What is left where a correction was not taken: without what else was approved of the same answer."""
    if new.source != "correction":
        return tuple(window)
    gone = ("approved", new.answer)
    return tuple(each for each in window if (each.source, each.answer) != gone or each.example == new.example)


def split_of(tenant: str, document: str, eval_share: float) -> Split:
    """Split of all examples of a document; a larger share keeps what was for evaluation before."""
    return "eval" if _digest("split", tenant, document) < eval_share * 2**64 else "train"


def _objection(
    proposed: ExampleProposed, new: Taken, older: Taken | None, others: Sequence[Taken], policy: LearnPolicy
) -> Rejection | None:
    """Why an example is not taken, by the first rule that says so."""
    splits = {split_of(proposed.tenant, each, policy.eval_share) for each in (*proposed.documents, proposed.document)}
    if proposed.document and len(splits) > 1:
        return "mixed_split"
    if older is not None and older.example == new.example:
        return "duplicate"
    if older is not None and (older.source, new.source) == ("correction", "approved"):
        return "superseded"
    alike = [each.signature for each in others if each.figures == new.figures]
    if alike and likeness(new.signature, alike).max() >= policy.example_similarity:
        return "near_duplicate"
    if sum(each.user == new.user for each in others) >= policy.example_user_cap:
        return "user_cap"
    n_approved = sum(each.source == "approved" for each in others)
    if new.source == "approved" and n_approved >= policy.example_approved_cap:
        return "source_cap"
    return "unbalanced" if _outweighs(new, others, policy) else None


def _outweighs(new: Taken, others: Sequence[Taken], policy: LearnPolicy) -> bool:
    """Whether its label would have more than its share."""
    if len(others) < policy.example_balance_from:
        return False
    labels = [each.label for each in others]
    share = max(policy.example_label_share, 2 / len({*labels, new.label}))
    return labels.count(new.label) + 1 > share * (len(labels) + 1)


def _recent(taken: Sequence[Taken], new: Taken, policy: LearnPolicy) -> tuple[Taken, ...]:
    """Those that are young enough beside the newest; a late proposal makes nothing younger."""
    newest = max((each.day for each in (*taken, new)), default=0)
    return tuple(each for each in taken if each.day > newest - policy.example_days)


def _taken(proposed: ExampleProposed) -> Taken:
    return Taken(
        example=UUID(proposed.example).bytes,
        proposal=_digest(proposed.meta.id),
        question=_digest(proposed.question),
        user=_digest(proposed.user),
        label=_digest(proposed.label),
        figures=_digest(proposed.figures),
        answer=_digest(proposed.correlation),
        source=proposed.source,
        day=proposed.meta.time_us // _US_PER_DAY,
        signature=proposed.signature,
    )


def _curated(proposed: ExampleProposed, older: Taken | None, policy: LearnPolicy) -> ExampleCurated:
    unit = proposed.document or proposed.question
    return ExampleCurated(
        **_common(proposed),
        split=split_of(proposed.tenant, unit, policy.eval_share),
        replaces=str(UUID(bytes=older.example)) if older is not None else "",
        question=proposed.question,
    )


def _rejected(proposed: ExampleProposed, reason: Rejection) -> ExampleRejected:
    return ExampleRejected(
        **_common(proposed),
        reason=reason,
    )


def _common(proposed: ExampleProposed) -> dict[str, Any]:
    fields = {name: getattr(proposed, name) for name in _COMMON}
    return fields | {"causes": (*proposed.causes, proposed.meta.id)}


def _digest(*parts: str) -> int:
    """The first 64 bits of a digest; with parts apart, so that no two lists of them run together."""
    return int.from_bytes(sha256(msgspec.json.encode(parts)).digest()[:8], "big")
