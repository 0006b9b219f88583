"""Inputs that may take long, and their neighbours."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from millrace.agent import Batch, Result
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


def _is_slow(event: Ordered) -> bool:
    return event.lane.startswith("slow")


async def batches_of(world: World, batch: Batch) -> list[list[str]]:
    """Lanes of the batches in which two slow inputs and their neighbours came; the neighbours are done first."""
    release = asyncio.Event()
    batches: list[list[str]] = []

    async def relay(events: Sequence[Ordered]) -> Sequence[Result]:
        batches.append([event.lane for event in events])
        if any(map(_is_slow, events)):
            await release.wait()
        return [Result.ok(handled(event)) for event in events]

    await world.produce(ordered(lane, 0) for lane in ("a", "slow", "b", "slow-too", "c"))
    async with world.running(world.spec(relay, batch=batch)) as pump:
        try:
            records = await world.read_n(world.sink, 3)
            assert {event.lane for event in world.decode(records)} == {"a", "b", "c"}
            await until(lambda: pump.in_flight == 2)  # that the others are acknowledged is heard of after they are read
        finally:
            release.set()
        await world.read_n(world.sink, 5)
        await until(lambda: pump.lag == 0)
    return batches


async def test_neighbours_of_an_input_that_takes_long_are_done_before_it(world: World) -> None:
    batches = await batches_of(world, Batch(max_items=32, linger_ms=50, apart=_is_slow))
    assert [lanes for lanes in batches if any(lane.startswith("slow") for lane in lanes)] in (
        [["slow"], ["slow-too"]],
        [["slow-too"], ["slow"]],
    )


async def test_inputs_of_one_kind_are_done_while_those_of_another_kind_wait(world: World) -> None:
    batches = await batches_of(world, Batch(max_items=32, linger_ms=50, kind=_is_slow))
    assert all(len({lane.startswith("slow") for lane in lanes}) == 1 for lanes in batches)
