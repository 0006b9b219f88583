"""Laws about writing documents: one partition for a key, versions from the log, access first, exactly one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from millrace.client import Millrace, outcomes
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import DeadlineExceeded, InputRejected, InvalidEvent, TooLarge, WrongEventType
from millrace.event import Event
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.events.query import AnswerDelta, Receipt
from millrace.keys import document_key, partition_for
from millrace.objects import ObjectFolder
from millrace.reader import LogReader, read
from millrace.topics import ACL_CHANGED, SOURCE_CHANGED
from tests.millrace.workers import indexed, indexing, settled


def records(connection: Connection, tenant: str, *topics: Any) -> list[Any]:
    found: list[Any] = list(read(connection, topics, on_error=lambda _record, _error: None))
    return [event for event in found if event.tenant == tenant]


async def test_every_client_puts_a_key_on_the_same_partition(stack: Connection, tenant: str) -> None:
    names = [f"{prefix}{n}" for n in range(40) for prefix in ("a/", "ü-", "%41 ", "long" * 30)]
    async with Millrace(stack, tenant=tenant) as millrace:
        producer = Producer(stack.librdkafka_producer())
        landed: dict[bytes | None, int | None] = {}
        for name in names:
            record_key = document_key(tenant, name).encode()
            producer.produce(
                ACL_CHANGED.name,
                b"",
                record_key,
                on_delivery=lambda error, message: landed.update({message.key(): message.partition()}),
            )
        assert producer.flush(20) == 0
        produced = await asyncio.gather(
            *(millrace.produce(AclChanged(tenant=tenant, document=name, version=1, groups=())) for name in names)
        )
        n = await millrace.partitions(ACL_CHANGED)
    for name, one in zip(names, produced, strict=True):
        key = document_key(tenant, name)
        assert one.origin.partition == landed[key.encode()] == partition_for(key, n)


async def test_a_document_is_numbered_by_the_log_and_its_access_comes_first(stack: Connection, tenant: str) -> None:
    async with Millrace(stack, tenant=tenant) as millrace:
        first = await millrace.put_document("a.md", "one", groups=["*"])
        same_groups = await millrace.put_document("a.md", "two", groups=["*"])
    async with Millrace(stack, tenant=tenant) as another:
        third = await another.put_document("a.md", "three")
        gone = await another.delete_document("a.md")
    assert (first.version, first.acl_version) == (1, 1)
    assert [same_groups.version, third.version, gone.version] == [2, 3, 4]
    changes = records(stack, tenant, SOURCE_CHANGED)
    assert [(c.version, c.op, c.text, c.acl_version) for c in changes] == [
        (1, "upsert", "one", 1),
        (2, "upsert", "two", 1),
        (3, "upsert", "three", 1),
        (4, "delete", None, 1),
    ]
    (access,) = records(stack, tenant, ACL_CHANGED)
    assert (access.version, access.groups) == (1, ("*",))


async def test_the_same_change_of_a_source_is_the_same_event(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        for _ in range(2):
            await millrace.put_document("a.md", "one", version=7, source="crm")
    ids = {change.meta.id for change in records(embedded, tenant, SOURCE_CHANGED)}
    assert len(ids) == 1


async def test_concurrent_changes_of_one_client_get_distinct_versions(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        receipts = await asyncio.gather(*(millrace.put_document("a.md", f"{n}") for n in range(8)))
    assert sorted(receipt.version for receipt in receipts) == list(range(1, 9))


async def test_large_content_travels_by_reference(embedded: Connection, tenant: str) -> None:
    text = "word " * 2000
    async with Millrace(embedded, tenant=tenant) as millrace:
        await millrace.put_document("big.md", text)
        await millrace.put_document("bytes.bin", b"\xff\xfe")
    by_name = {change.document: change for change in records(embedded, tenant, SOURCE_CHANGED)}
    assert (by_name["big.md"].text, by_name["big.md"].n_bytes) == (None, len(text))
    folder = embedded.objects_folder
    assert folder is not None
    assert ObjectFolder(folder).get_sync(by_name["big.md"].content) == text.encode()
    assert ObjectFolder(folder).get_sync(by_name["bytes.bin"].content) == b"\xff\xfe"


async def test_without_an_object_folder_large_content_is_inline_up_to_its_limit(
    embedded: Connection, tenant: str
) -> None:
    async with Millrace(Connection(bootstrap=embedded.bootstrap, profile="embedded"), tenant=tenant) as millrace:
        await millrace.put_document("big.md", "x" * 200_000)
        with pytest.raises(TooLarge, match="MILLRACE_OBJECTS"):
            await millrace.put_document("huge.md", "x" * 300_000)
        with pytest.raises(InputRejected, match="not UTF-8"):
            await millrace.put_document("bytes.bin", b"\xff\xfe")
    (change,) = records(embedded, tenant, SOURCE_CHANGED)
    assert len(change.text) == 200_000


async def test_what_does_not_fit_the_contract_is_not_sent(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        with pytest.raises(WrongEventType):
            await millrace.produce(AnswerDelta(tenant=tenant, correlation="c", text=""), SOURCE_CHANGED)
        with pytest.raises(InvalidEvent):
            await millrace.put_document("a.md", "text", version=0)
        with pytest.raises(InputRejected):
            await millrace.put_document("", "text")
    assert records(embedded, tenant, SOURCE_CHANGED) == []


async def test_a_receipt_resolves_by_its_outcome(stack: Connection, tenant: str) -> None:
    def behaviour(change: SourceChanged) -> Iterable[Event]:
        yield settled(change, "rejected", "language", "no") if change.document == "bad.md" else indexed(change)

    with indexing(stack, tenant, behaviour):
        async with Millrace(stack, tenant=tenant) as millrace:
            good = await millrace.put_document("good.md", "text", groups=["*"])
            bad = await millrace.put_document("bad.md", "text")
            outcomes = await millrace.wait([good, bad, good], timeout_s=20)
            access = await millrace.grant("good.md", ["staff"])
            (granted,) = await millrace.wait(access, timeout_s=20)
    assert [(o.outcome, o.good, o.reason) for o in outcomes] == [
        ("indexed", True, ""),
        ("rejected", False, "language"),
        ("indexed", True, ""),
    ]
    assert (granted.outcome, access.acl_version) == ("access", 2)


@pytest.mark.parametrize("same_client", [True, False])
async def test_a_receipt_for_access_that_stands_in_the_log_already_resolves(
    stack: Connection, tenant: str, same_client: bool
) -> None:
    with indexing(stack, tenant):
        async with Millrace(stack, tenant=tenant) as writer:
            first = await writer.put_document("a.md", "one", groups=["staff"])
            await writer.wait(first, timeout_s=20)
            if same_client:
                again = await writer.put_document("a.md", "two", groups=["staff"])
                (outcome,) = await writer.wait(again, timeout_s=20)
        if not same_client:
            async with Millrace(stack, tenant=tenant) as other:
                again = await other.put_document("a.md", "two", groups=["staff"])
                (outcome,) = await other.wait(again, timeout_s=20)
    assert (outcome.outcome, outcome.version, again.acl_version) == ("indexed", 2, first.acl_version)
    assert len(records(stack, tenant, ACL_CHANGED)) == 1


async def test_a_receipt_from_elsewhere_resolves_too(stack: Connection, tenant: str) -> None:
    with indexing(stack, tenant):
        async with Millrace(stack, tenant=tenant) as writer:
            receipt = await writer.put_document("a.md", "text")
            await writer.wait(receipt, timeout_s=20)
        async with Millrace(stack, tenant=tenant) as reader:
            (outcome,) = await reader.wait(receipt, timeout_s=20)
    assert (outcome.outcome, outcome.version) == ("indexed", 1)


async def test_a_later_version_resolves_an_earlier_receipt(embedded: Connection, tenant: str) -> None:
    def behaviour(change: SourceChanged) -> Iterable[Event]:
        return [indexed(change)] if change.version == 2 else []

    with indexing(embedded, tenant, behaviour):
        async with Millrace(embedded, tenant=tenant) as millrace:
            first = await millrace.put_document("a.md", "one")
            await millrace.put_document("a.md", "two")
            (outcome,) = await millrace.wait(first, timeout_s=20)
    assert (outcome.receipt.version, outcome.version) == (1, 2)


async def test_waiting_ends_in_time_and_names_what_is_missing(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        receipt = await millrace.put_document("a.md", "text")
        with pytest.raises(DeadlineExceeded, match=r"1 of 1 changes .*'a.md' version 1"):
            await millrace.wait(receipt, timeout_s=0.3)
        with pytest.raises(DeadlineExceeded):
            await millrace.wait(Receipt(tenant, "never.md", 1), timeout_s=0.3)
        with indexing(embedded, tenant):
            later = await millrace.put_document("a.md", "newer")
            assert [o.version for o in await millrace.wait([receipt, later], timeout_s=20)] == [2, 2]


class Unreachable:
    """A consumer whose broker does not answer."""

    def __init__(self) -> None:
        self.starting = asyncio.Event()
        self.stopped = False

    async def start(self) -> None:
        self.starting.set()
        await asyncio.Event().wait()

    async def stop(self) -> None:
        self.stopped = True


async def test_a_wait_that_is_given_up_leaves_no_consumer_open(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    consumer = Unreachable()
    monkeypatch.setattr(outcomes, "_consumer", lambda _: consumer)
    reader = outcomes.OutcomeReader(embedded, Codec(), {}, timeout_s=60)
    starting = asyncio.create_task(reader.start())
    await consumer.starting.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert consumer.stopped


async def test_a_change_sent_while_the_first_wait_begins_can_be_waited_for(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        await millrace.waiter.prepare()
        beginning = asyncio.create_task(millrace.waiter.follow())
        while millrace.waiter._reader is None:  # noqa: ASYNC110 - until it connects, and no longer
            await asyncio.sleep(0)
        assert not beginning.done()
        receipt = Receipt(tenant, "a.md", 1)
        millrace.waiter.note(receipt)
        await beginning
        with indexing(embedded, tenant):
            await millrace.put_document("a.md", "text", version=1)
            (outcome,) = await asyncio.wait_for(asyncio.gather(millrace.waiter.outcome(receipt)), 20)
        assert outcome.outcome == "indexed"


async def test_access_changed_by_two_at_once_ends_as_both_wanted(embedded: Connection, tenant: str) -> None:
    """A revocation that another writer's grant overtook is written again, not reported as done."""
    async with Millrace(embedded, tenant=tenant) as one, Millrace(embedded, tenant=tenant) as other:
        for n in range(6):
            name = f"{n}.md"
            await one.set_acl(name, ["hr", "it"])
            await asyncio.gather(one.revoke(name, ["hr"]), other.grant(name, ["staff"]))
            found: dict[int, tuple[str, ...]] = {}
            for event in records(embedded, tenant, ACL_CHANGED):
                if event.document == name:
                    found.setdefault(event.version, event.groups)
            assert found[max(found)] == ("it", "staff"), found


async def test_revoking_one_group_of_everyone_is_refused(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        await millrace.put_document("a.md", "text", groups=["*", "staff"])
        with pytest.raises(InputRejected, match="everyone"):
            await millrace.revoke("a.md", ["contractors"])
        await millrace.revoke("a.md", ["*"])
        assert (await millrace.document("a.md")).groups == ("staff",)
        await millrace.revoke("a.md", ["staff"])
        assert (await millrace.document("a.md")).groups == ()


async def test_reading_the_log_commits_nothing(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        await millrace.put_document("a.md", "text")
    with LogReader(embedded, [SOURCE_CHANGED]) as reader:
        assert len(list(reader)) == reader.total > 0
    consumer = Consumer(embedded.librdkafka() | {"group.id": "millrace-reader"})
    try:
        committed = consumer.committed([TopicPartition(SOURCE_CHANGED.name, p) for p in range(4)], timeout=10)
    finally:
        consumer.close()
    assert {place.offset for place in committed} == {-1001}
