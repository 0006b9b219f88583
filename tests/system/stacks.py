"""Whole stacks for system tests: a broker process, the project's own composition of real parts, the SDK's client.

Workers run as processes, or inside the test (`Inside`), where their ports can be watched and single stages held back.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from infra.composition import Composition, compose
from infra.launch.broker import broker_connection
from infra.launch.stack import Stack
from infra.launch.up import down, up
from infra.settings import Settings, load
from infra.worker import load_agents, pump_settings
from millrace.agent import AgentSpec
from millrace.client import Millrace
from millrace.connection import Connection, find_connection
from millrace.reader import LogReader, RawRecord, read
from millrace.topics import Topic
from streams.worker import Worker, WorkerSettings
from tests.faults.log_access import ends

AGENTS = ("agents.corpus", "agents.query")
TENANT = "acme"
PortsOf = Callable[[AgentSpec, Any], Any]


@dataclass(frozen=True)
class Inside:
    """A worker inside the test."""

    composition: Composition
    worker: Worker


@dataclass(frozen=True)
class System:
    """A running stack on the embedded broker."""

    settings: Settings
    stack: Stack

    @property
    def connection(self) -> Connection:
        """Where it is, as an application finds it."""
        return find_connection(home=self.settings.home)

    def client(self, **options: Any) -> Millrace:
        """A client of it."""
        return Millrace(self.connection, **{"tenant": TENANT, "timeout_s": 30.0, **options})

    def events(self, topic: Topic) -> list[Any]:
        """Every event of a topic; what is none, as tests write too, is left out."""
        return list(read(self.connection, [topic], on_error=lambda _record, _error: None))

    def records(self, topics: Sequence[str | Topic]) -> list[RawRecord]:
        """Every record of topics."""
        with LogReader(self.connection, topics) as reader:
            return list(reader)

    def n_records(self, topic: Topic) -> int:
        """Records of a topic."""
        return sum(ends(self.stack.bootstrap, (topic.name,)).values())

    @asynccontextmanager
    async def composed(self, specs: Sequence[AgentSpec], name: str) -> AsyncIterator[Composition]:
        """The parts that agents would be given, without running any."""
        client = broker_connection(self.settings, self.stack.bootstrap).aiokafka()
        async with compose(self.settings, self.stack, specs, name=name, client=client) as composition:
            yield composition

    @asynccontextmanager
    async def inside(
        self,
        specs: Sequence[AgentSpec] | None = None,
        ports_of: PortsOf = lambda _, ports: ports,
        name: str = "inside",
    ) -> AsyncIterator[Inside]:
        """Run agents, by default those of both paths, inside the test; `ports_of` may wrap what each is given."""
        specs = load_agents(AGENTS) if specs is None else specs
        async with self.composed(specs, name) as composition:

            @asynccontextmanager
            async def ports_for(spec: AgentSpec) -> AsyncIterator[Any]:
                async with composition.ports_for(spec) as ports:
                    yield ports_of(spec, ports)

            client = broker_connection(self.settings, self.stack.bootstrap).aiokafka()
            plain = WorkerSettings(connection=client, pump=pump_settings(self.settings), data=str(self.settings.home))
            worker = Worker(
                specs,
                plain,
                ports_for=ports_for,
                prepare=composition.prepare,
                note=composition.note,
                codec=composition.codec,
            )
            async with worker:
                await worker.wait_ready()
                yield Inside(composition, worker)


@contextlib.contextmanager
def embedded_system(home: Path, *, workers: int = 0, **settings: Any) -> Iterator[System]:
    """Start a stack on the embedded broker, with so many worker processes; everything is ended again."""
    # On the embedded broker, who joins a group waits for the session of whoever left it, as each test's worker did.
    joining = {} if workers else {"session_timeout_ms": 2000, "heartbeat_interval_ms": 500}
    flags = {
        "home": str(home),
        "profile": "embedded",
        "models": {"embedder": "hashing"},
        "worker": {"count": workers, "commit_interval_ms": 100, **joining},
        **settings,
    }
    loaded = load(flags)
    try:
        yield System(loaded.settings, up(loaded).stack)
    finally:
        down(loaded.settings)


def replaced_stage(specs: Iterable[AgentSpec], stage: str, function: Callable[..., Any]) -> list[AgentSpec]:
    """Agents with one stage of a fused run done by another function."""
    found = []
    for spec in specs:
        stages = tuple(
            msgspec.structs.replace(each, function=function) if each.name == stage else each for each in spec.stages
        )
        found.append(msgspec.structs.replace(spec, stages=stages) if spec.stages else spec)
    return found
