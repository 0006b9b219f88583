"""Events with metadata, as a runner would deliver them."""

from collections.abc import Iterable
from typing import Any, TypeVar

from millrace import ids
from millrace.agent import Result
from millrace.event import Event, Meta, Origin, attach
from millrace.events.corpus import AclChanged, MaintenanceDue, SourceChanged
from millrace.events.query import QueryReceived

E = TypeVar("E", bound=Event)
TENANT = "acme"
TIME_US = 1_700_000_000_000_000


def with_meta(event: E, *, cause: Event | None = None, agent: str = "test", **changes: Any) -> E:
    """Attach metadata: derived from `cause`, or that of a root event."""
    name = event.type_name()
    if cause is not None:
        found = cause.meta
        changes = {
            "id": ids.output_id(found.id, agent, name, event.slot()),
            "time_us": found.time_us,
            "correlation_id": found.correlation_id or found.id,
            "causation_id": found.id,
            "reply_to": found.reply_to,
            "reply_partition": found.reply_partition,
            "deadline_ms": found.deadline_ms,
            "attempt": found.attempt,
            "timings_ms": found.timings_ms,
        } | changes
    meta: dict[str, Any] = {"id": ids.derived(name, repr(event)), "type": name, "source": agent, "time_us": TIME_US}
    meta |= changes
    return attach(event.replace(), Meta(tenant=event.tenant, **meta))


def changed(
    text: str | None, *, document: str = "a.md", version: int = 1, offset: int = 0, **fields: Any
) -> SourceChanged:
    """Build an upsert with inline text, or a delete where `text` is None."""
    fields = {"tenant": TENANT, "op": "upsert" if text is not None else "delete"} | fields
    event = SourceChanged(document=document, version=version, text=text, **fields)
    event_id = ids.root_id(event.source, event.tenant, document, event.source_epoch, version)
    return with_meta(event, id=event_id, origin=Origin("corpus.source.changed.v1", 0, offset))


def granted(*groups: str, document: str = "a.md", version: int = 1, tenant: str = TENANT) -> AclChanged:
    """Build an access record."""
    return with_meta(AclChanged(tenant=tenant, document=document, version=version, groups=groups))


def due(*, document: str = "a.md", before: str = "", tenant: str = TENANT) -> MaintenanceDue:
    """Build a maintenance event."""
    return with_meta(MaintenanceDue(tenant=tenant, document=document, at_us=TIME_US, before_order=before))


def asked(question: str, *, reply_to: str = "query.reply.v1", attempt: int = 0, **fields: Any) -> QueryReceived:
    """Build a question that wants a reply."""
    fields = {"tenant": TENANT, "conversation": "c1"} | fields
    correlation = ids.derived("correlation", question)
    return with_meta(
        QueryReceived(question=question, **fields),
        correlation_id=correlation,
        reply_to=reply_to,
        reply_partition=0 if reply_to else -1,
        attempt=attempt,
    )


def only(events: Iterable[Event], kind: type[E]) -> E:
    """Find the one event of a kind."""
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def events_of(result: Result) -> tuple[Event, ...]:
    """Events of a result that is no failure."""
    if result.error is not None:
        raise result.error
    return result.events
