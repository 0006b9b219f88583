"""Workers as processes and as objects: tables, SIGTERM, kill -9."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from millrace.agent import AgentSpec
from streams.tables import changelog
from streams.worker import Worker, WorkerSettings
from tests.brokers import Broker
from tests.streams.pump_world import Handled, Ordered, World, handled, ordered, until, world_on


class Sum(msgspec.Struct, frozen=True):
    total: int = 0


def add(state: Sum, event: Ordered) -> tuple[Sum, Handled]:
    if event.n == 13:
        raise ValueError("unlucky")
    total = state.total + event.n
    return Sum(total), Handled(tenant=event.tenant, lane=event.lane, n=total)


def relay(event: Ordered) -> Handled:
    return handled(event)


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


def summing(world: World) -> AgentSpec:
    return world.spec(add, form="keyed", state=Sum, wants_ports=False)


def settings(world: World) -> WorkerSettings:
    return WorkerSettings(connection=world.connection, pump=world.settings())


async def test_a_table_adds_up_and_takes_its_state_over_a_restart(world: World) -> None:
    spec, chosen = summing(world), settings(world)
    world.broker._create(changelog(spec, chosen.pump), world.n_partitions, {"cleanup.policy": "compact"})
    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    async with Worker([spec], chosen, codec=world.codec) as worker:
        await world.read_n(world.sink, 29)
        await world.read_n(world.source.dead_letters, 1)
        await until(lambda: worker.tables[0].counters.consumed >= 30)
    await world.produce([ordered("k0", 1000), ordered("k0", 27)])  # the second one again, by its id
    async with Worker([spec], chosen, codec=world.codec) as worker:
        records = await world.read_n(world.sink, 30)
        await until(lambda: worker.tables[0].counters.consumed >= 2)
    totals = {event.lane: event.n for event in world.decode(records)}
    assert totals["k0"] == sum(range(0, 30, 3)) + 1000
    assert len(records) == 30
