import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import LogTruncated
from millrace.events.corpus import AclChanged, DocumentSettled
from millrace.events.query import Receipt
from millrace.reader import LogReader
from millrace.schema import avro_schema
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED
from streams.embedded_broker import EmbeddedBroker
from streams.producer import Producer
from streams.visibility.letters import AccessLetters
from streams.visibility.seed import Seeded, seed
from streams.visibility.table import earlier_files
from streams.visibility.tail import Tail
from tests.conditions import until
from tests.streams.visibility.corpus_log import CorpusLog, acl, asker, deleted, indexed

PARTITIONS = 2
Begin = Callable[[], Awaitable["Life"]]


class Life:
    """A broker with the corpus topics, a producer, and tails that are stopped at the end."""

    def __init__(self, broker: EmbeddedBroker, path: Path) -> None:
        self.broker = broker
        self.path = path
        self.log = CorpusLog(PARTITIONS)
        self.now = 0.0
        self.tails: list[Tail] = []
        for topic in (DOCUMENT_INDEXED, ACL_CHANGED, DOCUMENT_SETTLED):
            broker.create_topic(topic.name, PARTITIONS)

    async def start(self) -> None:
        self.producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap, linger_ms=1)
        await self.producer.start()

    async def produce(self, *events: Any) -> None:
        for event in events:
            record = self.log.append(event)
            await self.send(record.topic, record.key, record.value, record.headers)

    async def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Any = ()) -> None:
        await self.producer.send_and_wait(topic, value, key=key, headers=list(headers))

    async def tail(self, epoch: str = "", *, wait: bool = True, **options: Any) -> Tail:
        tail = Tail(
            self.path,
            {"bootstrap_servers": self.broker.bootstrap},
            log_epoch=epoch or self.broker.log_epoch,
            fetch_max_wait_ms=5,
            confirm_every_s=0.02,
            clock=lambda: self.now,
            **options,
        )
        self.tails.append(tail)
        await tail.start()
        if wait:
            await asyncio.wait_for(tail.wait_ready(), 20)
        return tail

    async def newer(self, event: AclChanged, number: int) -> None:
        """Produce access as a newer release would, in a schema with this id."""
        known = self.log.append(event)
        assert known.value is not None
        await self.send(known.topic, known.key, b"\x00" + number.to_bytes(4, "big") + known.value[5:], known.headers)

    async def stop(self) -> None:
        for tail in self.tails:
            await tail.stop()
        await self.producer.stop()


@pytest.fixture
async def begin(start_embedded: Callable[[], EmbeddedBroker], tmp_path: Path) -> AsyncIterator[Begin]:
    lives: list[Life] = []

    async def begin_() -> Life:
        life = Life(start_embedded(), tmp_path / "visibility.sqlite")
        lives.append(life)
        await life.start()
        return life

    yield begin_
    for life in lives:
        await life.stop()


@pytest.fixture
async def life(begin: Begin) -> Life:
    return await begin()


async def test_ready_means_that_everything_in_the_log_at_the_start_is_visible(life: Life) -> None:
    await life.produce(acl("a.md", 1, "*"), indexed("a.md", 1), acl("b.md", 1, "hr"), indexed("b.md", 1))
    tail = await life.tail()
    assert set(tail.visible("acme", asker()).documents()) == {"a.md"}
    assert tail.visible("acme", asker("hr")).n_documents == 2


async def test_waiting_for_a_receipt_ends_when_its_outcome_is_folded(life: Life) -> None:
    tail = await life.tail()
    waiting = asyncio.create_task(
        tail.wait_for([Receipt("acme", "a.md", version=1), Receipt("acme", "b.md", version=2, acl_version=1)])
    )
    await life.produce(acl("a.md", 1, "*"), indexed("a.md", 1), acl("b.md", 1, "*"))
    await asyncio.wait_for(tail.wait_for([Receipt("acme", "b.md", acl_version=1)]), 20)
    assert not waiting.done()
    await life.produce(DocumentSettled(tenant="acme", document="b.md", version=2, outcome="failed"))
    await asyncio.wait_for(waiting, 20)
    assert tail.visible("acme", asker()).n_documents == 1


async def test_waiting_for_a_watermark_never_goes_back_in_time(life: Life, tmp_path: Path) -> None:
    await life.produce(acl("a.md", 1, "*"), indexed("a.md", 1))
    ahead = (await life.tail()).watermark()
    life.path = tmp_path / "second.sqlite"
    behind = await life.tail(wait=False)
    await asyncio.wait_for(behind.wait_for([], ahead), 20)
    assert behind.visible("acme", asker()).n_documents == 1


async def test_a_worker_that_takes_over_a_partition_folds_it_to_its_end_first(life: Life) -> None:
    tail = await life.tail()
    for version in range(1, 30):
        await life.produce(indexed("a.md", version))
        await asyncio.wait_for(tail.caught_up(range(PARTITIONS)), 20)
        newest = tail.current("acme", "a.md")
        assert newest is not None
        assert newest.version == version


async def test_questions_are_refused_when_the_end_of_the_log_was_not_confirmed_for_five_seconds(life: Life) -> None:
    tail = await life.tail()
    await asyncio.wait_for(tail._folder.until(tail.confirmed), 20)
    life.broker.kill()
    life.now += 4.0
    assert tail.confirmed()
    life.now += 1.5
    assert not tail.confirmed()


async def test_an_end_of_the_log_is_confirmed_although_records_come_while_it_is_asked_for(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = await life.tail()
    ask, versions = tail._folder._ends, count(1)

    async def asked_while_a_record_comes(partitions: Sequence[TopicPartition]) -> dict[tuple[str, int], int]:
        ends = await ask(partitions)
        version = next(versions)
        await life.produce(indexed("a.md", version))
        await tail.wait_for([Receipt("acme", "a.md", version=version)])
        return ends

    monkeypatch.setattr(tail._folder, "_ends", asked_while_a_record_comes)
    life.now += 6.0
    assert not tail.confirmed()
    await asyncio.wait_for(tail._folder.until(tail.confirmed), 20)


async def test_an_undecodable_record_stops_nothing_and_is_reported(life: Life) -> None:
    await life.produce(acl("a.md", 1, "*"))
    for value in (b"junk", None, b"\x00\x00\x00\x00\x07abc"):
        await life.send(DOCUMENT_INDEXED.name, b"t/acme/d/a.md", value)
    await life.produce(indexed("a.md", 1))
    tail = await life.tail()
    assert tail.n_undecodable == 3
    assert tail.visible("acme", asker()).n_documents == 1


async def test_a_restart_reads_the_tail_alone_and_equals_a_fold_from_zero(life: Life, tmp_path: Path) -> None:
    await life.produce(acl("a.md", 1, "*"), indexed("a.md", 1), indexed("b.md", 2), acl("b.md", 1, "hr"))
    first = await life.tail()
    await first.stop()
    await life.produce(indexed("a.md", 2), deleted("b.md", 3), indexed("b.md", 1))
    second = await life.tail()
    life.path = tmp_path / "fresh.sqlite"
    fresh = await life.tail()
    assert second.table.digest() == fresh.table.digest()
    assert second.watermark() == fresh.watermark()


async def test_a_log_that_lost_its_beginning_stops_a_new_table_instead_of_being_skipped(life: Life) -> None:
    life.broker.create_topic("filler", 1)
    filler = indexed("big.md", 1, 6000)
    for version in range(1, 25):
        await life.produce(filler.replace(version=version))
    with pytest.raises(LogTruncated, match="begins at offset"):
        await life.tail()


async def confirms(tail: Tail) -> bool:
    """Whether the tail confirms once its reader does."""
    await asyncio.wait_for(tail._folder.until(lambda: tail._folder.confirmed(5.0)), 20)
    return tail.confirmed()


async def test_access_that_only_a_newer_release_can_read_refuses_questions_until_it_is_read(life: Life) -> None:
    schemas: dict[int, dict[str, Any]] = {}
    await life.produce(acl("a.md", 1, "hr"), indexed("a.md", 1))
    await life.newer(acl("a.md", 2, "it"), 7)
    for _ in range(2):  # it is known after a restart too, when the record is not read again
        tail = await life.tail(codec=Codec(writers=schemas.get))
        assert not await confirms(tail)
        await tail.stop()
    schemas[7] = avro_schema(AclChanged)
    tail = await life.tail(codec=Codec(writers=schemas.get))
    assert await confirms(tail)
    assert (tail.visible("acme", asker("hr")).n_documents, tail.visible("acme", asker("it")).n_documents) == (0, 1)


async def test_a_schema_that_is_met_for_the_first_time_is_asked_for_beside_the_event_loop(life: Life) -> None:
    asked_on: set[threading.Thread] = set()

    def ask(_: int) -> dict[str, Any]:
        asked_on.add(threading.current_thread())
        return avro_schema(AclChanged)

    await life.newer(acl("a.md", 1, "it"), 7)
    await life.produce(indexed("a.md", 1))
    tail = await life.tail(codec=Codec(writers=ask))
    assert tail.visible("acme", asker("it")).n_documents == 1
    assert asked_on
    assert threading.main_thread() not in asked_on


async def test_access_written_again_takes_the_place_of_what_could_not_be_read(life: Life) -> None:
    await life.newer(acl("a.md", 2, "it"), 7)
    await life.newer(acl("b.md", 2, "it"), 7)
    tail = await life.tail()
    await life.produce(acl("a.md", 3, "hr"))
    await asyncio.wait_for(tail.caught_up(), 20)
    assert not await confirms(tail)
    await life.produce(acl("b.md", 3, "hr"))
    await asyncio.wait_for(tail.caught_up(), 20)
    assert await confirms(tail)
    await tail.stop()
    assert await confirms(await life.tail())


async def test_junk_among_access_is_passed_over_and_questions_go_on(life: Life) -> None:
    await life.send(ACL_CHANGED.name, b"t/acme/d/a.md", b"junk")
    assert await confirms(await life.tail())


async def test_access_that_cannot_be_read_gets_a_dead_letter_from_whoever_folds_it(life: Life) -> None:
    life.broker.create_topic(ACL_CHANGED.dead_letters, PARTITIONS)
    await life.newer(acl("a.md", 2, "it"), 7)
    await life.send(ACL_CHANGED.name, b"t/acme/d/b.md", b"junk")
    await life.send(DOCUMENT_INDEXED.name, b"t/acme/d/b.md", b"junk")
    connection = Connection(bootstrap=life.broker.bootstrap, profile="embedded")
    async with Producer(connection.aiokafka()) as producer:
        letters = AccessLetters(producer)
        await letters.start()
        await (await life.tail(on_undecodable=letters.put)).stop()
        await letters.stop()
    assert (letters.n_written, letters.n_lost) == (2, 0)
    with LogReader(connection, [ACL_CHANGED.dead_letters]) as reader:
        found = {raw.key: (raw.value, dict(raw.headers)) for raw in reader}
    value, headers = found[b"t/acme/d/a.md"]
    assert (value or b"").startswith(b"\x00\x00\x00\x00\x07")
    assert (headers["mr-error-type"], headers["mr-error-topic"]) == (b"unknown_schema", ACL_CHANGED.name.encode())
    assert "ce_id" in headers
    assert found[b"t/acme/d/b.md"][0] == b"junk"


async def test_a_seed_keeps_access_that_could_not_be_read(begin: Begin) -> None:
    first = await begin()
    await first.produce(acl("a.md", 1, "hr"), indexed("a.md", 1))
    await first.newer(acl("a.md", 2, "it"), 7)
    await (await first.tail()).stop()
    second = await begin()
    await seed(second.path, {"bootstrap_servers": second.broker.bootstrap}, log_epoch=second.broker.log_epoch)
    tail = await second.tail()
    assert not await confirms(tail)
    await tail.stop()
    tail = await second.tail(codec=Codec(writers={7: avro_schema(AclChanged)}.get))
    assert await confirms(tail)
    assert tail.visible("acme", asker("it")).n_documents == 1


async def test_a_log_that_ends_before_its_table_stops_the_reader_and_hides_nothing(begin: Begin) -> None:
    before = await begin()
    await before.produce(acl("a.md", 1, "*"), indexed("a.md", 1), indexed("a.md", 2))
    tail = await before.tail("same epoch")
    await tail.stop()
    after = await begin()
    await after.produce(acl("a.md", 1, "*"))
    with pytest.raises(LogTruncated, match=r"ends at offset .* created again"):
        await after.tail("same epoch")
    await after.tails[-1].stop()
    assert not earlier_files(after.path)
    anew = await after.tail("another epoch")
    assert anew.current("acme", "a.md") is None


async def test_a_seed_brings_the_same_visible_set_and_bytes_to_a_new_broker(begin: Begin) -> None:
    first = await begin()
    await first.produce(
        acl("a.md", 1, "*"), indexed("a.md", 1), indexed("a.md", 2), acl("b.md", 1, "hr"), indexed("b.md", 1),
        indexed("b.md", 2, acl_version=7), acl("gone.md", 1, "*"), indexed("gone.md", 1), deleted("gone.md", 2),
        indexed("other.md", 1, tenant="globex"),
    )  # fmt: skip
    tail = await first.tail()
    digest = tail.table.digest()
    kept = {name: tail.current("acme", name) for name in ("a.md", "b.md", "gone.md")}
    await tail.stop()
    assert (
        await seed(first.path, {"bootstrap_servers": first.broker.bootstrap}, log_epoch=first.broker.log_epoch)
        == Seeded()
    )
    first.broker.kill()

    second = await begin()
    for _ in range(2):  # a seed that was cut off is repeated
        seeded = await seed(
            second.path, {"bootstrap_servers": second.broker.bootstrap}, log_epoch=second.broker.log_epoch
        )
        assert (seeded.n_versions, seeded.n_accesses) == (5, 3)
    tail = await second.tail()
    assert tail.table.digest() == digest
    found = {name: tail.current("acme", name) for name in kept}
    assert found == kept
    assert [e.meta.id for e in found.values() if e] == [e.meta.id for e in kept.values() if e]
    assert set(tail.visible("acme", asker("hr")).documents()) == {"a.md", "b.md"}


async def test_a_seed_survives_a_broker_that_died_before_the_new_table_caught_up(begin: Begin) -> None:
    first = await begin()
    await first.produce(acl("a.md", 1, "*"), indexed("a.md", 1))
    tail = await first.tail()
    digest = tail.table.digest()
    await tail.stop()

    second = await begin()  # never seeded to its end: the table of this life has seen nothing
    unfinished = Tail(second.path, {"bootstrap_servers": second.broker.bootstrap}, log_epoch=second.broker.log_epoch)
    unfinished.table.close()

    third = await begin()
    await seed(third.path, {"bootstrap_servers": third.broker.bootstrap}, log_epoch=third.broker.log_epoch)
    tail = await third.tail()
    assert tail.table.digest() == digest
    assert not earlier_files(third.path)


async def test_who_waits_for_the_log_after_silence_has_it_read_at_once(life: Life) -> None:
    tail = await life.tail(fetch_idle_wait_ms=50)
    consumer = tail._folder._consumer
    life.now += 30
    await until(lambda: consumer.wait_ms == 50)
    await asyncio.wait_for(tail.caught_up(), 20)
    assert consumer.wait_ms == 5
    life.now += 30
    await until(lambda: consumer.wait_ms == 50)
    waiting = asyncio.create_task(tail.wait_for([Receipt("acme", "a.md", version=1)]))
    await until(lambda: consumer.wait_ms == 5)
    await life.produce(acl("a.md", 1, "*"), indexed("a.md", 1))
    await asyncio.wait_for(waiting, 20)
