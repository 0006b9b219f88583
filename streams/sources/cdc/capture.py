"""Turn captured rows into changes of documents.

Delivery: at least once. A document's order is the change's position in the log of its database, and the ids of what is
emitted follow from it, so a redelivery repeats itself, and an older change that comes late is superseded. A deletion is
the envelope's, which has a position; the tombstone behind it says nothing more.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec

from millrace.agent import AgentSpec, agent, spec_of
from millrace.client.documents import INLINE_SMALL_BYTES
from millrace.errors import InputRejected, TooLarge
from millrace.event import Event
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.objects import MAX_OBJECT_BYTES
from millrace.topics import ACL_CHANGED, SOURCE_CHANGED, Topic
from streams.sources.cdc.envelope import RowChanged, reader
from streams.sources.cdc.mapping import CaptureMapping
from streams.sources.cdc.rows import Row

MAX_RECORD_BYTES = 8_388_608
"""A record holds the row before and after; Connect's producer is given the same limit."""


class Objects(Protocol):
    """Takes content that is too large for a record."""

    async def put(self, data: bytes) -> str:
        """Store bytes; gives their reference."""


class CapturePorts(msgspec.Struct, frozen=True):
    """What the agent works with."""

    objects: Objects


def capture_topics(mapping: CaptureMapping) -> tuple[Topic, ...]:
    """Topics that Debezium writes the captured tables to, deleted by age and never compacted.

    In a compacted topic a deletion's envelope could be gone before it was read, and its tombstone has no position.
    """
    return tuple(
        Topic(
            name=mapping.topic(table),
            events=(RowChanged,),
            key=lambda event: event.key,
            group="capture",
            max_bytes=MAX_RECORD_BYTES,
            read=reader(mapping, table),
        )
        for table in mapping.tables
    )


def capture_agent(mapping: CaptureMapping, objects: Objects) -> AgentSpec:
    """Agent that reads the captured tables of a mapping.

    Parameters
    ----------
    mapping : CaptureMapping
        What tables and columns mean.
    objects : Objects
        Where content goes that is too large for a record.

    Returns
    -------
    AgentSpec
        ``capture_<name>``, to be run by a worker like any other.
    """

    @asynccontextmanager
    async def ports(_: Any) -> AsyncIterator[CapturePorts]:
        yield CapturePorts(objects)

    def keep_access(change: RowChanged, error_type: str, message: str) -> Sequence[Event]:  # noqa: ARG001 - as called
        """Publish who may read a row even where the rest of it cannot be read: a revocation must not wait."""
        row = Row(mapping, change)
        try:
            return [] if change.op != "upsert" or row.deleted else [_access(mapping, row, change)]
        except InputRejected:
            return []

    @agent(
        source=capture_topics(mapping),
        sinks=(ACL_CHANGED, SOURCE_CHANGED),
        name=f"capture_{mapping.name}",
        ports=ports,
        on_failure=keep_access,
    )
    async def capture(change: RowChanged, ports: CapturePorts) -> Sequence[Event]:
        """Make a changed row a new version of its document, with its access first; a removed one deletes it."""
        if change.op == "none":
            return []
        row = Row(mapping, change)
        if row.deleted:
            return [_changed(mapping, row, change)]
        access = _access(mapping, row, change)
        return [access, await _upsert(mapping, row, change, access.version, ports)]

    return spec_of(capture)


def _access(mapping: CaptureMapping, row: Row, change: RowChanged) -> AclChanged:
    version = change.position.acl_version(mapping.epoch)
    return AclChanged(tenant=change.tenant, document=row.document, version=version, groups=row.groups)


def _changed(mapping: CaptureMapping, row: Row, change: RowChanged) -> SourceChanged:
    epoch, version = change.position.order(mapping.epoch)
    return SourceChanged(
        tenant=change.tenant,
        document=row.document,
        source_epoch=epoch,
        version=version,
        source=row.source,
        op="delete",
        trust=row.trust,
    )


async def _upsert(
    mapping: CaptureMapping, row: Row, change: RowChanged, acl_version: int, ports: CapturePorts
) -> SourceChanged:
    found = row.content()
    if len(found.data) > MAX_OBJECT_BYTES:
        raise TooLarge(
            f"row {row.document!r} of {change.table} has {len(found.data)} bytes of text, allowed are "
            f"{MAX_OBJECT_BYTES}"
        )
    small = len(found.data) <= INLINE_SMALL_BYTES
    return _changed(mapping, row, change).replace(
        op="upsert",
        media_type=found.media_type,
        text=found.data.decode() if small else None,
        content=None if small else await ports.objects.put(found.data),
        n_bytes=len(found.data),
        labels=found.labels,
        acl_version=acl_version,
    )
