"""Table agents forget the least lately touched keys of who has too many, told by the order of records alone.

The control of each test takes its defence away.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from faust.types import TP

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.event import Event
from millrace.topics import Topic
from streams.pump import PumpSettings
from streams.table_acks import Applied
from streams.table_entries import Entry
from streams.tables import TableAgent, changelog, changelog_config
from tests.brokers import Broker
from tests.conditions import until
from tests.streams.pump_world import Handled, World, key_of, ordered, world_on
from tests.streams.test_tables import NeverCommits
from tests.streams.test_tables_forgetting import Careless, Run, Running, runner

pytestmark = pytest.mark.timeout(120)


class Owned(Event, frozen=True, kw_only=True):
    """A numbered event of a key, by a user."""

    namespace: ClassVar[str] = "test.pump"

    tenant: Annotated[str, "Tenant."]
    lane: Annotated[str, "Key."]
    n: Annotated[int, "Number within the key."] = 0
    user: Annotated[str, "Who did it."] = ""


class Count(msgspec.Struct, frozen=True):
    n: int = 0


def tally(state: Count, event: Owned) -> tuple[Count, Handled]:
    return Count(state.n + 1), Handled(tenant=event.tenant, lane=event.lane, n=state.n + 1, by=event.meta.id)


def did(user: str, lane: str, n: int = 0) -> Any:
    """An event of a user's key."""
    event = Owned(tenant="acme", lane=lane, n=n, user=user)
    meta = ordered(lane, n).meta
    return event.with_meta(msgspec.structs.replace(meta, id=f"{lane}-{n}", type=Owned.type_name()))


def key(lane: str) -> bytes:
    return key_of(ordered(lane, 0)).encode()


@pytest.fixture
async def world(broker: Broker) -> AsyncIterator[World]:
    async with world_on(broker, 1) as found:
        found.source = Topic(name=found.source.name, events=(Owned,), key=key_of)
        found.codec = Codec([Owned, Handled])
        yield found


@pytest.fixture
def running(world: World, tmp_path: Path) -> Run:
    return runner(world, tmp_path)


def declared(
    world: World, keep_keys: int | None = 5, keep_user_keys: int | None = 2, prefix: str = ""
) -> tuple[AgentSpec, PumpSettings]:
    """The agent, and settings under which nobody else has run it."""
    spec = world.spec(
        tally, form="keyed", state=Count, wants_ports=False, keep_keys=keep_keys, keep_user_keys=keep_user_keys
    )
    settings = world.settings()
    settings = msgspec.structs.replace(settings, group_prefix=f"{settings.group_prefix}{prefix}")
    world.broker._create(changelog(spec, settings), world.n_partitions, changelog_config(spec))
    return spec, settings


def states(worker: Running) -> dict[bytes, bytes]:
    """State of each key that has one."""
    return {name: state for name, (state, _) in worker.states().items() if state}


async def outcomes(world: World, n: int) -> list[tuple[str, int]]:
    return [(event.by, event.n) for event in world.decode(await world.read_n(world.sink, n))]


async def read_all(world: World, worker: Running, n: int) -> None:
    """Wait until `n` records were applied, and are committed."""
    applied: Applied = worker.worker.tables[0]._app.applied
    place = TP(world.source.name, 0)
    await until(lambda: applied._next.get(place) == n and not applied.comes_again(place, n - 1), 20)


@pytest.mark.parametrize("keep", [2, None])
async def test_who_has_too_many_keys_loses_the_least_lately_touched_and_others_lose_none(
    world: World, running: Run, caplog: pytest.LogCaptureFixture, keep: int | None
) -> None:
    spec, settings = declared(world, None if keep is None else 5, keep)
    async with running(spec, settings) as worker:
        with caplog.at_level(logging.WARNING, "streams.tables"):
            await worker.give(did("kim", "a"), did("maria", "b"), did("kim", "c"), did("kim", "a", 1))
            await worker.give(did("kim", "d"), did("kim", "e"), did("kim", "c", 1))
        assert set(worker.table) == ({key("b"), key("e"), key("c")} if keep else set(map(key, "abcde")))
        assert worker.worker.tables[0].counters.crowded_out == (3 if keep else 0)
    lines = [record.getMessage() for record in caplog.records if "forgotten" in record.getMessage()]
    assert [line.partition(",")[0] for line in lines] == (["table tally has forgotten 1 keys"] if keep else [])
    assert (await outcomes(world, 7))[-1] == ("c-1", 1 if keep else 2)


async def test_a_tenant_keeps_so_many_of_all_users(world: World, running: Run) -> None:
    spec, settings = declared(world, 3, 2)
    async with running(spec, settings) as worker:
        await worker.give(*(did(f"user-{lane}", lane) for lane in "abcde"))
        assert set(worker.table) == set(map(key, "cde"))


@pytest.mark.parametrize("learns", [True, False])
async def test_after_a_restart_the_same_keys_go_as_without_one(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, *, learns: bool
) -> None:
    async def nothing(self: TableAgent, event: Any) -> None:
        """Control: learn nothing from the changelog."""

    if not learns:
        monkeypatch.setattr(TableAgent, "_recovered", nothing)
    first = [did("kim", "a"), did("maria", "b"), did("kim", "c"), did("kim", "a", 1), did("kim", "d")]
    second = [did("kim", "e"), did("maria", "f"), did("", "g"), did("kim", "a", 2)]
    parts, whole = declared(world, 5, 3, "parts."), declared(world, 5, 3, "whole.")
    async with running(*parts) as worker:
        await worker.give(*first)
        before = states(worker)
    async with running(*parts) as worker:
        assert states(worker) == before
        await worker.give(*second)
        after = states(worker)
    async with running(*whole) as worker:
        await read_all(world, worker, len(first) + len(second))
        assert (states(worker) == after) == learns
        assert set(states(worker)) == set(map(key, "defga"))


@pytest.mark.parametrize("touches", [True, False])
async def test_records_that_are_read_again_from_the_first_leave_the_same_states(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, *, touches: bool
) -> None:
    async def ignored(*_: Any) -> None:
        """Control: a record that is known touches nothing."""

    monkeypatch.setattr("streams.table_app.Applied", Careless)  # each start reads from the first record
    if not touches:
        monkeypatch.setattr(TableAgent, "_meet_again", ignored)
    spec, settings = declared(world, 3, 3)
    lanes = ("c", "b", "e", "b", "h")  # read again, c would crowd b out between its first record and its second
    await world.produce(did(f"user-{lane}", lane, n) for n, lane in enumerate(lanes))
    async with running(spec, settings) as worker:
        await read_all(world, worker, len(lanes))
        once = states(worker)
    for _ in range(2):
        async with running(spec, settings) as worker:
            await read_all(world, worker, len(lanes))
            assert worker.worker.tables[0].counters.consumed == len(lanes)
            assert (states(worker) == once) == touches
    assert {name: msgspec.msgpack.decode(state, type=Count).n for name, state in once.items()} == {
        key("e"): 1, key("b"): 2, key("h"): 1
    }  # fmt: skip


@pytest.mark.parametrize("applied", [NeverCommits, Careless])
async def test_an_event_of_a_forgotten_key_that_is_delivered_again_after_a_crash_is_known(
    world: World, running: Run, monkeypatch: pytest.MonkeyPatch, applied: type[NeverCommits]
) -> None:
    spec, settings = declared(world)
    events = [did("kim", lane) for lane in "abcd"]
    with monkeypatch.context() as dying:
        dying.setattr("streams.table_app.Applied", applied)
        async with running(spec, settings) as worker:
            await world.produce(events)
            await until(lambda: worker.n_applied == len(events), 20)
            assert set(states(worker)) == {key("c"), key("d")}
    doubled = 2 if applied is Careless else 0
    async with running(spec, settings) as worker:
        await read_all(world, worker, len(events))
        assert set(states(worker)) == (set(map(key, "ab")) if doubled else set(map(key, "cd")))
        await worker.give(did("end", "end"), did("end", "end", 1))
        assert set(worker.table) == set(states(worker))  # what was left of the others is gone
    n = len(events) + 2 + doubled
    assert len(await outcomes(world, n)) == n


def test_an_entry_is_of_the_first_user_that_an_event_names() -> None:
    entry = Entry()
    for n, user in enumerate(("", "kim", "maria")):
        entry = entry.after(did(user, "a", n), Count(n))
        assert entry.user == ("kim" if n else "")
    emptied = entry.emptied()
    assert (emptied.state, emptied.seen, emptied.user) == (b"", entry.seen, "kim")
