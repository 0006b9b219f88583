"""The pump on a broker: agents that are handled in place, and what becomes of those that wait or fail there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from millrace.codec import Record
from millrace.dead_letters import Letter
from millrace.errors import InputRejected
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, handled, ordered, world_on

WHO: ContextVar[str] = ContextVar("who", default="nobody")


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker, n_partitions=1) as found:
        yield found


def numbers(world: World, records: Any) -> list[int]:
    return sorted(event.n for event in world.decode(records))


async def test_a_coroutine_that_does_not_wait_has_no_task_of_its_own(world: World) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    async def relay(event: Ordered) -> Handled:
        tasks.append(asyncio.current_task())
        return handled(event)

    await world.produce(ordered(f"k{n % 7}", n) for n in range(400))
    async with world.running(world.spec(relay)) as pump:
        records = await world.read_n(world.sink, 400)
        await until(lambda: pump.lag == 0)
    assert numbers(world, records) == list(range(400))
    assert None not in tasks
    assert len(set(map(id, tasks))) < 40


async def test_what_waits_does_not_hold_its_neighbours_but_its_key(world: World) -> None:
    answered = asyncio.Event()
    handled_in_order: list[int] = []

    async def asks(event: Ordered) -> Handled:
        if event.n == 1:
            await answered.wait()
        handled_in_order.append(event.n)
        return handled(event)

    lanes = ["a", "slow", "a", "slow", "b", "c"] * 5
    await world.produce(ordered(lane, n) for n, lane in enumerate(lanes))
    slow = [n for n, lane in enumerate(lanes) if lane == "slow"]
    async with world.running(world.spec(asks)) as pump:
        records = await world.read_n(world.sink, len(lanes) - len(slow))
        assert pump.in_flight == 1
        assert set(numbers(world, records)).isdisjoint(slow)
        answered.set()
        await world.read_n(world.sink, len(lanes))
        await until(lambda: pump.lag == 0)
    assert [n for n in handled_in_order if n in slow] == slow


async def test_keys_wait_side_by_side_up_to_what_may_be_in_flight(world: World) -> None:
    answered = asyncio.Event()
    running: list[int] = []

    async def asks(event: Ordered) -> Handled:
        running.append(event.n)
        await answered.wait()
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(20))
    async with world.running(world.spec(asks), max_in_flight=6) as pump:
        await until(lambda: pump.counters.consumed == 20 and len(running) >= 6)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(running) == 6
        answered.set()
        await world.read_n(world.sink, 20)
        await until(lambda: pump.lag == 0)


@pytest.mark.parametrize("max_in_flight", [1, 4])
async def test_records_of_a_key_are_handled_one_at_a_time_in_order_whoever_waits(
    world: World, max_in_flight: int
) -> None:
    at_work: Counter[str] = Counter()
    seen: dict[str, list[int]] = {}

    async def sometimes(event: Ordered) -> Handled:
        at_work[event.lane] += 1
        assert at_work[event.lane] == 1, "two records of a key at once"
        seen.setdefault(event.lane, []).append(event.n)
        for _ in range(event.n * 7 % 5):
            await asyncio.sleep(0)
        at_work[event.lane] -= 1
        return handled(event)

    await world.produce(ordered(f"k{n % 9}", n) for n in range(300))
    async with world.running(world.spec(sometimes), max_in_flight=max_in_flight) as pump:
        records = await world.read_n(world.sink, 300)
        await until(lambda: pump.lag == 0)
    assert all(ns == sorted(ns) for ns in seen.values())
    assert numbers(world, records) == list(range(300))
    assert not pump.counters.errors


async def test_a_coroutine_that_hangs_ends_at_its_time_limit_and_its_neighbours_at_once(world: World) -> None:
    calls: Counter[int] = Counter()

    async def hangs(event: Ordered) -> Handled:
        calls[event.n] += 1
        if event.n == 3:
            await asyncio.Event().wait()
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(8))
    async with world.running(world.spec(hangs, timeout_s=0.2, max_attempts=2)) as pump:
        records = await world.read_n(world.sink, 7)
        [letter] = await world.read_n(world.source.dead_letters, 1)
        await until(lambda: pump.lag == 0)
    assert numbers(world, records) == [0, 1, 2, 4, 5, 6, 7]
    assert Letter.of(letter).error["type"] == "exception"
    assert calls[3] == 2
    assert max(calls[n] for n in range(8) if n != 3) == 1


async def test_a_time_limit_of_the_agents_own_ends_what_it_waits_for_and_nothing_else(world: World) -> None:
    async def impatient(event: Ordered) -> Handled:
        try:
            async with asyncio.timeout(0.05):
                if event.n % 2:
                    await asyncio.Event().wait()
        except TimeoutError:
            return handled(event, "timed out")
        return handled(event, "in time")

    await world.produce(ordered(f"k{n}", n) for n in range(10))
    async with world.running(world.spec(impatient)) as pump:
        records = await world.read_n(world.sink, 10)
        await until(lambda: pump.lag == 0)
    assert {event.n: event.by for event in world.decode(records)} == {
        n: "timed out" if n % 2 else "in time" for n in range(10)
    }
    assert not pump.counters.errors


async def test_an_agent_that_cancels_its_task_hits_no_other_input_and_is_not_acknowledged(world: World) -> None:
    async def cancels(event: Ordered) -> Handled:
        if event.n == 2 and (task := asyncio.current_task()) is not None:
            task.cancel()
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(6))
    async with world.running(world.spec(cancels)) as pump:
        await world.read(world.sink.name, lambda found: {0, 1, 3, 4, 5} <= set(numbers(world, found)))
        await until(lambda: pump.counters.commits >= 1 and pump.lag == 4)
        assert sum(at.offset for at in (await world.committed(pump)).values()) == 2


async def test_what_waits_when_the_pump_stops_is_not_acknowledged(world: World) -> None:
    ended: list[str] = []

    async def hangs(event: Ordered) -> Handled:
        if event.n == 1:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")
        return handled(event)

    await world.produce(ordered(f"k{n}", n) for n in range(4))
    group = world.broker.name("again.")
    async with world.running(world.spec(hangs), group_prefix=group, drain_timeout_ms=50):
        await world.read_n(world.sink, 3)
    assert ended == ["cancelled"]

    async def relay(event: Ordered) -> Handled:
        return handled(event, "again")

    async with world.running(world.spec(relay, name="hangs"), group_prefix=group) as pump:
        records = await world.read(world.sink.name, lambda found: 1 in numbers(world, found))
        await until(lambda: pump.lag == 0)
    assert {event.n for event in world.decode(records) if event.by == "again"} >= {1}


@pytest.mark.parametrize("waits", [False, True], ids=["at once", "after a wait"])
async def test_an_output_that_is_not_acknowledged_makes_the_coroutine_run_again(world: World, waits: bool) -> None:
    failures = iter([True, True])

    class Shaky:
        async def send(self, record: Record) -> Any:
            if record.topic == world.sink.name and next(failures, False):
                ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                ack.set_exception(KafkaTimeoutError())
                return ack
            return await world.producer.send(record)

    async def relay(event: Ordered) -> Handled:
        if waits:
            await asyncio.sleep(0)
        return handled(event)

    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    async with world.running(world.spec(relay), producer=Shaky()) as pump:
        await until(lambda: pump.lag == 0)
        records = await world.read(world.sink.name, lambda found: len(set(numbers(world, found))) == 30)
    assert len(records) == 30


@pytest.mark.parametrize(("error", "attempts"), [(InputRejected("never"), 1), (ValueError("maybe"), 3)])
async def test_a_plain_function_that_fails_is_called_as_often_as_it_has_attempts(
    world: World, error: Exception, attempts: int
) -> None:
    calls: list[int] = []

    def picky(event: Ordered) -> Handled:
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


async def test_a_context_variable_set_for_one_input_is_not_seen_by_the_next(world: World) -> None:
    async def names(event: Ordered, ports: str) -> Handled:
        before = WHO.get()
        WHO.set(f"{ports} {event.n}")
        return handled(event, before)

    await world.produce(ordered(f"k{n}", n) for n in range(10))
    async with world.running(world.spec(names), ports="event") as pump:
        records = await world.read_n(world.sink, 10)
        await until(lambda: pump.lag == 0)
    assert {event.by for event in world.decode(records)} == {"nobody"}
