"""How long fetches are held: grows with silence, short again with what comes or is waited for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.protocol.fetch import FetchRequest

from streams.embedded_broker import EmbeddedBroker
from streams.patience import Patience, PatientConsumer
from tests.conditions import until


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def waits(patience: Patience, clock: Clock, *seconds: float) -> list[int]:
    found = []
    for each in seconds:
        clock.now_s += each
        found.append(patience.wait_ms)
    return found


def test_the_wait_grows_while_nothing_comes_up_to_its_bound(clock: Clock) -> None:
    assert waits(Patience(5, 50, clock), clock, 0, 0.1, 0.1, 0.2, 0.4, 0.4, 3600) == [5, 5, 10, 20, 40, 50, 50]


def test_the_wait_is_short_again_with_the_first_record(clock: Clock) -> None:
    patience = Patience(5, 50, clock)
    assert waits(patience, clock, 30) == [50]
    patience.hear()
    assert waits(patience, clock, 0, 0.4) == [5, 20]


def test_a_wait_without_a_longer_bound_stays_as_it_is(clock: Clock) -> None:
    assert waits(Patience(100, 100, clock), clock, 0, 30) == [100, 100]
    assert waits(Patience(100, 50, clock), clock, 0, 30) == [100, 100]


class Reading:
    """A consumer of one partition, what it asks the broker for, and a producer."""

    def __init__(self, broker: EmbeddedBroker, clock: Clock, **options: Any) -> None:
        broker.create_topic("topic", 1)
        options = {"fetch_max_wait_ms": 5, "clock": clock, **options}
        self.consumer = PatientConsumer(bootstrap_servers=broker.bootstrap, enable_auto_commit=False, **options)
        self.producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap)
        self.asked_ms: list[int] = []

    async def start(self) -> None:
        await self.producer.start()
        await self.consumer.start()
        client = self.consumer._client
        send = client.send

        async def noting(node: Any, request: Any, **options: Any) -> Any:
            if isinstance(request, FetchRequest):
                self.asked_ms.append(request._max_wait_ms)
            return await send(node, request, **options)

        client.send = noting
        self.consumer.assign([TopicPartition("topic", 0)])

    async def asks(self, wait_ms: int) -> None:
        """Return once the broker is asked to hold fetches for so long."""
        self.asked_ms.clear()
        await until(lambda: len(self.asked_ms) > 1 and self.asked_ms[-1] == wait_ms)

    async def stop(self) -> None:
        await self.consumer.stop()
        await self.producer.stop()


Begin = Callable[..., Any]


@pytest.fixture
async def begin(start_embedded: Callable[[], EmbeddedBroker], clock: Clock) -> AsyncIterator[Begin]:
    begun: list[Reading] = []

    async def begin_(**options: Any) -> Reading:
        begun.append(Reading(start_embedded(), clock, **options))
        await begun[-1].start()
        return begun[-1]

    yield begin_
    for each in begun:
        await each.stop()


async def test_after_silence_the_broker_is_asked_less_often_until_a_record_comes(begin: Begin, clock: Clock) -> None:
    reading = await begin(fetch_idle_wait_ms=50)
    await reading.asks(5)
    clock.now_s += 30
    assert await reading.consumer.getmany() == {}
    await reading.asks(50)
    await reading.producer.send_and_wait("topic", b"first")
    found: dict[Any, Any] = {}
    async with asyncio.timeout(20):
        while not found:
            found = await reading.consumer.getmany(timeout_ms=100)
    await reading.asks(5)


async def test_who_waits_for_a_record_makes_the_consumer_hurry(begin: Begin, clock: Clock) -> None:
    reading = await begin(fetch_idle_wait_ms=50)
    clock.now_s += 30
    await reading.consumer.getmany()
    await reading.asks(50)
    reading.consumer.hurry()
    await reading.asks(5)


async def test_a_consumer_that_was_given_no_longer_wait_asks_as_often_after_silence(begin: Begin, clock: Clock) -> None:
    reading = await begin()
    clock.now_s += 30
    assert await reading.consumer.getmany() == {}
    await reading.asks(5)
    assert set(reading.asked_ms) == {5}


async def test_while_records_wait_to_be_taken_a_fetch_is_not_held_for_long(begin: Begin) -> None:
    reading = await begin(fetch_max_wait_ms=400)
    reading.consumer.hurry()
    await reading.asks(400)
    for _ in range(3):
        await reading.producer.send_and_wait("topic", b"one")
    found: dict[Any, Any] = {}
    async with asyncio.timeout(20):
        while not found:
            found = await reading.consumer.getmany(timeout_ms=100, max_records=1)
    assert reading.consumer.wait_ms == 100
    async with asyncio.timeout(20):
        while found:
            found = await reading.consumer.getmany(timeout_ms=1000, max_records=5)
    await reading.asks(400)
