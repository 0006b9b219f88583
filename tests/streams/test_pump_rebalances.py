"""What a pump does while its group changes under it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import RebalanceInProgressError
from aiokafka.protocol.group import HeartbeatRequest

from streams.pump import Pump
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


def relay(event: Ordered) -> Handled:
    return handled(event)


async def rebalancing(pump: Pump) -> None:
    """Wait until the broker says that a pump's group rebalances; the pump itself is not told."""
    coordinator = pump._tenure.client._coordinator
    async with asyncio.timeout(20):
        while True:
            request = HeartbeatRequest(coordinator.group_id, coordinator.generation, coordinator.member_id)
            if (await coordinator._send_req(request)).error_code == RebalanceInProgressError.errno:
                return


async def test_a_pump_whose_first_start_falls_into_a_rebalance_stays_a_member(world: World) -> None:
    spec = world.spec(relay)
    options: dict[str, Any] = {"session_timeout_ms": 3000, "heartbeat_interval_ms": 2500}  # a commit tells it first
    async with world.running(spec, **options) as pump:
        before = pump._tenure.consumer
        newcomer = world.pump(spec, **options)
        await newcomer.start()
        try:
            await rebalancing(pump)
            await world.produce(ordered(f"k{n}", 0) for n in range(20))
            await world.read_n(world.sink, 20)
            await until(lambda: all(len(each._flow.open) == 1 for each in (pump, newcomer)))
            await until(lambda: pump.lag + newcomer.lag == 0)
            assert pump._tenure.consumer is before
        finally:
            await newcomer.stop()


async def test_what_is_assigned_while_a_pump_leaves_is_not_taken_over(world: World) -> None:
    async with world.running(world.spec(relay)) as pump:
        owned = list(pump._flow.open)
    pump.assigned(owned)
    assert pump._opening is not None
    await asyncio.wait([pump._opening])
    assert (pump.crashed, pump.ready.is_set(), dict(pump._flow.open)) == (False, False, {})
