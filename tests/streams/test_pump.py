"""The pump on a broker: what arrives, in what order, and what is committed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from millrace.agent import Batch, Result
from millrace.codec import Record
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from streams.dead_letters import Letter
from streams.producer import acknowledged
from tests.brokers import Broker
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, ordered, until, world_on


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


async def test_a_terminal_frame_is_sent_only_after_everything_else_is_acknowledged(world: World) -> None:
    order: list[str] = []

    class Slow:
        async def send(self, record: Record) -> Any:
            order.append(f"send {record.topic}")
            ack = await world.producer.send(record)
            ack.add_done_callback(lambda _: order.append(f"ack {record.topic}"))
            return ack

    async def answer(event: Ordered) -> list[Event]:
        return [
            Frame(tenant="acme", lane=event.lane, n=0, terminal=False),
            Frame(tenant="acme", lane=event.lane, n=1),
            handled(event),
        ]

    await world.produce([ordered("a", 0, reply_to=world.reply.name, reply_partition=1)])
    spec = world.spec(answer, sinks=(world.sink, world.reply))
    async with world.running(spec, producer=Slow()):
        frames = await world.read_n(world.reply, 2)
    sink, reply = world.sink.name, world.reply.name
    assert order.index(f"ack {sink}") < len(order) - 1 - order[::-1].index(f"send {reply}")
    assert [frame.partition for frame in frames] == [1, 1]
    assert [event.n for event in world.decode(frames)] == [0, 1]
