"""A record whose schema cannot be asked for now is held in its place; the rest flows, and nothing is given up."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, Self

import pytest

from millrace.agent import Batch, Result
from millrace.codec import Codec, Record
from millrace.errors import Unavailable
from millrace.registered import Registered
from millrace.registry import Registry as RegistryClient
from millrace.registry import RegistryAccess
from millrace.schema import avro_schema
from streams.producer import acknowledged
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Frame, Handled, Ordered, World, handled, ordered, world_on

FOREIGN = 77


class Registry:
    """Knows `Ordered` under one more id, when it is up."""

    def __init__(self) -> None:
        self.up = False
        self.n_asked = 0

    def schema(self, number: int) -> dict[str, Any] | None:
        self.n_asked += 1
        if not self.up:
            raise Unavailable("the registry is down")
        return avro_schema(Ordered) if number == FOREIGN else None


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker, n_partitions=1) as found:
        yield found


class Shelf:
    """A registry that is well again."""

    def schema(self, number: int) -> dict[str, Any] | None:
        return avro_schema(Ordered) if number == FOREIGN else None


def inline(event: Ordered) -> Handled:
    return handled(event)


async def alone(event: Ordered) -> Handled:
    return handled(event)


async def together(events: list[Ordered]) -> list[Result]:
    return [Result.ok(handled(event)) for event in events]


def foreign(world: World, event: Ordered, number: int = FOREIGN) -> Record:
    record = world.codec.record(world.source, event)
    value = b"\x00" + number.to_bytes(4, "big") + record.value[5:]
    return Record(topic=record.topic, key=record.key, value=value, headers=record.headers)


@pytest.mark.parametrize("function", [inline, alone, together])
async def test_a_record_of_an_unmet_schema_waits_in_its_lane_while_the_registry_is_down(
    world: World, function: Any
) -> None:
    registry = Registry()
    writer, world.codec = world.codec, Codec([Ordered, Handled, Frame], writers=registry.schema)
    options = {"batch": Batch(max_items=8, linger_ms=5)} if function is together else {}
    await acknowledged([await world.producer.send(foreign(world, ordered("held", 0)))])
    await world.produce([ordered("held", 1), ordered("free", 0)])
    async with world.running(world.spec(function, **options)) as pump:
        await world.read(world.sink.name, lambda found: b"free" in (found[-1].key if found else b""))
        await until(lambda: registry.n_asked >= 3)
        assert [event.lane for event in writer_events(writer, await world.read_n(world.sink, 1))] == ["free"]
        assert pump.counters.dead_lettered == 0
        registry.up = True
        events = writer_events(writer, await world.read_n(world.sink, 3))
    assert [(event.lane, event.n) for event in events if event.lane == "held"] == [("held", 0), ("held", 1)]


async def test_a_record_whose_schema_the_registry_does_not_know_is_dead_lettered_once_it_is_up(world: World) -> None:
    registry = Registry()
    world.codec = Codec([Ordered, Handled, Frame], writers=registry.schema)
    await acknowledged([await world.producer.send(foreign(world, ordered("held", 0), 78))])
    async with world.running(world.spec(alone)):
        await until(lambda: registry.n_asked >= 2)
        registry.up = True
        [letter] = await world.read_n(world.source.dead_letters, 1)
    assert dict(letter.headers)["mr-error-type"] == b"unknown_schema"


async def test_a_wait_for_the_registry_ends_with_the_pump(world: World) -> None:
    registry = Registry()
    world.codec = Codec([Ordered, Handled, Frame], writers=registry.schema)
    await acknowledged([await world.producer.send(foreign(world, ordered("held", 0)))])
    async with world.running(world.spec(alone)) as pump:
        await until(lambda: registry.n_asked >= 2)
        async with asyncio.timeout(10):
            await pump.stop()
        assert pump.counters.dead_lettered == 0


class Silence:
    """A server that takes connections and answers nobody."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.asked = threading.Event()
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def _accept(self) -> None:
        kept = []
        with suppress(OSError):
            while True:
                kept.append(self._server.accept()[0])
                self.asked.set()
        for connection in kept:
            connection.close()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.fixture
def silence() -> Iterator[Silence]:
    with Silence(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


async def longest_gap_s(until_done: asyncio.Event) -> float:
    """Longest time that the event loop let something wait that was due."""
    longest_s, before = 0.0, time.monotonic()
    while not until_done.is_set():
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest_s, before = max(longest_s, now - before), now
    return longest_s


@pytest.mark.parametrize("function", [inline, alone, together])
async def test_a_registry_that_never_answers_holds_up_its_record_and_not_the_event_loop(
    world: World, function: Any, silence: Silence
) -> None:
    registered = Registered(RegistryClient(RegistryAccess(url=silence.url, timeout_s=2.0)))
    writer, world.codec = world.codec, Codec([Ordered, Handled, Frame], writers=registered.known)
    options = {"batch": Batch(max_items=8, linger_ms=5)} if function is together else {}
    done = asyncio.Event()
    async with world.running(world.spec(function, **options)) as pump:
        watch = asyncio.create_task(longest_gap_s(done))
        await acknowledged([await world.producer.send(foreign(world, ordered("held", n))) for n in range(3)])
        await world.produce([ordered("held", 3), ordered("free", 0)])
        await world.read(world.sink.name, lambda found: b"free" in (found[-1].key if found else b""))
        await until(lambda: pump.counters.retried >= 2)  # at least one request ran out of time
        done.set()
        assert await watch < 0.5
        assert silence.asked.is_set()
        registered._registry = Shelf()  # type: ignore[assignment]
        events = writer_events(writer, await world.read_n(world.sink, 5))
        assert pump.counters.dead_lettered == 0
    assert [event.n for event in events if event.lane == "held"] == [0, 1, 2, 3]


def writer_events(codec: Codec, records: Any) -> list[Any]:
    return [codec.decode(record.value) for record in records]
