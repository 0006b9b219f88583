"""What may be decided about a review item, and the event that says so: the same for the gateway and the command line.

Of one item the last decision counts. Documents that were released or withdrawn have to be withdrawn or released before
anything else is said of them, so that the last decision always tells whether they may be read. An answer that was
corrected may only be corrected anew: what a reviewer wrote is learned from, and no opinion takes it back.
"""

from collections.abc import Sequence
from typing import Final

from millrace import ids
from millrace.errors import InputRejected
from millrace.event import Meta
from millrace.events.guard import Decision, ReviewDecisionMade, ReviewItemOpened

DECISIONS: Final[tuple[Decision, ...]] = ("release", "withdraw", "confirm", "dismiss", "correct")
MAX_TEXT_CHARS: Final = 8_000
"""Longest correction or note."""


_SETTLING: Final = frozenset({"release", "withdraw"})


class UnfittingDecision(InputRejected):
    """A decision that means nothing for an item as it stands."""

    error_type = "unfitting_decision"


def fitting(item: ReviewItemOpened, last: ReviewDecisionMade | None) -> Sequence[Decision]:
    """What may be decided about an item after its last decision."""
    if item.subject_kind == "answer":
        corrected = last is not None and last.decision == "correct"
        return ("correct",) if corrected else ("correct", "confirm", "dismiss")
    if item.subject_kind == "question":
        return ("confirm", "dismiss")
    match last.decision if last is not None else "":
        case "release":
            return ("withdraw",)
        case "withdraw":
            return ("release",)
    return ("release" if is_held(item) else "withdraw", "confirm", "dismiss")


def standing(item: ReviewItemOpened, last: ReviewDecisionMade | None) -> ReviewDecisionMade | None:
    """The last decision, as far as it is about the item as it stands.

    An item that was opened again with another text is to be looked at again; a document that was withdrawn stays so.
    """
    if last is None or item.subject_kind != "document" or last.decision == "withdraw":
        return last
    return last if last.content == item.content else None


def overtaken(last: ReviewDecisionMade | None, made: ReviewDecisionMade) -> bool:
    """Whether a decision does not count, because another one about the same text was made while it was on its way.

    Of two people who decide at once, nobody takes back with a mere opinion that a document was released or withdrawn,
    or that an answer was corrected.
    """
    if last is not None and made.subject_kind == "answer":
        return last.decision == "correct" != made.decision
    if last is None or made.subject_kind != "document" or made.decision in _SETTLING:
        return False
    return last.decision == "withdraw" or (last.decision == "release" and last.content == made.content)


def is_held(item: ReviewItemOpened) -> bool:
    """Whether an item is about a version that was held back when it was opened."""
    return item.action == "hold" or item.manifest is not None


def decided(
    item: ReviewItemOpened,
    last: ReviewDecisionMade | None,
    decision: str,
    *,
    user: str,
    text: str = "",
    conversation: str = "",
) -> ReviewDecisionMade | None:
    """What somebody decided, without metadata; None where it is what was decided last.

    Raises
    ------
    UnfittingDecision
        If the decision does not fit the item, or a correction has no text or too much of it.
    """
    text = text.strip()
    if last is not None and (last.decision, last.text) == (decision, text):
        return None
    allowed = fitting(item, last)
    chosen = next((each for each in allowed if each == decision), None)
    if chosen is None:
        standing = f"{'is open' if last is None else f'was decided with {last.decision!r}'}"
        raise UnfittingDecision(
            f"{decision!r} does not fit item {item.item}, which is about {_told(item)} and {standing}; choose of "
            f"{', '.join(allowed)}"
        )
    if chosen == "correct" and not text:
        raise UnfittingDecision("a correction needs the right answer; give it as text")
    if chosen == "correct" and not (item.conversation or conversation):
        raise UnfittingDecision(
            f"the question {item.subject} is not kept any more, so nothing can be learned from a correction of its "
            f"answer; choose of {', '.join(each for each in allowed if each != chosen) or 'nothing: it was corrected'}"
        )
    if len(text) > MAX_TEXT_CHARS:
        raise UnfittingDecision(f"the text has {len(text)} characters, at most {MAX_TEXT_CHARS} are taken; shorten it")
    return ReviewDecisionMade(
        tenant=item.tenant,
        item=item.item,
        subject_kind=item.subject_kind,
        subject=item.subject,
        version=item.version,
        decision=chosen,
        user=user,
        text=text,
        conversation=item.conversation or conversation,
        content=item.content,
        manifest=item.manifest,
    )


def decision_meta(event: ReviewDecisionMade, last: ReviewDecisionMade | None, *, source: str, time_us: int) -> Meta:
    """Metadata of a decision: the same one sent twice after the same one before is one event."""
    before = last.meta.id if last is not None else ""
    identity = ids.derived(
        "decision", event.tenant, event.item, before, event.decision, event.user, event.text, event.content or ""
    )
    return Meta(
        id=identity,
        type=event.type_name(),
        source=source,
        time_us=time_us,
        tenant=event.tenant,
        subject=event.item,
        correlation_id=identity if event.subject_kind == "document" else event.subject,
    )


def _told(item: ReviewItemOpened) -> str:
    if item.subject_kind != "document":
        return f"a{'n' if item.subject_kind == 'answer' else ''} {item.subject_kind}"
    return "a document that is held back" if is_held(item) else "a document that is visible"
