"""The stack under measurement: Millrace's own worker, with its real agents and adapters, in this process."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypedDict, Unpack

from bench.lab import Lab
from infra.composition import compose
from infra.launch.broker import broker_connection
from infra.launch.stack import Stack
from infra.settings import ModelSettings, Settings, load
from infra.worker import OWN_AGENTS, ensure_topics, load_agents, pump_settings
from millrace.agent import AgentSpec
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.topics import CATALOGUE
from streams.worker import Worker, WorkerSettings

Adapt = Callable[[Any], Any]


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
    settings = Settings(
        home=home, profile="kafka", cache=load().settings.cache, models=ModelSettings(embedder=embedder)
    )
    specs = load_agents(agents)
    stack = Stack(
        profile="kafka", bootstrap=lab.bootstrap, log_epoch=home.name, objects=settings.objects, home=str(home),
        started_at="",
    )  # fmt: skip
    lab.create_catalogue(CATALOGUE.values())
    ensure_topics(settings, stack, specs)
    client = broker_connection(settings, stack.bootstrap).aiokafka()
    async with AsyncExitStack() as services:
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
        yield Connection(
            bootstrap=stack.bootstrap, objects=stack.objects, home=stack.home, profile="kafka",
            log_epoch=stack.log_epoch,
        )  # fmt: skip


@asynccontextmanager
async def running_client(lab: Lab, **options: Unpack[StackOptions]) -> AsyncIterator[Millrace]:
    """A client of `running_stack`, which gets the options."""
    async with running_stack(lab, **options) as found, Millrace(found, max_pending=4096) as client:
        yield client


def in_turn(n: int, width: int) -> Iterator[range]:
    """Ranges of at most `width` numbers below `n`."""
    return (range(start, min(n, start + width)) for start in range(0, n, width))
