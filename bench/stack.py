"""The stack under measurement: Millrace's own worker, with its real agents and adapters, in this process."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypedDict, Unpack

from bench.lab import Lab
from infra.composition import compose
from infra.launch.broker import broker_connection
from infra.launch.home import prepare_home
from infra.launch.processes import end_all
from infra.launch.profiles import parts_of
from infra.launch.registry import with_registry
from infra.launch.servers import start_servers
from infra.launch.stack import Stack, write_stack
from infra.settings import ModelSettings, Settings, load
from infra.worker import OWN_AGENTS, ensure_topics, load_agents, pump_settings
from millrace.agent import AgentSpec
from millrace.client import Millrace
from millrace.connection import Connection, find_connection
from millrace.topics import CATALOGUE
from streams.worker import Worker, WorkerSettings

Adapt = Callable[[Any], Any]
_SERVERS_END_S = 30.0


class StackOptions(TypedDict, total=False):
    """Options of `running_stack`."""

    embedder: Literal["minilm", "hashing"]
    adapt: Adapt
    agents: Sequence[str]


@asynccontextmanager
async def running_stack(
    lab: Lab,
    *,
    embedder: Literal["minilm", "hashing"] = "minilm",
    adapt: Adapt = lambda ports: ports,
    agents: Sequence[str] = OWN_AGENTS,
) -> AsyncIterator[Connection]:
    """Run the worker until the end of the block.

    Parameters
    ----------
    lab : Lab
        Its broker must hold no other stack's records.
    embedder : {"minilm", "hashing"}
        Model.
    adapt : callable
        Gets the ports of an agent and gives those that it is run with: to count calls, or to put a null adapter in.
    agents : sequence of str
        Modules whose agents run; by default all that a worker runs.
    """
    home = lab.new_folder("home")
    prepare_home(home)
    settings = Settings(
        home=home, profile=lab.profile, cache=load().settings.cache, models=ModelSettings(embedder=embedder)
    )
    specs = load_agents(agents)
    stack = Stack(
        profile=lab.profile, bootstrap=lab.bootstrap, log_epoch=home.name, objects=settings.objects, home=str(home),
        started_at="",
    )  # fmt: skip
    lab.create_catalogue(CATALOGUE.values())
    ensure_topics(settings, stack, specs)
    client = broker_connection(settings, stack.bootstrap).aiokafka()
    async with AsyncExitStack() as services:
        stack = await asyncio.to_thread(start_servers, settings, stack, parts_of(settings), _say)
        services.push_async_callback(asyncio.to_thread, end_all, stack.servers, _SERVERS_END_S)
        stack = await asyncio.to_thread(with_registry, settings, stack, _say)
        write_stack(stack)
        composition = await services.enter_async_context(compose(settings, stack, specs, name="bench", client=client))

        @asynccontextmanager
        async def ports_for(spec: AgentSpec) -> AsyncIterator[Any]:
            async with composition.ports_for(spec) as ports:
                yield adapt(ports)

        worker = Worker(
            specs,
            WorkerSettings(connection=client, pump=pump_settings(settings), data=str(home)),
            ports_for=ports_for,
            prepare=composition.prepare,
            note=composition.note,
            codec=composition.codec,
        )
        await services.enter_async_context(worker)
        await worker.wait_ready()
        yield find_connection(home=home, environ={})


@asynccontextmanager
async def running_client(lab: Lab, **options: Unpack[StackOptions]) -> AsyncIterator[Millrace]:
    """A client of `running_stack`, which gets the options."""
    async with running_stack(lab, **options) as found, Millrace(found, max_pending=4096) as client:
        yield client


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def in_turn(n: int, width: int) -> Iterator[range]:
    """Ranges of at most `width` numbers below `n`."""
    return (range(start, min(n, start + width)) for start in range(0, n, width))
