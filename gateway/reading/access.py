"""Who may see an answer, and how much of it: decided over what the visibility table says the caller may read.

An answer is its asker's, and of nobody else but a service that may read the tenant's. Either sees it only as long as
every document that it quotes may be read: a right that was taken away is gone from old answers too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from gateway.identity import Identity
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven, InteractionObserved
from millrace.events.guard import ReviewDecisionMade
from millrace.events.learn import ExampleCurated, ExampleProposed, ExampleRejected, QualityScored
from millrace.events.query import (
    AnswerCompleted,
    AnswerDelta,
    AnswerProduced,
    CompletionGenerated,
    CompletionGuarded,
    ContextRetrieved,
    QueryAdmitted,
    QueryReceived,
)
from millrace.events.usage import UsageTotalled
from millrace.lineage import Entry

E = TypeVar("E", bound=Event)
_OF_OTHERS: Final[Mapping[str, Any]] = {"dropped": (), "n_chunks": 0, "vector": b""}
_OF_THE_TENANT: Final = (UsageTotalled,)
ASKED: Final = (
    QueryReceived,
    QueryAdmitted,
    ContextRetrieved,
    CompletionGenerated,
    CompletionGuarded,
    AnswerProduced,
    QualityScored,
)
"""Events whose user is who asked."""
SAID: Final = (FeedbackGiven, InteractionObserved, ReviewDecisionMade)
"""Events whose user is who says something of an answer."""
LEARNED: Final = (ExampleProposed, ExampleCurated, ExampleRejected)
"""Events whose user is a pseudonym: what is learned from what people said, of use to nobody who asks."""


def concerns(identity: Identity, tenant: str, user: str) -> bool:
    """Whether a question is the caller's own, or the caller is a service that reads those of its tenant.

    Questions that nobody in particular asked are no person's own.
    """
    if tenant != identity.tenant:
        return False
    if identity.kind == "service":
        return "read" in identity.scopes
    return bool(identity.user) and user == identity.user


def may_see(identity: Identity, answer: AnswerProduced, readable: Collection[str]) -> bool:
    """Whether the caller may see an answer; `readable` are ids of the documents that it may read now."""
    return concerns(identity, answer.tenant, answer.user) and quotes_only(answer.citations, readable)


def quotes_only(citations: Sequence[Any], readable: Collection[str]) -> bool:
    """Whether all quotes are of documents that may be read."""
    return all(citation.document in readable for citation in citations)


def belongs(event: Event | None, asked: QueryReceived) -> bool:
    """Whether a record under a question's correlation id is part of what its asker may follow.

    Records of another tenant are not, nor what somebody else says of the answer, nor what is learned from that.
    """
    if event is None:
        return True
    if event.tenant != asked.tenant or isinstance(event, LEARNED):
        return False
    return not isinstance(event, SAID) or event.user in {asked.user, ""}


def of_another(event: Event | None, asked: QueryReceived) -> bool:
    """Whether a record is of a question that somebody else asked under the same correlation id."""
    return isinstance(event, ASKED) and event.user not in {asked.user, ""}


def trimmed(event: E, readable: Collection[str]) -> E:
    """An event without the quotes and hits of documents that may not be read, and without what tells of others.

    That is how many candidates were dropped and why, and how many chunks the tenant has; vectors go as well.
    """
    fields = {field.name for field in msgspec.structs.fields(event)}
    changes: dict[str, Any] = {
        name: tuple(use for use in getattr(event, name) if use.document in readable)
        for name in fields & {"citations", "hits"}
    }
    changes |= {name: empty for name, empty in _OF_OTHERS.items() if name in fields}
    return event.replace(**changes) if changes else event


def shown(entry: Entry, readable: Collection[str]) -> Entry | None:
    """A record of a trace as its asker may see it; None for one that tells of the whole tenant.

    What was generated on the way is not shown, only how much: a guard may have masked or taken back some of it, and
    the terminal record is what counts. That one keeps its text as long as all that it quotes may be read.
    """
    event = entry.event
    if event is None or isinstance(event, _OF_THE_TENANT):
        return entry if event is None else None
    quotes = len(getattr(event, "citations", ()))
    whole = quotes_only(getattr(event, "citations", ()), readable)
    event = trimmed(event, readable)
    if getattr(event, "watermark", ""):
        event = event.replace(watermark="")
    match event:
        case ContextRetrieved():
            return msgspec.structs.replace(entry, event=event, what=_counted(len(event.hits), "passage"))
        case AnswerProduced():
            what = ", ".join(filter(None, (event.status, event.error_type, _counted(quotes, "quote"))))
            return msgspec.structs.replace(entry, event=event if whole else event.replace(text=""), what=what)
        case AnswerDelta():
            return msgspec.structs.replace(entry, event=event.replace(text=""), what=f"{len(event.text)} characters")
        case AnswerCompleted() | CompletionGenerated():
            what = f"{len(event.text)} characters, {_counted(quotes, 'quote')}"
            return msgspec.structs.replace(entry, event=event.replace(text=""), what=what)
        case QualityScored():
            return msgspec.structs.replace(entry, event=_score(event, whole=whole))
    return msgspec.structs.replace(entry, event=event)


def _score(event: QualityScored, *, whole: bool) -> QualityScored:
    """A score without what somebody else says would have been right, and without an answer that may not be read."""
    if event.corrected_by not in {event.user, ""}:
        event = event.replace(expected="", corrected_by="")
    return event if whole else event.replace(answer="")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
