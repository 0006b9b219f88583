"""Table agents forget keys that were not touched for long, in the time of the log; each event is applied once still.

The control of each test takes its defence away.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from faust.types import TP

from millrace.agent import AgentSpec
from streams.pump import PumpSettings
from streams.table_acks import Applied
from streams.table_entries import Entry
from streams.tables import TableAgent, _Record, changelog, changelog_config
from streams.worker import Worker, WorkerSettings
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, key_of, ordered, world_on
from tests.streams.test_tables import NeverCommits

DAY_US = 86_400_000_000
FIRST_US = 1_700_000_000_000_000
pytestmark = pytest.mark.timeout(120)


class Count(msgspec.Struct, frozen=True):
    n: int = 0


def count(state: Count, event: Ordered) -> tuple[Count, Handled]:
    return Count(state.n + 1), Handled(tenant=event.tenant, lane=event.lane, n=state.n + 1, by=event.meta.id)


def said(lane: str, day: float, n: int = 0) -> Ordered:
    """An event of a key on a day."""
    event = ordered(lane, n)
    at_us = FIRST_US + round(day * DAY_US)
    return event.with_meta(msgspec.structs.replace(event.meta, id=f"{lane}-{day}-{n}", time_us=at_us))


def key(lane: str) -> bytes:
    return key_of(ordered(lane, 0)).encode()


def days_until_now() -> float:
    """Days from the first event of these tests until now, by the clock that stamps records."""
    return (time.time_ns() // 1000 - FIRST_US) / DAY_US - 1


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker, 1) as found:
        yield found


def declared(world: World, keep_days: int | None = 30, prefix: str = "") -> tuple[AgentSpec, PumpSettings]:
    """The agent, and settings under which nobody else has run it."""
    spec = world.spec(count, form="keyed", state=Count, wants_ports=False, keep_days=keep_days)
    settings = world.settings()
    settings = msgspec.structs.replace(settings, group_prefix=f"{settings.group_prefix}{prefix}")
    world.broker._create(changelog(spec, settings), world.n_partitions, changelog_config(spec))
    return spec, settings


class Running:
    """A worker with the agent, and the events that it is given."""

    def __init__(self, world: World, worker: Worker) -> None:
        self.world = world
        self.worker = worker

    @property
    def table(self) -> Mapping[bytes, bytes]:
        data: Mapping[bytes, bytes] = self.worker.tables[0]._table.data
        return data

    def states(self) -> dict[bytes, tuple[bytes, int]]:
        """State of each key, and when it was touched."""
        found = {name: msgspec.msgpack.decode(entry, type=Entry) for name, entry in self.table.items()}
        return {name: (entry.state, entry.touched_us) for name, entry in found.items()}

    @property
    def n_applied(self) -> int:
        return self.worker.tables[0].counters.emitted

    async def give(self, *events: Ordered) -> None:
        """Events, one by one: each is applied, and committed, before the next."""
        for event in events:
            await self._give(event)

    async def _give(self, event: Ordered) -> None:
        applied: Applied = self.worker.tables[0]._app.applied
        place = TP(self.world.source.name, 0)
        before = applied.prefix(place) or 0
        await self.world.produce([event])
        await until(lambda: (applied.prefix(place) or 0) > before, 20)
        await until(lambda: not applied.comes_again(place, before), 20)


Run = Callable[[AgentSpec, PumpSettings], AbstractAsyncContextManager[Running]]


def runner(world: World, data: Path) -> Run:
    """Starts workers."""

    @asynccontextmanager
    async def run(spec: AgentSpec, settings: PumpSettings) -> AsyncIterator[Running]:
        chosen = WorkerSettings(connection=world.connection, pump=settings, data=str(data))
        async with Worker([spec], chosen, codec=world.codec) as worker:
            await worker.wait_ready()
            yield Running(world, worker)

    return run


@pytest.fixture
def running(world: World, tmp_path: Path) -> Run:
    return runner(world, tmp_path)


async def counts(world: World, n: int) -> list[tuple[str, int]]:
    return [(event.by, event.n) for event in world.decode(await world.read_n(world.sink, n))]


async def written(world: World, topic: str, until_key: bytes) -> Sequence[Any]:
    return await world.read(topic, lambda found: any(record.key == until_key for record in found))


@pytest.mark.parametrize("keep_days", [30, None])
async def test_a_key_untouched_for_its_days_leaves_the_table_and_the_changelog_and_begins_anew(
    world: World, running: Run, keep_days: int | None
) -> None:
    spec, settings = declared(world, keep_days)
    kept = keep_days is None
    async with running(spec, settings) as worker:
        await worker.give(said("a", 0), said("b", 20), said("c", 40), said("c", 41), said("end", 41))
        assert (key("a") in worker.table) == kept
        assert key("b") in worker.table
        await worker.give(said("a", 1))
    last = {record.key: record.value for record in (await written(world, changelog(spec, settings), key("end")))}
    assert (last[key("a")] is not None) or not kept
    assert (await counts(world, 6))[-1] == ("a-1-0", 2 if kept else 1)


async def test_a_conversation_goes_on_anew_after_its_days_even_if_nothing_else_happened(
    world: World, running: Run
) -> None:
    spec, settings = declared(world)
    async with running(spec, settings) as worker:
        await worker.give(said("a", 0), said("a", 29), said("a", 60))
    assert [n for _, n in await counts(world, 3)] == [1, 2, 1]


@pytest.mark.parametrize("learns", [True, False])
async def test_the_age_of_a_key_is_known_after_a_restart(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, *, learns: bool
) -> None:
    async def nothing(self: TableAgent, event: Any) -> None:
        """Control: learn nothing from the changelog."""

    spec, settings = declared(world)
    if not learns:
        monkeypatch.setattr(TableAgent, "_recovered", nothing)
    async with running(spec, settings) as worker:
        await worker.give(said("a", 0), said("b", 20), said("d", 10), said("c", 29))
    async with running(spec, settings) as worker:
        assert key("a") in worker.table
        await worker.give(said("c", 42), said("c", 43))
        assert (key("a") in worker.table) != learns
        assert {key("b"), key("d"), key("c")} <= set(worker.table)
        await worker.give(said("b", 44), said("c", 51))
        assert (key("d") in worker.table) != learns
    async with running(spec, settings) as worker:  # what is gone stays gone
        assert (key("a") in worker.table) != learns
        await worker.give(said("b", 52))
    assert (await counts(world, 9))[-1] == ("b-52-0", 3)


class Careless(NeverCommits):
    """Control: believes that nothing is ever delivered again."""

    def comes_again(self, tp: TP, offset: int) -> bool:
        return False


@pytest.mark.parametrize("applied", [NeverCommits, Careless])
async def test_an_event_that_is_delivered_again_after_a_crash_is_known_however_old_it_is(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, applied: type[Applied]
) -> None:
    spec, settings = declared(world)
    events = [said("a", 0), said("a", 1), said("b", 40), said("b", 41), said("b", 42)]
    with monkeypatch.context() as dying:
        dying.setattr("streams.table_app.Applied", applied)
        async with running(spec, settings) as worker:
            await world.produce(events)
            await until(lambda: worker.n_applied == len(events), 20)
    async with running(spec, settings) as worker:
        await world.produce([said("end", 42)])
        place, progress = TP(world.source.name, 0), worker.worker.tables[0]._app.applied
        await until(lambda: progress.prefix(place) == len(events) + 1, 20)  # what comes again is applied first
    again = 2 if applied is Careless else 0
    found = await counts(world, len(events) + 1 + again)
    assert len(found) == len(events) + 1 + again
    assert found[-1] == ("end-42-0", 1)


@pytest.mark.parametrize("careful", [True, False])
async def test_one_clock_that_is_fast_makes_nobody_forgotten(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, *, careful: bool
) -> None:
    if not careful:
        monkeypatch.setattr(_Record, "time_us", lambda _, event: event.meta.time_us)
    spec, settings = declared(world)
    now = days_until_now()
    async with running(spec, settings) as worker:
        await worker.give(said("a", now), said("fast", now + 30_000), said("a", now + 0.001))
    assert (await counts(world, 3))[-1][1] == (2 if careful else 1)


async def test_the_same_log_applied_again_from_its_start_leaves_the_same_table(world: World, running: Run) -> None:
    first, second = declared(world), declared(world, prefix="again.")
    async with running(*first) as worker:
        await worker.give(said("a", 0), said("b", 20), said("c", 29), said("a", 40), said("c", 58), said("b", 59))
        await worker.give(said("end", 60), said("end", 61), said("end", 62))
        once = worker.states()
    async with running(*second) as worker:
        await until(lambda: worker.n_applied == 9, 20)
        twice = worker.states()
    assert {name: twice[name] for name in once} == once
    assert set(once) == {key("a"), key("b"), key("c"), key("end")}


async def test_a_changelog_whose_beginning_was_deleted_by_its_age_is_recovered_from(
    kafka_broker: Broker, tmp_path: Path
) -> None:
    async with world_on(kafka_broker, 1) as world:
        spec, settings = declared(world)
        run = runner(world, tmp_path)
        async with run(spec, settings) as worker:
            await worker.give(said("a", 0), said("b", 20), said("c", 21))
        client = AdminClient({"bootstrap.servers": kafka_broker.bootstrap})
        for future in client.delete_records([TopicPartition(changelog(spec, settings), 0, 2)]).values():
            await asyncio.to_thread(future.result)
        async with run(spec, settings) as worker:
            assert set(worker.table) == {key("c")}
            await worker.give(said("c", 22), said("a", 22))
        assert (await counts(world, 5))[-2:] == [("c-22-0", 2), ("a-22-0", 1)]
