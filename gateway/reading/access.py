"""Who may see an answer, and how much of it: decided over what the visibility table says the caller may read.

An answer is its asker's, and of nobody else but a service that may read the tenant's. Either sees it only as long as
every document that it quotes may be read: a right that was taken away is gone from old answers too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

import msgspec

from gateway.identity import Identity
from millrace.event import Event
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerProduced, CompletionGenerated
from millrace.lineage import Entry

E = TypeVar("E", bound=Event)


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


def trimmed(event: E, readable: Collection[str]) -> E:
    """An event without the quotes and hits of documents that may not be read, and without vectors."""
    fields = {field.name for field in msgspec.structs.fields(event)}
    changes: dict[str, Any] = {
        name: tuple(use for use in getattr(event, name) if use.document in readable)
        for name in fields & {"citations", "hits"}
    }
    if "vector" in fields:
        changes["vector"] = b""
    return event.replace(**changes) if changes else event


def shown(entry: Entry, readable: Collection[str]) -> Entry:
    """A record of a trace as its asker may see it.

    What was generated on the way is not shown, only how much: a guard may have masked or taken back some of it, and
    the terminal record is what counts. That one keeps its text as long as all that it quotes may be read.
    """
    event = entry.event
    if event is None:
        return entry
    event = trimmed(event, readable)
    if isinstance(event, AnswerProduced):
        whole = quotes_only(getattr(entry.event, "citations", ()), readable)
        return msgspec.structs.replace(entry, event=event if whole else event.replace(text=""))
    if isinstance(event, AnswerDelta | AnswerCompleted | CompletionGenerated):
        what = f"{len(event.text)} characters"
        if not isinstance(event, AnswerDelta):
            what += f", {len(event.citations)} citations"
        return msgspec.structs.replace(entry, what=what, event=event.replace(text=""))
    return msgspec.structs.replace(entry, event=event)
