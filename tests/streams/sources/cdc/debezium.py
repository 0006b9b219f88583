"""Records as Debezium's Postgres connector writes them, and a database small enough to be believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.invoke import Invoker, Output, Progress
from streams.sources.cdc import CaptureMapping, RowChanged, TableMapping, capture_agent
from tests.fakes import MemoryObjects

UNAVAILABLE = "__debezium_unavailable_value"


class RawRecord(NamedTuple):
    """Key and value of a record."""

    key: bytes | None
    value: bytes | None


def mapping_of(*, tenant: str = "acme", epoch: int = 0, **table: Any) -> CaptureMapping:
    """A mapping of one table, ``public.notes``."""
    table = {"content": ("body",), "title": "title"} | table
    return CaptureMapping(name="shop", tenant=tenant, epoch=epoch, tables={"public.notes": TableMapping(**table)})


def envelope(
    op: str,
    after: Mapping[str, Any] | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    key: Mapping[str, Any] | None = None,
    commit: int | None = 100,
    lsn: int | None = 108,
    schemas: bool = False,
    **source: Any,
) -> RawRecord:
    """A change; the key is the row's id unless it is given."""
    if key is None:
        key = {"id": (after or before or {"id": 1})["id"]}
    value = {
        "before": before,
        "after": after,
        "source": {
            "version": "3.3.1.Final",
            "connector": "postgresql",
            "name": "shop",
            "db": "crm",
            "schema": "public",
            "table": "notes",
            "sequence": json.dumps([None if commit is None else str(commit), str(lsn)]),
            "lsn": lsn,
            "ts_us": 1_700_000_000_000_000,
            **source,
        },
        "op": op,
        "ts_ms": 1_700_000_000_001,
    }
    framed: list[Any] = [{"schema": {"type": "struct"}, "payload": part} if schemas else part for part in (key, value)]
    return RawRecord(json.dumps(framed[0]).encode(), json.dumps(framed[1]).encode())


class Agent:
    """The capture agent of a mapping, without a broker."""

    def __init__(self, mapping: CaptureMapping) -> None:
        self.objects = MemoryObjects()
        self.spec: AgentSpec = capture_agent(mapping, self.objects)
        self._invoker = Invoker(self.spec, clock=lambda: 0.0)
        self._codec = Codec()
        self._n = 0

    def read(self, record: RawRecord, *, headers: tuple[tuple[str, bytes], ...] = ()) -> RowChanged:
        """Event of a record, as the pump reads it."""
        self._n += 1
        topic = self.spec.sources[0]
        found = self._codec.read(topic, record.key, record.value, headers, Origin(topic.name, 0, self._n))
        assert isinstance(found, RowChanged)
        return found

    async def outputs(self, record: RawRecord) -> list[Output]:
        """What the agent makes of a record, with topics."""
        found: list[Output] = []

        async def emit(_: str, outputs: Any) -> None:
            found.extend(outputs)

        async with self.spec.ports(None) as ports:  # type: ignore[misc]
            await self._invoker.run(self.read(record), ports, emit, Progress())
        return found

    async def events(self, record: RawRecord) -> list[Event]:
        """What the agent makes of a record."""
        return [output.event for output in await self.outputs(record)]

    async def changed(self, record: RawRecord) -> SourceChanged:
        """The one change of a document that a record stands for."""
        [found] = [event for event in await self.events(record) if isinstance(event, SourceChanged)]
        return found

    async def access(self, record: RawRecord) -> AclChanged:
        """The one change of access that a record stands for."""
        [found] = [event for event in await self.events(record) if isinstance(event, AclChanged)]
        return found

    def told(self, record: RawRecord, error: BaseException) -> list[Event]:
        """What is published before a record is dead-lettered."""
        return [output.event for output in self._invoker.failed(self.read(record), error)]
