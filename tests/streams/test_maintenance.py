"""Time enters the corpus path by maintenance alone: it says what is due, and keeps on when a look fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.events.corpus import ChunkRef, DocumentIndexed, MaintenanceDue
from millrace.reader import read
from millrace.topics import CATALOGUE, MAINTENANCE_DUE
from streams.embedded_broker import EmbeddedBroker
from streams.maintenance import Maintenance
from streams.producer import Producer
from streams.visibility.tail import Tail

DAY_US = 86_400_000_000


def version(number: int, chunk: str) -> DocumentIndexed:
    return DocumentIndexed(tenant="t", document="d", version=number, chunks=(ChunkRef(chunk, 0, 1, 0, 0),))


@pytest.fixture
def connection(start_embedded: Callable[[], EmbeddedBroker]) -> Connection:
    broker = start_embedded()
    for topic in CATALOGUE.values():
        broker.create_topic(topic.name, 1)
    return Connection(bootstrap=broker.bootstrap, profile="embedded")


async def superseded(connection: Connection, tail: Tail) -> int:
    """Write two versions of a document; gives the time of the later one."""
    chunks = ("11111111-1111-5111-8111-111111111111", "22222222-2222-5222-8222-222222222222")
    async with Millrace(connection, tenant="t") as millrace:
        produced = [await millrace.produce(version(number, chunks[number - 1])) for number in (1, 2)]
    assert len(produced) == 2
    await tail.caught_up()
    return max(event.meta.time_us for event in read(connection, [CATALOGUE["corpus.document.indexed.v1"]]))


@pytest.fixture
async def tail(connection: Connection, tmp_path: Path) -> AsyncIterator[Tail]:
    tail = Tail(tmp_path / "visibility.db", {"bootstrap_servers": connection.bootstrap}, fetch_max_wait_ms=5)
    await tail.start()
    await tail.wait_ready()
    yield tail
    await tail.stop()


async def test_a_superseded_version_is_due_after_the_retention_and_not_before(
    connection: Connection, tail: Tail
) -> None:
    clock = [await superseded(connection, tail)]
    tidied: list[str] = []

    async def tidy(tenant: str) -> None:
        tidied.append(tenant)

    async with Producer(connection.aiokafka()) as producer:
        maintenance = Maintenance(
            tail, producer, Codec(), retention_us=DAY_US, interval_s=3600, tidy=tidy, wall_us=lambda: clock[0]
        )
        assert await maintenance.look() == 0
        clock[0] += 2 * DAY_US
        assert await maintenance.look() == 1
        assert await maintenance.look() == 0, "what was said once is not said again"
    [due] = list(read(connection, [MAINTENANCE_DUE]))
    assert isinstance(due, MaintenanceDue)
    assert (due.tenant, due.document, due.before_order, due.at_us) == ("t", "d", "0.2.0", clock[0])
    assert set(tidied) == {"t"}


async def test_a_worker_that_writes_no_index_forgets_without_saying_so(connection: Connection, tail: Tail) -> None:
    clock = [await superseded(connection, tail)]
    maintenance = Maintenance(tail, None, Codec(), retention_us=DAY_US, interval_s=3600, wall_us=lambda: clock[0])
    assert (await maintenance.look(), len(tail.retained("t", "d"))) == (0, 2)
    clock[0] += 2 * DAY_US
    assert (await maintenance.look(), len(tail.retained("t", "d"))) == (1, 1)
    assert list(read(connection, [MAINTENANCE_DUE])) == []


async def test_maintenance_goes_on_after_an_error_that_is_not_its_own_and_can_be_stopped(
    connection: Connection, tail: Tail
) -> None:
    await superseded(connection, tail)
    looks = 0
    again = asyncio.Event()

    async def tidy(_: str) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            again.set()
        raise sqlite3.OperationalError("database or disk is full")

    maintenance = Maintenance(tail, None, Codec(), retention_us=DAY_US, interval_s=0.01, tidy=tidy)
    await maintenance.start()
    await asyncio.wait_for(again.wait(), 20)
    await maintenance.stop()
