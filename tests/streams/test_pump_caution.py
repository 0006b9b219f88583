"""A partition in which a process may have died, and how much of any partition a pump takes at a time."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from millrace.dead_letters import Letter
from streams.ledger import format_metadata
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


async def accuse(world: World, group: str, tp: TopicPartition, starts: int = 3) -> None:
    """Leave behind what processes that died at a partition's first record leave."""
    consumer = AIOKafkaConsumer(**world.connection, group_id=group, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([tp])
    await consumer.commit({tp: (0, format_metadata(starts, 0))})
    await consumer.stop()


async def test_caution_that_ends_within_a_poll_hands_the_rest_over(world: World) -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce(ordered("a", n) for n in range(20))
    [record, *_] = await world.read_n(world.source, 20)
    pump = world.pump(world.spec(relay), max_uncommitted=5)
    await accuse(world, pump._tenure.group, TopicPartition(world.source.name, record.partition))
    await pump.start()
    outputs = await world.read_n(world.sink, 20)
    await until(lambda: pump.lag == 0)
    await pump.stop()
    assert not pump.crashed
    assert [event.n for event in world.decode(outputs)] == list(range(20))


async def test_a_cautious_partition_keeps_no_other_from_being_read(world: World) -> None:
    go_on = asyncio.Event()

    async def relay(event: Ordered) -> Handled:
        if event.lane == "a" and event.n == 1:
            await go_on.wait()
        return handled(event)

    await world.produce(ordered("a", n) for n in range(3))
    [record, *_] = await world.read_n(world.source, 3)
    await world.produce(ordered(f"k{n}", 0) for n in range(20))
    found = await world.read_n(world.source, 23)
    beside = [each for each in found if each.partition != record.partition]
    assert beside
    pump = world.pump(world.spec(relay))
    await accuse(world, pump._tenure.group, TopicPartition(world.source.name, record.partition))
    await pump.start()
    outputs = await world.read_n(world.sink, 1 + len(beside))  # the suspect, then all of the other partition
    go_on.set()
    await world.read_n(world.sink, 23)
    await pump.stop()
    assert {event.lane for event in world.decode(beside)} <= {event.lane for event in world.decode(outputs)}


@pytest.mark.parametrize("bound", [1, 7, 30])
async def test_never_more_than_max_uncommitted_records_lie_beyond_the_committed_offset(
    world: World, bound: int
) -> None:
    blocked = asyncio.Event()

    async def relay(event: Ordered) -> Handled:
        if event.n == 0:
            await blocked.wait()
        return handled(event)

    await world.produce(ordered(f"k{n % 5}", n) for n in range(200))
    pump = world.pump(world.spec(relay), max_uncommitted=bound, max_poll_records=50)
    begin, out = pump._ledger.begin_many, list[int]()

    def counted(tp: tuple[str, int], offsets: Sequence[int]) -> None:
        begin(tp, offsets)
        out.append(pump._ledger.outstanding(tp))

    pump._ledger.begin_many = counted  # type: ignore[method-assign]
    await pump.start()
    await until(lambda: bound in out)
    blocked.set()
    await world.read_n(world.sink, 200)
    await until(lambda: pump.lag == 0)
    await pump.stop()
    assert max(out) == bound


@pytest.mark.parametrize("starts", [4, 5])
async def test_a_record_whose_start_was_counted_in_vain_four_times_is_given_up(world: World, starts: int) -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    await world.produce(ordered("a", n) for n in range(5))
    [record, *_] = await world.read_n(world.source, 5)
    pump = world.pump(world.spec(relay))
    await accuse(world, pump._tenure.group, TopicPartition(world.source.name, record.partition), starts)
    await pump.start()
    outputs = await world.read_n(world.sink, 4)
    [letter] = await world.read_n(world.source.dead_letters, 1)
    await pump.stop()
    assert Letter.of(letter).error["type"] == "killed_process"
    assert [event.n for event in world.decode(outputs)] == [1, 2, 3, 4]
