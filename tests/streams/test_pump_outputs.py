"""The pump on a broker: what of a run is published, in what order, and when the terminal frame may leave."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from millrace.codec import Record
from millrace.dead_letters import Letter
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from streams.producer import Producer
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, ordered, world_on


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


class Noting:
    """A producer that notes what is sent and acknowledged, in order."""

    def __init__(self, inner: Producer) -> None:
        self._inner = inner
        self.order: list[str] = []

    async def send(self, record: Record) -> Any:
        self.order.append(f"send {record.topic}")
        ack = await self._inner.send(record)
        ack.add_done_callback(lambda _: self.order.append(f"ack {record.topic}"))
        return ack


async def test_a_terminal_frame_is_sent_only_after_everything_else_is_acknowledged(world: World) -> None:
    noting = Noting(world.producer)
    order = noting.order

    async def answer(event: Ordered) -> list[Event]:
        return [
            Frame(tenant="acme", lane=event.lane, n=0, terminal=False),
            Frame(tenant="acme", lane=event.lane, n=1),
            handled(event),
        ]

    await world.produce([ordered("a", 0, reply_to=world.reply.name, reply_partition=1)])
    spec = world.spec(answer, sinks=(world.sink, world.reply))
    async with world.running(spec, producer=noting):
        frames = await world.read_n(world.reply, 2)
    sink, reply = world.sink.name, world.reply.name
    assert order.index(f"ack {sink}") < len(order) - 1 - order[::-1].index(f"send {reply}")
    assert [frame.partition for frame in frames] == [1, 1]
    assert [event.n for event in world.decode(frames)] == [0, 1]


async def test_an_event_is_noted_once_it_is_acknowledged_and_before_the_terminal_frame_is_sent(world: World) -> None:
    noting = Noting(world.producer)
    order = noting.order

    async def answer(event: Ordered) -> list[Event]:
        return [handled(event), Frame(tenant="acme", lane=event.lane, n=0)]

    def note(event: Event) -> None:
        order.append(f"note {type(event).__name__}")

    await world.produce([ordered("a", 0, reply_to=world.reply.name, reply_partition=1)])
    spec = world.spec(answer, sinks=(world.sink, world.reply))
    async with world.running(spec, producer=noting, note=note) as pump:
        await until(lambda: pump.lag == 0)
    sink, reply = world.sink.name, world.reply.name
    assert order == [
        f"send {sink}", f"ack {sink}", "note Handled", f"send {reply}", f"ack {reply}", "note Frame",
    ]  # fmt: skip


async def test_every_event_of_a_fused_run_is_published_and_a_retry_repeats_no_finished_stage(world: World) -> None:
    calls: list[str] = []

    async def first(event: Ordered) -> Handled:
        calls.append("first")
        return handled(event, "first")

    async def second(event: Handled) -> Frame:
        calls.append("second")
        if calls.count("second") == 1:
            raise Unavailable("once")
        return Frame(tenant=event.tenant, lane=event.lane, n=event.n)

    stages = (
        world.spec(first, sinks=(world.middle,)),
        world.spec(second, sources=(world.middle,), sinks=(world.reply,)),
    )
    run = world.spec(first, name="run", form="fused", stages=stages, sinks=(world.middle, world.reply))
    await world.produce([ordered("a", 0, reply_partition=0)])
    async with world.running(run) as pump:
        await world.read_n(world.reply, 1)
        await until(lambda: pump.lag == 0)
        middle = await world.read_n(world.middle, 1)
    assert calls == ["first", "second", "second"]
    assert [event.by for event in world.decode(middle)] == ["first"]


async def test_an_event_of_a_fused_run_that_is_not_acknowledged_is_sent_again(world: World) -> None:
    refused: list[str] = []

    class Refusing:
        async def send(self, record: Record) -> Any:
            if record.topic == world.middle.name and not refused:
                refused.append(record.topic)
                ack: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                ack.set_exception(KafkaTimeoutError())
                return ack
            return await world.producer.send(record)

    async def first(event: Ordered) -> Handled:
        return handled(event)

    async def second(event: Handled) -> Frame:
        return Frame(tenant=event.tenant, lane=event.lane, n=event.n)

    stages = (
        world.spec(first, sinks=(world.middle,)),
        world.spec(second, sources=(world.middle,), sinks=(world.reply,)),
    )
    run = world.spec(first, name="run", form="fused", stages=stages, sinks=(world.middle, world.reply))
    await world.produce([ordered("a", 0, reply_partition=0)])
    async with world.running(run, producer=Refusing()) as pump:
        await until(lambda: pump.lag == 0)
        assert len(await world.read_n(world.middle, 1)) == len(await world.read_n(world.reply, 1)) == 1
    assert refused


async def test_a_failed_fused_run_names_its_stage_in_the_dead_letter(world: World) -> None:
    async def first(event: Ordered) -> Handled:
        return handled(event)

    async def second(event: Handled) -> None:
        raise InputRejected("not this one")

    stages = (world.spec(first, sinks=(world.middle,)), world.spec(second, sources=(world.middle,), sinks=()))
    await world.produce([ordered("a", 0)])
    async with world.running(world.spec(first, name="run", form="fused", stages=stages, sinks=(world.middle,))):
        [letter] = await world.read_n(world.source.dead_letters, 1)
    assert Letter.of(letter).error["stage"] == "second"
