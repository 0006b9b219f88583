"""Changes of several documents at once: none waits for another, and numbers are given once."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Collection

import msgspec
import pytest

from millrace.client import documents
from millrace.client.documents import Change, DocumentWriter
from millrace.client.producing import EventProducer
from millrace.codec import Codec, Record
from millrace.connection import Connection
from millrace.event import Origin
from millrace.ingest.known import KnownDocument, KnownDocuments
from tests.conditions import until


class SlowToRead(KnownDocuments):
    """Cannot say what the log knows of some documents until it is told to go on."""

    def __init__(self, connection: Connection, slow: Collection[str]) -> None:
        super().__init__(connection)
        self._slow = slow
        self.n_reading = 0
        self.go_on = threading.Event()

    def refresh_document(self, tenant: str, document: str) -> KnownDocument:
        if document in self._slow:
            self.n_reading += 1
            assert self.go_on.wait(50)
        return super().refresh_document(tenant, document)


@contextlib.asynccontextmanager
async def reading_slowly(
    connection: Connection,
    tenant: str,
    slow: Collection[str],
    n_reading: int,
    lock: asyncio.Lock | None = None,
    others: Collection[str] = (),
) -> AsyncIterator[DocumentWriter]:
    """A writer in the midst of numbering changes of some documents of a tenant and of others; done at the end."""
    producer = EventProducer(connection, Codec(), source="app", timeout_s=10.0)
    known = SlowToRead(connection, slow)
    await producer.start()
    try:
        writer = DocumentWriter(connection, producer, known, lambda *_, **__: None)
        if lock is not None:
            writer._alone = lambda *_: lock  # type: ignore[method-assign]
        changes = [text_of(each, name) for each in (tenant, *others) for name in slow]
        tasks = [asyncio.create_task(writer.send(change)) for change in changes]
        try:
            await until(lambda: known.n_reading == n_reading)
            yield writer
            assert not any(task.done() for task in tasks)
        finally:
            known.go_on.set()
            await asyncio.gather(*tasks)
    finally:
        await producer.stop()


def text_of(tenant: str, document: str) -> Change:
    return Change(tenant=tenant, document=document, content=b"text", groups=("*",))


async def test_a_slow_look_at_one_document_holds_up_no_change_of_another(embedded: Connection, tenant: str) -> None:
    async with reading_slowly(embedded, tenant, ["slow.md"], 1) as writer:
        sent = await asyncio.wait_for(writer.send(text_of(tenant, "fast.md")), 20)
        moved = await asyncio.wait_for(writer.set_access(tenant, "moved.md", lambda _: ("staff",)), 20)
        assert (sent.receipt.version, moved.receipt.acl_version) == (1, 1)


async def test_with_one_lock_for_all_it_does(embedded: Connection, tenant: str) -> None:
    """Control."""
    async with reading_slowly(embedded, tenant, ["slow.md"], 1, asyncio.Lock()) as writer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.send(text_of(tenant, "fast.md")), 0.5)


async def test_slow_looks_of_one_tenant_leave_room_for_those_of_others(embedded: Connection, tenant: str) -> None:
    async with reading_slowly(embedded, tenant, [f"{n}.md" for n in range(8)], 2) as writer:
        sent = await asyncio.wait_for(writer.send(text_of(f"{tenant}-2", "fast.md")), 20)
        assert sent.receipt.version == 1


async def test_without_a_share_of_their_own_they_do_not(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control."""
    monkeypatch.setattr(documents, "_LOOKING_A_TENANT", documents._LOOKING)
    async with reading_slowly(embedded, tenant, [f"{n}.md" for n in range(8)], documents._LOOKING) as writer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.send(text_of(f"{tenant}-2", "fast.md")), 0.5)


async def test_slow_looks_of_all_tenants_together_take_only_the_places_that_there_are(
    embedded: Connection, tenant: str
) -> None:
    others = [f"{tenant}-{n}" for n in (2, 3)]
    async with reading_slowly(embedded, tenant, ["0.md", "1.md"], documents._LOOKING, others=others) as writer:
        assert writer._looking.locked()


async def test_what_nobody_numbers_any_more_is_forgotten(embedded: Connection, tenant: str) -> None:
    async with reading_slowly(embedded, tenant, ["slow.md"], 1) as writer:
        for n in range(3):
            await writer.set_access(tenant, f"{n}.md", lambda _: ("staff",))
        assert set(writer._numbering) == {(tenant, "slow.md")}
        assert set(writer._looking_by_tenant) == {tenant}
    assert len(writer._numbering) == len(writer._looking_by_tenant) == 0


class LateProducer(EventProducer):
    """Hands a record to the broker only when a fifth of a second has passed, as a busy machine may."""

    n_late = 0

    async def send(self, record: Record) -> Awaitable[Origin]:
        self.n_late += 1

        async def later() -> Origin:
            due = asyncio.Event()
            asyncio.get_running_loop().call_later(0.2, due.set)
            await due.wait()
            origin = await self.produce(record)
            self.n_late -= 1
            return origin

        return later()

    async def produce(self, record: Record) -> Origin:
        return await (await super().send(record))


class Looking(KnownDocuments):
    """Notes how many records are on their way while it looks into the log."""

    def __init__(self, connection: Connection, producer: LateProducer) -> None:
        super().__init__(connection)
        self._producer = producer
        self.found: list[int] = []

    def refresh_document(self, tenant: str, document: str) -> KnownDocument:
        self.found.append(self._producer.n_late)
        return super().refresh_document(tenant, document)


async def test_a_change_on_its_way_keeps_its_number(embedded: Connection, tenant: str) -> None:
    producer = LateProducer(embedded, Codec(), source="app", timeout_s=10.0)
    await producer.start()
    try:
        known = Looking(embedded, producer)
        writer = DocumentWriter(embedded, producer, known, lambda *_, **__: None)
        change = Change(tenant=tenant, document="a.md", content=b"one", groups=("*",))
        sent = [await writer.send(msgspec.structs.replace(change, content=content)) for content in (b"one", b"two")]
        moved = await writer.set_access(tenant, "a.md", lambda _: ("staff",))
        await asyncio.gather(*(each.acknowledged for each in (*sent, moved)))
    finally:
        await producer.stop()
    assert [each.receipt.version for each in sent] == [1, 2]
    assert [each.receipt.acl_version for each in (*sent, moved)] == [1, 1, 2]
    assert known.found == [0, 0, 0]
