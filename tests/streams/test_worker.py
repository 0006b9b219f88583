"""Workers as processes and as objects: tables, SIGTERM, kill -9."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.agent import AgentSpec
from millrace.errors import LogTruncated, Unavailable
from streams.tables import TableAgent, changelog
from streams.worker import Worker, WorkerSettings
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, Ordered, World, handled, ordered, world_on


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


@pytest.fixture
def chosen(world: World, tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(connection=world.connection, pump=world.settings(), data=str(tmp_path))


async def test_a_table_adds_up_and_takes_its_state_over_a_restart(world: World, chosen: WorkerSettings) -> None:
    spec = summing(world)
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


class Process:
    """A worker process of a world."""

    def __init__(self, world: World, folder: Path, number: int, **options: Any) -> None:
        self.ready = folder / f"ready-{number}"
        chosen = folder / f"settings-{number}.json"
        changes = {"group_prefix": world.broker.name("proc."), "session_timeout_ms": 3000, **options.pop("pump", {})}
        chosen.write_text(
            json.dumps(
                {
                    "bootstrap": world.broker.bootstrap, "source": world.source.name, "sink": world.sink.name,
                    "ready": str(self.ready), "pump": msgspec.to_builtins(world.settings(**changes)),
                    "delay_s": 0.002, "poison": -1, "slow": -1, "slow_s": 0.0, **options,
                }
            )
        )  # fmt: skip
        command = [sys.executable, "-m", "tests.streams.worker_process", str(chosen)]
        self.process = subprocess.Popen(command, cwd=Path(__file__).parents[2])

    async def wait_ready(self) -> None:
        await until(lambda: self.ready.exists() or self.process.poll() is not None, 30)

    async def ended(self) -> int:
        await until(lambda: self.process.poll() is not None, 30)
        return self.process.wait()


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def run(**options: Any) -> Process:
        started.append(Process(world, tmp_path, len(started), **options))
        return started[-1]

    yield run
    for each in started:
        each.process.kill()
        each.process.wait()


@pytest.mark.faults
@pytest.mark.timeout(120)
async def test_a_killed_worker_loses_nothing_even_behind_a_slow_head(
    world: World, start: Callable[..., Process]
) -> None:
    await world.produce(ordered(f"k{n % 10}", n) for n in range(400))
    first = start()
    await first.wait_ready()
    await world.read_n(world.sink, 100)
    first.process.send_signal(signal.SIGKILL)
    await first.ended()
    second = start()
    records = await world.read(world.sink.name, lambda found: len({e.n for e in world.decode(found)}) == 400, 60)
    second.process.terminate()
    assert await second.ended() == 0
    firsts: dict[str, list[int]] = {}
    for event in world.decode(records):
        if event.n not in firsts.setdefault(event.lane, []):
            firsts[event.lane].append(event.n)
    assert all(ns == sorted(ns) for ns in firsts.values())


@pytest.mark.faults
async def test_sigterm_ends_a_worker_within_ten_seconds_and_commits_what_is_done(
    world: World, start: Callable[..., Process]
) -> None:
    await world.produce(ordered(f"k{1 + n % 10}", n) for n in range(200))
    first = start()
    await first.wait_ready()
    await world.read_n(world.sink, 50)
    began = time.monotonic()
    first.process.terminate()
    assert await first.ended() == 0
    assert time.monotonic() - began < 10
    second = start()
    records = await world.read(world.sink.name, lambda found: len({e.n for e in world.decode(found)}) == 200, 30)
    second.process.terminate()
    assert await second.ended() == 0
    assert len(records) <= 220  # what was in flight ended and the prefix was committed: a crash repeats more


@pytest.mark.faults
@pytest.mark.timeout(180)
async def test_a_record_that_kills_its_process_ends_in_the_dead_letters_and_the_rest_gets_through(
    world: World, start: Callable[..., Process]
) -> None:
    await world.produce(ordered(f"k{n}", n) for n in range(20))
    reading = asyncio.create_task(world.read_n(world.source.dead_letters, 1, 150))
    n_died = 0
    while True:
        running = start(poison=7, pump={"session_timeout_ms": 2000})
        while running.process.poll() is None and not reading.done():
            await asyncio.wait([reading], timeout=0.05)
        if reading.done():
            break
        n_died += 1
    await reading
    await world.read(world.sink.name, lambda found: len({e.n for e in world.decode(found)}) == 19, 30)
    running.process.terminate()
    assert await running.ended() == 0
    assert 3 <= n_died <= 12


@pytest.mark.faults
@pytest.mark.timeout(180)
async def test_a_slow_head_beside_a_killer_is_handled_and_only_the_killer_is_given_up(
    world: World, start: Callable[..., Process]
) -> None:
    await world.produce(ordered(f"k{n}", n) for n in range(1, 30))
    first_of: dict[int, int] = {}
    for record in await world.read_n(world.source, 29):
        first_of.setdefault(record.partition, world.decode([record])[0].n)
    killer, slow = first_of[0], first_of[1]
    ends = time.monotonic() + 150
    while True:
        running = start(poison=killer, slow=slow, slow_s=5.0, pump={"session_timeout_ms": 2000})
        reading = asyncio.ensure_future(world.read_n(world.source.dead_letters, 1, 90))
        while running.process.poll() is None and not reading.done():
            await asyncio.wait([reading], timeout=0.05)
        if reading.done():
            break
        reading.cancel()
        await asyncio.wait([reading])
        assert time.monotonic() < ends
    outputs = await world.read(world.sink.name, lambda found: len({e.n for e in world.decode(found)}) == 28, 40)
    assert slow in {event.n for event in world.decode(outputs)}
    letters = await world.read_n(world.source.dead_letters, 1)
    assert [event.n for event in world.decode(letters)] == [killer]
    running.process.terminate()
    assert await running.ended() == 0


class View:
    """Something that agents stand on."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.folded = False

    def ready(self) -> bool:
        return self.folded


async def test_a_worker_is_ready_with_what_it_watches_and_ends_with_its_failure(
    world: World, chosen: WorkerSettings
) -> None:
    view = View()
    async with Worker([world.spec(relay)], chosen, codec=world.codec, watched=[view]) as worker:
        await until(worker.pumps[0].ready.is_set)
        assert not worker.ready
        view.folded = True
        await worker.wait_ready()
        view.failure = LogTruncated("the view's position is gone")
        with pytest.raises(LogTruncated):
            await worker.run(asyncio.Event())
        assert (worker.ready, worker.alive) == (False, False)


async def test_a_worker_with_tables_is_ready_once_they_are_recovered(world: World, chosen: WorkerSettings) -> None:
    spec = summing(world)
    world.broker._create(changelog(spec, chosen.pump), world.n_partitions, {"cleanup.policy": "compact"})
    async with Worker([spec], chosen, codec=world.codec) as worker:
        await asyncio.wait_for(worker.wait_ready(), 30)
        [app] = worker._apps
        assert {at.partition for at in app.consumer.assignment() if at.topic == world.source.name} == {0, 1}
        app.rebalancing = True
        assert not worker.ready
        app.rebalancing = False


def stopped(_: Ordered, __: object) -> None:
    return None


async def test_after_silence_only_what_nobody_waits_for_is_read_with_longer_waits(
    world: World, chosen: WorkerSettings
) -> None:
    waited_for = world.spec(relay, name="waited_for", cancel=stopped)
    settings = msgspec.structs.replace(chosen, pump=world.settings(fetch_idle_wait_ms=1000))
    async with Worker([waited_for, world.spec(relay)], settings, codec=world.codec) as worker:
        found = {pump.spec.name: pump._settings.fetch_idle_wait_ms for pump in worker.pumps}
    assert found == {"waited_for": None, "relay": 1000}


async def test_a_worker_is_alive_only_while_its_tables_apply_what_they_read(
    world: World, chosen: WorkerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, gate, step = summing(world), asyncio.Event(), TableAgent._step
    outages = [Unavailable("the broker does not answer")]

    async def stuck(*args: Any) -> None:
        if outages:
            raise outages.pop()
        await gate.wait()
        await step(*args)

    monkeypatch.setattr(TableAgent, "_step", stuck)
    world.broker._create(changelog(spec, chosen.pump), world.n_partitions, {"cleanup.policy": "compact"})
    async with Worker([spec], chosen, codec=world.codec) as worker:
        await asyncio.wait_for(worker.wait_ready(), 30)
        [applied] = (app.applied for app in worker._apps)

        def alive() -> bool:
            return worker.alive

        applied.clock = lambda: time.monotonic() + 61
        assert alive(), "nothing was read, however long ago something was"
        applied.clock = time.monotonic
        await world.produce([ordered("k0", 1)])
        await until(lambda: applied.waiting_s({world.source.name}) > 0)
        assert alive(), "it has just been read"
        await until(lambda: not outages and worker.tables[0].counters.errors.total() == 1)
        applied.clock = lambda: time.monotonic() + 61
        assert alive(), "who waits for a dependency that is down is not stuck"
        worker.tables[0]._held_s -= 61
        assert not alive()
        gate.set()
        await world.read_n(world.sink, 1)
        await until(alive)


async def test_a_worker_whose_table_agent_crashed_is_not_alive(world: World, chosen: WorkerSettings) -> None:
    spec = summing(world)
    world.broker._create(changelog(spec, chosen.pump), world.n_partitions, {"cleanup.policy": "compact"})
    async with Worker([spec], chosen, codec=world.codec) as worker:
        await asyncio.wait_for(worker.wait_ready(), 30)
        assert worker.alive
        await worker._apps[0].crash(LogTruncated("the table's position is gone"))
        assert (worker.alive, worker.tables[0].alive()) == (False, False)
        with pytest.raises(LogTruncated):
            await worker.run(asyncio.Event())
