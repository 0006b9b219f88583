"""Table agents on a broker: every record is applied once, whatever Faust skips."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from faust.exceptions import Skip
from faust.types import TP

from millrace.agent import AgentSpec
from millrace.errors import ConfigurationError
from streams.producer import Producer
from streams.table_acks import Applied
from streams.table_app import _Consumer, credentials, table_app
from streams.tables import TableAgent, changelog
from streams.worker import Worker, WorkerSettings
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, ordered, world_on


class Count(msgspec.Struct, frozen=True):
    n: int = 0


def count(state: Count, event: Ordered) -> tuple[Count, Handled]:
    return Count(state.n + 1), Handled(tenant=event.tenant, lane=event.lane, n=state.n + 1)


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker) as found:
        yield found


@pytest.fixture
def spec(world: World) -> AgentSpec:
    found = world.spec(count, form="keyed", state=Count, wants_ports=False)
    world.broker._create(changelog(found, world.settings()), world.n_partitions, {"cleanup.policy": "compact"})
    return found


@pytest.fixture
def chosen(world: World, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(connection=world.connection, pump=world.settings(), data=str(tmp_path))


def totals(world: World, records: Sequence[Any]) -> int:
    """Sum over the keys of the highest count each has reached."""
    highest: dict[str, int] = {}
    for event in world.decode(records):
        highest[event.lane] = max(event.n, highest.get(event.lane, 0))
    return sum(highest.values())


class SkipsOnce(TableAgent):
    """Lets Faust skip one record, in its own way: it is acknowledged and no agent sees it."""

    skipped = 0

    async def _consume(self, stream: Any) -> None:
        def skip(value: bytes) -> bytes:
            event: Any = self._codec.decode(value)
            if not self.skipped and event.n == 7:
                self.skipped += 1
                raise Skip
            return value

        stream.add_processor(skip)
        await super()._consume(stream)


class Believing(Applied):
    """Believes, as Faust does, that a record which did not come is not there."""

    def admits(self, tp: TP, offset: int) -> bool:
        self.start({tp: offset})
        return True


@asynccontextmanager
async def skipping(
    world: World, spec: AgentSpec, data: Path, applied: Applied | None = None
) -> AsyncIterator[SkipsOnce]:
    settings = world.settings()
    app = table_app(spec.name, world.connection, settings, data=str(data))
    if applied is not None:
        app.applied = applied
    async with Producer(world.connection) as producer:
        agent = SkipsOnce(
            app, spec, codec=world.codec, producer=producer, settings=settings, n_partitions=world.n_partitions
        )
        await app.start()
        try:
            yield agent
        finally:
            await app.stop()


async def test_a_record_that_faust_skips_is_read_again_and_applied(
    world: World, spec: AgentSpec, tmp_path: Path
) -> None:
    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    async with skipping(world, spec, tmp_path) as agent:
        records = await world.read_n(world.sink, 30)
        assert agent.skipped == 1
    assert totals(world, records) == 30


async def test_control_without_the_check_a_skipped_record_is_lost(
    world: World, spec: AgentSpec, tmp_path: Path
) -> None:
    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    believing = Believing()
    async with skipping(world, spec, tmp_path, believing):
        records = await world.read_n(world.sink, 29)
        places = [TP(world.source.name, i) for i in range(world.n_partitions)]
        await until(lambda: sum(believing.prefix(tp) or 0 for tp in places) == 30)
    assert totals(world, records) == 29


@pytest.mark.timeout(120)
async def test_restarts_under_load_lose_nothing_and_count_nothing_twice(
    world: World, spec: AgentSpec, chosen: WorkerSettings
) -> None:
    sent, stop = 0, asyncio.Event()

    async def load() -> None:
        nonlocal sent
        while not stop.is_set():
            await world.produce(ordered(f"k{n % 8}", n) for n in range(sent, sent + 2))
            sent += 2
            await asyncio.sleep(0.05)

    loading = asyncio.create_task(load())
    for _ in range(2):
        async with Worker([spec], chosen, codec=world.codec) as worker:
            await until(lambda: worker.tables[0].counters.consumed >= 5, 40)
    stop.set()
    await loading
    async with Worker([spec], chosen, codec=world.codec):
        records = await world.read(world.sink.name, lambda found: totals(world, found) >= sent, 60)
    assert totals(world, records) == sent


@pytest.mark.timeout(120)
async def test_two_workers_share_the_partitions_of_a_table_agent(
    world: World, spec: AgentSpec, chosen: WorkerSettings
) -> None:
    async with Worker([spec], chosen, codec=world.codec) as first, Worker([spec], chosen, codec=world.codec) as second:
        sent, both = 0, (first.tables[0].counters, second.tables[0].counters)
        async with asyncio.timeout(60):
            while not all(counters.consumed for counters in both):
                await world.produce(ordered(f"k{n % 8}", n) for n in range(sent, sent + 8))
                sent += 8
                await asyncio.sleep(0.2)
        records = await world.read(world.sink.name, lambda found: totals(world, found) >= sent, 40)
    assert totals(world, records) == sent


def test_a_secured_broker_is_reached_by_table_agents_as_by_pumps() -> None:
    scram = {
        "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "worker", "sasl_plain_password": "secret",
    }  # fmt: skip
    found = credentials(scram)
    assert found is not None
    assert (found.protocol.value, found.mechanism.value) == ("SASL_PLAINTEXT", "SCRAM-SHA-256")  # type: ignore[attr-defined]
    assert (found.username, found.password) == ("worker", "secret")  # type: ignore[attr-defined]
    assert credentials({"bootstrap_servers": "x:1"}) is None


def test_a_way_to_log_in_that_faust_lacks_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="GSSAPI"):
        credentials({"security_protocol": "SASL_SSL", "sasl_mechanism": "GSSAPI"})


async def test_agents_that_read_one_topic_each_apply_all_of_it(world: World, chosen: WorkerSettings) -> None:
    specs = [world.spec(count, name=name, form="keyed", state=Count, wants_ports=False) for name in ("one", "other")]
    for spec in specs:
        world.broker._create(changelog(spec, chosen.pump), world.n_partitions, {"cleanup.policy": "compact"})
    await world.produce(ordered(f"k{n % 3}", n) for n in range(30))
    async with Worker(specs, chosen, codec=world.codec) as worker:
        records = await world.read_n(world.sink, 60)
        await until(lambda: [table.counters.emitted for table in worker.tables] == [30, 30])
    assert totals(world, records) == 30


class NeverCommits(Applied):
    """Nothing of what was applied is committed, as if the worker died before."""

    def prefix(self, tp: TP) -> int | None:
        return None


async def test_records_fetched_before_a_worker_knows_where_to_begin_are_not_lost(
    world: World, spec: AgentSpec, chosen: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were thrown away, and nothing was sought: without a committed offset they never came again."""
    n = 4 * world.n_partitions
    await world.produce(ordered(f"lane-{i}", 0) for i in range(n))
    with monkeypatch.context() as dying:
        dying.setattr("streams.table_app.Applied", NeverCommits)
        async with Worker([spec], chosen, codec=world.codec) as worker:
            await until(lambda: worker.tables[0].counters.emitted == n)
    seek = _Consumer.seek_to_committed

    async def late(self: _Consumer) -> Any:
        """Where the client stands that has fetched everything while it asked what was committed."""
        await self.seek_wait(await self.highwaters(*(tp for tp in self.assignment() if tp.topic == world.source.name)))
        return await seek(self)

    monkeypatch.setattr(_Consumer, "seek_to_committed", late)
    async with Worker([spec], chosen, codec=world.codec) as worker:
        await until(lambda: worker.tables[0].counters.consumed == n)
