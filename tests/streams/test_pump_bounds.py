"""What a pump does not do: publish what is not its own, hold more than it may, or let go of what it cannot give up."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from millrace.codec import Record
from millrace.cutting import split
from millrace.dead_letters import Letter
from millrace.errors import InputRejected, TooLarge
from millrace.topics import Topic
from streams.producer import acknowledged
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, key_of, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


class Clock:
    """Monotonic seconds that can jump, as they do for a process that was stopped; counts how often it is read."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.n_read = 0

    def __call__(self) -> float:
        self.n_read += 1
        return time.monotonic() + self.ahead_s


async def test_after_a_long_pause_a_former_owner_publishes_nothing_before_it_has_joined_again(world: World) -> None:
    clock, began, go_on = Clock(), asyncio.Event(), asyncio.Event()
    seen: list[int] = []

    async def slow(event: Ordered) -> Handled:
        seen.append(event.meta.attempt)
        if len(seen) == 1:
            began.set()
            await go_on.wait()
        return handled(event, f"attempt {len(seen)}")

    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(slow), clock=clock, commit_interval_ms=60_000) as pump:
        await began.wait()
        coordinator: Any = pump._tenure.client._coordinator
        former = coordinator.generation
        coordinator.generation = former - 1  # what the broker has made of a member that was away for too long
        clock.ahead_s += 3600
        go_on.set()
        [record] = await world.read_n(world.sink, 1)
        assert coordinator.generation > former
        await until(lambda: pump.in_flight == 0)
        assert pump.counters.failed_commits >= 1
        assert len(await world.read_n(world.sink, 1)) == 1
    assert world.codec.decode(record.value) == Handled(tenant="acme", lane="a", n=0, by="attempt 2")


async def test_after_a_long_pause_that_cost_nothing_the_work_goes_on(world: World) -> None:
    clock, began, go_on = Clock(), asyncio.Event(), asyncio.Event()

    async def slow(event: Ordered) -> Handled:
        began.set()
        await go_on.wait()
        return handled(event)

    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(slow), clock=clock) as pump:
        await began.wait()
        clock.ahead_s += 3600
        go_on.set()
        await world.read_n(world.sink, 1)
        await until(lambda: pump.lag == 0)
    assert pump.counters.consumed == 1


async def test_intake_stops_at_the_bytes_it_may_hold_and_goes_on_when_there_is_room(world: World) -> None:
    gate, clock = asyncio.Event(), Clock()

    async def wait(event: Ordered) -> Handled:
        await gate.wait()
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(300))
    async with world.running(
        world.spec(wait), clock=clock, max_buffered_bytes=1500, max_poll_records=5, max_in_flight=4
    ) as pump:
        await until(lambda: pump._flow.n_bytes >= 1500)
        held, passes = pump.counters.consumed, clock.n_read
        await until(lambda: clock.n_read >= passes + 10)  # the intake has looked ten times whether there is room
        assert pump.counters.consumed == held < 100
        gate.set()
        await world.read_n(world.sink, 300)
        await until(lambda: pump.lag == 0 and pump._flow.n_bytes == 0)


async def test_a_cut_run_leaves_the_same_log_as_a_fused_one(world: World) -> None:
    async def first(event: Ordered) -> Handled:
        return handled(event, "first")

    async def second(event: Handled) -> Frame:
        return Frame(tenant=event.tenant, lane=event.lane, n=event.n)

    def run_on(middle: Topic, last: Topic) -> Any:
        stages = (
            world.spec(first, sinks=(middle,)),
            world.spec(second, sources=(middle,), sinks=(last,)),
        )
        return world.spec(first, name="run", form="fused", stages=stages, sinks=(middle, last))

    async def log_of(*topics: Topic) -> list[list[tuple[bytes, bytes, bytes, bytes]]]:
        found = []
        for topic in topics:
            records = await world.read_n(topic, 20)
            headers = [dict(record.headers) for record in records]
            found.append(
                sorted(
                    (each["ce_id"], each["ce_causationid"], record.key, record.value)
                    for each, record in zip(headers, records, strict=True)
                )
            )
        return found

    middle_cut = Topic(name=world._create("middle-cut"), events=(Handled,), key=key_of)
    last, last_cut = (Topic(name=world._create(name), events=(Frame,), key=key_of) for name in ("last", "last-cut"))
    await world.produce(ordered(f"k{n % 4}", n) for n in range(20))
    async with world.running(run_on(world.middle, last)):
        fused = await log_of(world.middle, last)
    parts = split(run_on(middle_cut, last_cut), {"second"})
    assert [part.name for part in parts] == ["run", "second"]
    async with world.running(parts[0], group_prefix=world.broker.name("c.")), world.running(parts[1]):
        assert await log_of(middle_cut, last_cut) == fused


_LIMIT = 20_000


def limited(broker: Broker, name: str, limit: int) -> None:
    broker._create(name, 1, {"max.message.bytes": str(limit)})


async def _largest(world: World, topic: Topic, headers: list[tuple[str, bytes]]) -> Record:
    """Produce the largest record that a topic takes."""
    for size in range(_LIMIT, 0, -1):
        record = Record(topic=topic.name, key=b"t/acme/x/a", value=b"\x00" * size, headers=headers, partition=0)
        try:
            await acknowledged([await world.producer.send(record)])
        except TooLarge:
            continue
        return record
    raise AssertionError("the topic takes nothing")


async def test_a_record_of_exactly_the_limit_fits_into_its_dead_letter(kafka_broker: Broker) -> None:
    async with world_on(kafka_broker, 1) as world:
        source = Topic(name=kafka_broker.name("limited"), events=(Ordered,), key=key_of)
        limited(kafka_broker, source.name, _LIMIT)
        limited(kafka_broker, source.dead_letters, _LIMIT + 65_536)
        largest = await _largest(world, source, [("traceparent", b"00-abc-def-01")])

        def relay(event: Ordered) -> Handled:
            return handled(event)

        async with world.running(world.spec(relay, sources=(source,))) as pump:
            [letter] = await world.read_n(source.dead_letters, 1)
            await until(lambda: pump.lag == 0)
    assert letter.value == largest.value
    assert len(largest.value) > _LIMIT - 200
    assert Letter.of(letter).error["trace-id"] == "abc"


async def test_a_dead_letter_that_does_not_fit_holds_its_offset_and_names_the_setting(
    kafka_broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    async with world_on(kafka_broker, 1) as world:
        source = Topic(name=kafka_broker.name("limited"), events=(Ordered,), key=key_of)
        limited(kafka_broker, source.name, _LIMIT)
        limited(kafka_broker, source.dead_letters, _LIMIT // 2)  # made by hand, without the margin

        def relay(event: Ordered) -> Handled:
            if event.n == 0:
                raise InputRejected("no")
            return handled(event)

        first = world.codec.record(source, ordered("a", 0))
        heavy = msgspec.structs.replace(first, headers=[*first.headers, ("big", b"x" * 15_000)])
        await acknowledged([await world.producer.send(heavy)])
        await world.produce((ordered(f"k{n}", n) for n in range(1, 40)), source)
        with caplog.at_level(logging.WARNING, "streams.pump.handling"):
            async with world.running(world.spec(relay, sources=(source,))) as pump:
                await world.read_n(world.sink, 39)  # the others are not held up
                await until(lambda: "its offset is held" in caplog.text)
                await pump._tenure.commit(also=list(pump._flow.open))
                at = await pump._tenure.client._coordinator.fetch_committed_offsets([TopicPartition(source.name, 0)])
                assert [each.offset for each in at.values()] == [0]
    assert f"raise max.message.bytes of {source.dead_letters}" in caplog.text
