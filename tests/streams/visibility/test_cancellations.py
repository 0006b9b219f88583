"""Laws about the view of cancelled questions: its tenant's alone, bounded, and nothing is watched for too long."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from millrace.event import Meta
from millrace.events.query import QueryCancelled
from millrace.topics import QUERY_CANCELLED
from streams.embedded_broker import EmbeddedBroker
from streams.visibility.cancellations import RecentCancellations
from tests.streams.visibility.corpus_log import CODEC


class Log:
    def __init__(self, broker: EmbeddedBroker) -> None:
        self.bootstrap = broker.bootstrap
        self.producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap, linger_ms=1)
        broker.create_topic(QUERY_CANCELLED.name, 2)

    async def cancel(self, correlation: str, *, tenant: str = "acme", timestamp_ms: int | None = None) -> None:
        event = QueryCancelled(tenant=tenant, conversation=correlation, correlation=correlation)
        meta = Meta(id=correlation, type=event.type_name(), source="test", time_us=1, tenant=tenant)
        record = CODEC.record(QUERY_CANCELLED, event.with_meta(meta))
        await self.producer.send_and_wait(
            record.topic, record.value, key=record.key, headers=record.headers, timestamp_ms=timestamp_ms
        )


@pytest.fixture
async def log(start_embedded: Callable[[], EmbeddedBroker]) -> AsyncIterator[Log]:
    log = Log(start_embedded())
    await log.producer.start()
    yield log
    await log.producer.stop()


async def view_of(log: Log, **options: Any) -> RecentCancellations:
    view = RecentCancellations({"bootstrap_servers": log.bootstrap}, fetch_max_wait_ms=5, **options)
    await view.start()
    return view


async def caught_up(view: RecentCancellations) -> None:
    await asyncio.wait_for(view.caught_up([0, 1]), 20)


async def test_a_question_is_cancelled_by_its_own_tenant_before_or_while_it_is_watched(log: Log) -> None:
    await log.cancel("before")
    await log.producer.send_and_wait(QUERY_CANCELLED.name, b"junk", key=b"t/acme/c/one")
    view = await view_of(log)
    await caught_up(view)
    assert view.ready()
    assert view.watch("acme", "before").done()
    foreign = view.watch("globex", "before")
    first, second, other = (view.watch("acme", name) for name in ("while", "while", "other"))
    await log.cancel("while")
    await log.cancel("other", tenant="globex")
    await asyncio.wait_for(first, 20)
    await caught_up(view)
    assert [each.done() for each in (first, second, other, foreign)] == [True, True, False, False]
    assert view.n_undecodable == 1
    await view.stop()


async def test_nothing_is_watched_that_ended(log: Log) -> None:
    view = await view_of(log)
    watchers = [view.watch("acme", str(n)) for n in range(100)]
    assert view.n_watched == 100
    for watcher in watchers[::2]:
        watcher.cancel()
    for n in range(1, 100, 2):
        await log.cancel(str(n))
    await asyncio.wait_for(asyncio.gather(*watchers[1::2]), 20)
    await caught_up(view)
    assert view.n_watched == 0
    await view.stop()


async def test_cancellations_take_a_bounded_amount_of_memory_and_the_oldest_go_first(log: Log) -> None:
    view = await view_of(log, max_bytes=500)
    for n in range(20):
        await log.cancel(f"{n:032x}")
    await caught_up(view)
    assert 3 <= len(view) <= 6
    assert view.watch("acme", f"{19:032x}").done()
    assert not view.watch("acme", f"{0:032x}").done()
    await view.stop()


async def test_cancellations_older_than_the_longest_deadline_are_forgotten(log: Log) -> None:
    view = await view_of(log, keep_s=60)
    now = round(time.time() * 1000)
    for name, age_ms in (("old", 100_000), ("new", 0), ("late", 100_000)):  # partitions are read in any order
        await log.cancel(name, timestamp_ms=now - age_ms)
        await caught_up(view)
    assert [view.watch("acme", name).done() for name in ("old", "new", "late")] == [False, True, False]
    await view.stop()
