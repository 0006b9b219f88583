"""The pump and inputs that nobody waits for any more: ended once and acknowledged; a shutdown acknowledges nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pytest

from millrace.agent import AgentSpec
from millrace.event import Event
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


class Desk:
    """Askers, and an agent that works until it is told to go on."""

    def __init__(self) -> None:
        self.signals: dict[str, asyncio.Future[None]] = {}
        self.begun: set[str] = set()
        self.left: list[str] = []
        self.gate = asyncio.Event()

    def give_up(self, *inputs: str) -> None:
        for each in inputs:
            self._signal(each).set_result(None)

    def cancel(self, event: Event, _: Any) -> Awaitable[None]:
        return self._signal(event.meta.id)

    def _signal(self, name: str) -> "asyncio.Future[None]":
        found = self.signals.get(name)
        if found is None or found.cancelled():  # the runner cancels what it no longer watches
            found = self.signals[name] = asyncio.get_running_loop().create_future()
        return found

    async def work(self, event: Ordered) -> Handled:
        self.begun.add(event.meta.id)
        try:
            await self.gate.wait()
        finally:
            self.left.append(event.meta.id)
        return handled(event)

    def spec(self, world: World, **options: Any) -> AgentSpec:
        return world.spec(
            self.work,
            wants_ports=False,
            sinks=(world.sink, world.reply),
            cancel=self.cancel,
            on_failure=told,
            **options,
        )


def told(event: Ordered, error_type: str, _: str) -> Sequence[Event]:
    return [
        Handled(tenant=event.tenant, lane=event.lane, n=event.n, by=error_type),
        Frame(tenant=event.tenant, lane=event.lane, n=event.n, error_type=error_type),
    ]


async def test_an_input_that_is_given_up_ends_once_and_is_acknowledged_without_a_dead_letter(world: World) -> None:
    desk = Desk()
    await world.produce(ordered(f"k{n}", n) for n in range(4))
    async with world.running(desk.spec(world)) as pump:
        await until(lambda: len(desk.begun) == 4)
        desk.give_up("k0-0", "k2-2")
        await until(lambda: set(desk.left) == {"k0-0", "k2-2"})
        desk.gate.set()
        records = world.decode(await world.read_n(world.sink, 4))
        frames = world.decode(await world.read_n(world.reply, 2))
        await until(lambda: pump.lag == 0)
        assert pump.counters.dead_lettered == 0
        assert pump.counters.errors["cancelled", "work"] == 2
    assert {event.n: event.by for event in records} == {0: "cancelled", 1: "", 2: "cancelled", 3: ""}
    assert sorted((frame.n, frame.error_type) for frame in frames) == [(0, "cancelled"), (2, "cancelled")]


async def test_a_shutdown_interrupts_but_acknowledges_nothing(world: World) -> None:
    desk = Desk()
    await world.produce([ordered("k", 0)])
    async with world.running(desk.spec(world), drain_timeout_ms=50) as pump:
        await until(lambda: bool(desk.begun))
    assert desk.left == ["k-0"]
    assert pump.counters.errors == {}
    desk.gate.set()
    async with world.running(desk.spec(world), group_prefix=pump._settings.group_prefix) as again:
        records = world.decode(await world.read_n(world.sink, 1))
        await until(lambda: again.lag == 0)
    assert [(event.n, event.by) for event in records] == [(0, "")]


async def test_what_is_parked_can_be_given_up(world: World) -> None:
    desk = Desk()

    def park(event: Ordered, _: Any) -> Awaitable[None]:
        return desk.gate.wait()  # type: ignore[return-value]

    await world.produce([ordered("k", 0), ordered("k", 1)])
    async with world.running(desk.spec(world, park=park)) as pump:
        await until(lambda: len(pump.parking) == 2 and len(desk.signals) == 2)
        desk.give_up("k-0")
        [record] = world.decode(await world.read_n(world.sink, 1))
        assert (record.n, record.by) == (0, "cancelled")
        assert len(pump.parking) == 1
        desk.gate.set()
        await world.read_n(world.sink, 2)
        await until(lambda: pump.lag == 0)
    assert desk.begun == {"k-1"}


async def test_an_input_without_anyone_to_tell_is_dead_lettered(world: World) -> None:
    desk = Desk()
    await world.produce([ordered("k", 0)])
    async with world.running(world.spec(desk.work, wants_ports=False, cancel=desk.cancel)):
        await until(lambda: bool(desk.begun))
        desk.give_up("k-0")
        [letter] = await world.read_n(world.source.dead_letters, 1)
    assert dict(letter.headers)["mr-error-type"] == b"cancelled"
