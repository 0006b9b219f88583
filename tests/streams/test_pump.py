"""The pump on a broker: what arrives, in what order, and what is committed."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from millrace.agent import Batch, Result
from millrace.codec import Record
from millrace.dead_letters import Letter, replayed
from millrace.errors import InputRejected, LogTruncated, Unavailable
from millrace.event import Event
from streams.producer import acknowledged
from streams.pump import Pump, membership
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


async def test_every_input_gives_its_output_and_is_committed(world: World) -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce(ordered(f"k{n % 7}", n) for n in range(500))
    async with world.running(world.spec(relay)) as pump:
        records = await world.read_n(world.sink, 500)
        await until(lambda: pump.lag == 0)
        committed = await world.committed(pump)
    assert sorted(event.n for event in world.decode(records)) == list(range(500))
    assert sum(at.offset for at in committed.values()) == 500


async def test_records_of_a_key_leave_in_their_order_whatever_fails(world: World) -> None:
    seen: dict[str, int] = {}

    async def shaky(event: Ordered) -> Handled:
        tries = seen[event.lane + str(event.n)] = seen.get(event.lane + str(event.n), 0) + 1
        if (event.n * 7 + len(event.lane)) % 5 == 0 and tries == 1:
            raise Unavailable("the model is away")
        if event.n % 11 == 3 and tries <= 2:
            raise ValueError("who knows")
        return handled(event)

    await world.produce(ordered(f"k{n % 9}", n) for n in range(200))
    async with world.running(world.spec(shaky)) as pump:
        records = await world.read_n(world.sink, 200)
        await until(lambda: pump.lag == 0)
    by_lane: dict[str, list[int]] = {}
    for event in world.decode(records):
        by_lane.setdefault(event.lane, []).append(event.n)
    assert {lane: sorted(set(ns)) for lane, ns in by_lane.items()} == by_lane
    assert sum(map(len, by_lane.values())) == 200
    assert pump.counters.dead_lettered == 0


async def test_one_bad_record_is_dead_lettered_byte_for_byte_and_the_rest_flows(world: World) -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce([ordered("a", 0)])
    bad = Record(
        topic=world.source.name, key=b"t/acme/x/a", value=b"\x00junk", headers=[("h", b"\xff\x00")], partition=1
    )
    await acknowledged([await world.producer.send(bad)])
    await world.produce(ordered(f"k{n}", n) for n in range(1, 20))
    async with world.running(world.spec(relay)) as pump:
        await world.read_n(world.sink, 20)
        [letter] = await world.read_n(world.source.dead_letters, 1)
        await until(lambda: pump.lag == 0)
    assert (letter.key, letter.value, letter.partition) == (bad.key, bad.value, 1)
    assert letter.headers[0] == ("h", b"\xff\x00")
    error = Letter.of(letter).error
    assert (error["type"], error["agent"], error["topic"]) == ("unknown_schema", "relay", world.source.name)
    assert "junk" not in error["message"]


@pytest.mark.parametrize(
    ("error", "attempts"), [(InputRejected("never"), 1), (ValueError("maybe"), 3)], ids=["permanent", "unknown"]
)
async def test_an_input_that_fails_for_good_is_dead_lettered_after_its_attempts(
    world: World, error: Exception, attempts: int
) -> None:
    calls: list[int] = []

    async def picky(event: Ordered) -> Handled:
        if event.n == 3:
            calls.append(event.n)
            raise error
        return handled(event)

    await world.produce(ordered(f"k{n % 3}", n) for n in range(10))
    async with world.running(world.spec(picky)) as pump:
        await world.read_n(world.sink, 9)
        [letter] = await world.read_n(world.source.dead_letters, 1)
        await until(lambda: pump.lag == 0)
    assert len(calls) == attempts
    assert Letter.of(letter).error["attempt"] == str(attempts)
    assert world.codec.decode(letter.value) == ordered("k0", 3)


async def test_a_batch_that_raises_fails_only_for_its_bad_input(world: World) -> None:
    async def gather(events: Sequence[Ordered]) -> Sequence[Result]:
        if any(event.n == 7 for event in events):
            raise InputRejected("one of you is bad")
        return [Result.ok(handled(event)) for event in events]

    await world.produce(ordered(f"k{n}", n) for n in range(40))
    async with world.running(world.spec(gather, batch=Batch(max_items=8, linger_ms=20))) as pump:
        records = await world.read_n(world.sink, 39)
        await world.read_n(world.source.dead_letters, 1)
        await until(lambda: pump.lag == 0)
    assert sorted(event.n for event in world.decode(records)) == [n for n in range(40) if n != 7]
    assert max(pump.counters.batch_sizes) > 1


async def test_an_outage_pauses_intake_and_dead_letters_nothing(world: World) -> None:
    up = asyncio.Event()
    calls: list[int] = []

    async def needs(event: Ordered) -> Handled:
        calls.append(event.n)
        if not up.is_set():
            raise Unavailable("down")
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(100))
    async with world.running(world.spec(needs)) as pump:
        await until(lambda: pump.counters.retried >= 20)
        during = len(calls)
        up.set()
        await world.read_n(world.sink, 100)
        await until(lambda: pump.lag == 0)
    assert pump.counters.dead_lettered == 0
    assert during <= 60  # 20 retries of at most 16 in flight, no spinning through everything buffered


async def test_a_dead_letter_that_cannot_be_written_holds_the_offset(world: World) -> None:
    allowed = asyncio.Event()

    class NoLetters:
        async def send(self, record: Record) -> Any:
            if record.topic.endswith(".dlq") and not allowed.is_set():
                raise Unavailable("the dead letter topic is not there")
            return await world.producer.send(record)

    def refuse(event: Ordered) -> None:
        raise InputRejected("no")

    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(refuse), producer=NoLetters()) as pump:
        await until(lambda: pump.counters.errors["rejected", "refuse"] >= 1 and not pump.in_flight)
        await pump._tenure.commit(also=list(pump._flow.open))
        assert sum(at.offset for at in (await world.committed(pump)).values()) == 0
        allowed.set()
        await world.read_n(world.source.dead_letters, 1)
        await until(lambda: pump.lag == 0)


async def test_two_workers_share_the_partitions_and_lose_nothing_when_one_joins_and_leaves(world: World) -> None:
    async def relay(event: Ordered) -> Handled:
        await asyncio.sleep(0)
        return handled(event)

    spec, group = world.spec(relay), world.broker.name("shared.")
    await world.produce(ordered(f"k{n % 20}", n) for n in range(300))
    async with world.running(spec, group_prefix=group) as first:
        async with world.running(spec, group_prefix=group) as second:
            await until(lambda: len(first._flow.open) == len(second._flow.open) == 1)
            await world.produce(ordered(f"k{n % 20}", n) for n in range(300, 600))
            await until(lambda: min(first.counters.consumed, second.counters.consumed) > 0)
        await world.produce(ordered(f"k{n % 20}", n) for n in range(600, 900))
        records = await world.read(
            world.sink.name, lambda found: len({event.n for event in world.decode(found)}) == 900, 30
        )
        await until(lambda: first.lag == 0)
    ids = [dict(record.headers)["ce_id"] for record in records]
    assert len(set(ids)) == 900  # a copy has the id of its original


async def test_a_committed_position_outside_the_log_stops_the_pump(world: World) -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce([ordered("a", 0)])
    pump = world.pump(world.spec(relay))
    consumer = AIOKafkaConsumer(**world.connection, group_id=pump._tenure.group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([TopicPartition(world.source.name, 0)])
    await consumer.commit({TopicPartition(world.source.name, 0): 4711})
    await consumer.stop()
    await pump.start()
    await until(lambda: pump.crashed)
    await pump.stop()
    assert isinstance(pump.crash_reason, LogTruncated)
    assert "4711" in str(pump.crash_reason)


async def test_what_is_parked_waits_beside_the_lanes_and_too_much_is_refused(world: World) -> None:
    visible = asyncio.Event()

    def park(event: Ordered, ports: Any) -> Any:
        return visible.wait() if event.n >= 100 else None

    async def answer(event: Ordered) -> Frame:
        return Frame(tenant=event.tenant, lane=event.lane, n=event.n)

    def refuse(event: Ordered, error_type: str, message: str) -> list[Event]:
        return [Frame(tenant=event.tenant, lane=event.lane, n=event.n, error_type=error_type)]

    await world.produce(ordered("a", n, reply_partition=0) for n in (*range(100, 106), 1, 2))
    spec = world.spec(answer, sinks=(world.reply,), park=park, on_failure=refuse)
    async with world.running(spec, max_parked=4) as pump:
        before = world.decode(await world.read_n(world.reply, 4))
        assert {(event.n, event.error_type) for event in before} == {
            (1, ""), (2, ""), (104, "not_yet_visible"), (105, "not_yet_visible"),
        }  # fmt: skip
        visible.set()
        after = world.decode(await world.read_n(world.reply, 8))
        await until(lambda: pump.lag == 0)
    assert {event.n for event in after[4:]} == {100, 101, 102, 103}
    assert pump.counters.dead_lettered == 0


async def test_a_passed_deadline_is_answered_and_not_computed(world: World) -> None:
    calls: list[int] = []

    async def answer(event: Ordered) -> Frame:
        calls.append(event.n)
        return Frame(tenant=event.tenant, lane=event.lane, n=event.n)

    def refuse(event: Ordered, error_type: str, message: str) -> list[Event]:
        return [Frame(tenant=event.tenant, lane=event.lane, n=event.n, error_type=error_type)]

    await world.produce([ordered("a", 0, deadline_ms=1000, reply_partition=0)])
    async with world.running(world.spec(answer, sinks=(world.reply,), on_failure=refuse)) as pump:
        [frame] = world.decode(await world.read_n(world.reply, 1))
        await until(lambda: pump.lag == 0)
    assert frame.error_type == "deadline_exceeded"
    assert calls == []
    assert pump.counters.dead_lettered == 0


async def test_a_letter_put_back_twice_gives_the_output_one_id(world: World) -> None:
    mended = asyncio.Event()

    async def picky(event: Ordered) -> Handled:
        if not mended.is_set():
            raise InputRejected("broken")
        return handled(event)

    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(picky)) as pump:
        [record] = await world.read_n(world.source.dead_letters, 1)
        mended.set()
        for _ in range(2):
            await acknowledged([await world.producer.send(replayed(Letter.of(record)))])
        outputs = await world.read_n(world.sink, 2)
        await until(lambda: pump.lag == 0)
    assert len({dict(output.headers)["ce_id"] for output in outputs}) == 1
    [source, *copies] = await world.read_n(world.source, 3)
    assert all(
        (copy.key, copy.value, copy.partition) == (source.key, source.value, source.partition) for copy in copies
    )
    assert all(dict(copy.headers)["ce_id"] == b"a-0" for copy in copies)
    assert all("mr-replayed-from" in dict(copy.headers) for copy in copies)


async def test_a_pump_that_is_told_to_end_while_it_joins_leaves_no_client_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[AIOKafkaConsumer] = []
    joining, may_join = asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **options: Any) -> AIOKafkaConsumer:
        joining.set()
        await may_join.wait()
        joined.append(await membership.join(*given, **options))
        return joined[-1]

    leave = Pump._leave

    async def left(pump: Pump) -> None:
        await leave(pump)
        if not may_join.is_set():  # nothing to leave yet; what is joined now has to be left by who joined
            may_join.set()
            await until(lambda: bool(joined) and joined[0]._closed and not joined[0]._client._conns)

    monkeypatch.setattr("streams.pump.pump.join", slow)
    monkeypatch.setattr(Pump, "_leave", left)
    pump = world.pump(world.spec(handled))
    await pump.start()
    await joining.wait()
    await pump.stop()


async def test_prepare_ends_before_any_record_is_handled(world: World) -> None:
    order: list[str] = []

    async def prepare(partitions: Collection[TopicPartition]) -> None:
        order.append(f"prepare {len(partitions)}")
        await asyncio.sleep(0)
        order.append("prepared")

    async def relay(event: Ordered) -> Handled:
        order.append("handled")
        return handled(event)

    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(relay), prepare=prepare):
        await world.read_n(world.sink, 1)
    assert order == ["prepare 2", "prepared", "handled"]


async def test_a_producer_that_fails_makes_the_input_run_again(world: World) -> None:
    failures = iter([True, True])

    class Shaky:
        async def send(self, record: Record) -> Any:
            if record.topic == world.sink.name and next(failures, False):
                ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                ack.set_exception(KafkaTimeoutError())
                return ack
            return await world.producer.send(record)

    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    async with world.running(world.spec(relay), producer=Shaky()) as pump:
        records = await world.read(world.sink.name, lambda found: len({e.n for e in world.decode(found)}) == 30)
        await until(lambda: pump.lag == 0)
    assert len(records) == 30
