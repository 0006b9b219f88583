"""A worker: the agents of a catalogue, run on a broker until told to stop.

Stateless agents get a pump each, keyed ones a Faust app with a table each; one root service holds them all.
Stopping drains: what is in flight ends within a bound, the completed prefixes are committed.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Protocol, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from millrace.agent import AgentSpec
from millrace.client.closing import closed
from millrace.codec import Codec
from millrace.cutting import split
from millrace.errors import ConfigurationError
from millrace.telemetry import Tracer
from streams import health
from streams.producer import Producer
from streams.pump import Prepare, Pump, PumpSettings, positions
from streams.pump.company import Company
from streams.pump.delivery import Note
from streams.table_app import table_app, table_group
from streams.tables import TableAgent

log = logging.getLogger(__name__)

PortsFor = Callable[[AgentSpec], AbstractAsyncContextManager[Any]]


class Watched(Protocol):
    """What a worker depends on beside its agents: a view that folds the log, say."""

    @property
    def failure(self) -> BaseException | None:
        """Why it ended, if it did."""

    def ready(self) -> bool:
        """Whether it can be used."""


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Plain settings of a worker.

    Attributes
    ----------
    connection
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    pump
        How each agent consumes, retries and commits.
    cut
        Stages of fused runs that run on their own.
    data
        Folder in which Faust makes folders of its own; the tables are in memory and in their changelogs.
    """

    connection: Mapping[str, Any]
    data: str
    pump: PumpSettings = PumpSettings()
    cut: frozenset[str] = frozenset()


def codec_for(specs: Collection[AgentSpec], codec: Codec | None = None) -> Codec:
    """Register the events of every topic that `specs` read or write; those in a format of others have no schema."""
    codec = codec or Codec()
    for spec in specs:
        for topic in (*spec.sources, *spec.sinks, *(each for stage in spec.stages for each in stage.sources)):
            for event in topic.events if topic.read is None else ():
                codec.register(event, topic)
    return codec


class Worker:
    """Runs agents; use it as an async context manager, or `run` until an event.

    Parameters
    ----------
    specs : collection of AgentSpec
        What to run.
    settings : WorkerSettings
        How.
    ports_for : callable, optional
        ``ports_for(spec)`` is an async context manager that gives an agent its ports; by default the agent's own
        factory, `AgentSpec.ports`, is called with `port_settings`.
    prepare : mapping, optional
        By agent name, what to await after an assignment and before its records.
    watched : collection of Watched
        What the ports stand on: the worker is ready when all of it is, and ends with the failure of any.
    note : mapping, optional
        By agent name, what is told of each of its events once that is acknowledged.
    port_settings : Any
        Handed to `AgentSpec.ports`.
    tracer : Tracer, optional
        Makes spans of what its agents handle.
    """

    def __init__(
        self,
        specs: Collection[AgentSpec],
        settings: WorkerSettings,
        *,
        ports_for: PortsFor | None = None,
        prepare: Mapping[str, Prepare] | None = None,
        codec: Codec | None = None,
        watched: Collection[Watched] = (),
        note: Mapping[str, Note] | None = None,
        port_settings: Any = None,
        tracer: Tracer | None = None,
    ) -> None:
        if not specs:
            raise ConfigurationError("no agents to run; name modules that declare some: --agents their.module")
        self.specs: Sequence[AgentSpec] = [part for spec in specs for part in split(spec, settings.cut)]
        self.pumps: list[Pump] = []
        self.tables: list[TableAgent] = []
        self._apps: list[Any] = []
        self._settings = settings
        self._codec = codec_for(self.specs, codec)
        self._ports_for = ports_for or (lambda spec: own_ports(spec, port_settings))
        self._prepare = prepare or {}
        self._watched = watched
        self._note = note or {}
        self._tracer = tracer
        self._stack = AsyncExitStack()
        self._root: Service | None = None

    async def start(self) -> None:
        """Connect, build and start every agent; returns before they are ready.

        Raises
        ------
        Unavailable
            If the broker does not answer.
        LogTruncated
            If a table agent's position is gone.
        """
        async with AsyncExitStack() as stack:
            producer = await stack.enter_async_context(Producer(self._settings.connection))
            keyed = [spec for spec in self.specs if spec.form == "keyed"]
            pump_settings, connection = self._settings.pump, self._settings.connection
            partitions = dict(await asyncio.gather(*map(self._check_table, keyed)))
            root = _Root(self._apps)
            company = Company()
            for spec in self.specs:
                ports = await stack.enter_async_context(self._ports_for(spec))
                note = self._note.get(spec.name, lambda _: None)
                if spec.form == "keyed":
                    app = table_app(spec.name, connection, pump_settings, data=self._settings.data)
                    self._apps.append(app)
                    self.tables.append(
                        TableAgent(
                            app, spec, codec=self._codec, producer=producer, settings=pump_settings,
                            n_partitions=partitions[spec.name], ports=ports, note=note, tracer=self._tracer,
                        )
                    )  # fmt: skip
                    continue
                pump = Pump(
                    spec, codec=self._codec, producer=producer, connection=connection,
                    settings=_hurrying(pump_settings) if spec.cancel else pump_settings,
                    ports=ports, prepare=self._prepare.get(spec.name), company=company,
                    note=note, tracer=self._tracer,
                )  # fmt: skip
                root.add_dependency(pump)
                self.pumps.append(pump)
            stack.push_async_callback(root.stop)
            self._root = root
            await root.start()
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Drain, commit and leave the groups."""
        await self._stack.aclose()

    async def wait_ready(self) -> None:
        """Wait until `ready`.

        Raises
        ------
        BaseException
            Why something failed.
        """
        await self._first(asyncio.ensure_future(self._ready()))

    async def ready_or(self, stop: asyncio.Event) -> bool:
        """Wait until ready; False if `stop` was set before.

        Raises
        ------
        BaseException
            Why an agent failed.
        """
        ready = asyncio.ensure_future(self.wait_ready())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([ready, stopped], return_when=asyncio.FIRST_COMPLETED)
            if ready.done():
                await ready
            return not stopped.done()
        finally:
            ready.cancel()
            stopped.cancel()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set.

        Raises
        ------
        BaseException
            Why an agent failed; nothing is skipped to go on.
        """
        await self._first(asyncio.ensure_future(stop.wait()))

    @property
    def ready(self) -> bool:
        """Whether every agent has its partitions and its state, what is watched is ready, and nothing has failed."""
        return (
            not self.failure
            and all(pump.ready.is_set() for pump in self.pumps)
            and all(each.ready() for each in self._watched)
            and all(_recovered(app) for app in self._apps)
        )

    @property
    def alive(self) -> bool:
        """Whether no agent is stuck."""
        pumps, tables = (pump.alive() for pump in self.pumps), (table.alive() for table in self.tables)
        return not self.failure and all(pumps) and all(tables)

    @property
    def failure(self) -> BaseException | None:
        """Why the worker failed, if it did."""
        found = [pump.crash_reason for pump in self.pumps if pump.crashed]
        found += [each.failure for each in self._watched if each.failure is not None]
        if not found and self._root is not None and self._root.crashed:
            found = [self._root.crash_reason]
        return found[0] if found else None

    def report(self) -> dict[str, Any]:
        """Numbers by agent, for the health endpoint."""
        return {
            **{pump.spec.name: health.numbers(pump.counters, pump.lag, pump.in_flight) for pump in self.pumps},
            **{table.spec.name: health.numbers(table.counters) for table in self.tables},
        }

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _first(self, wanted: "asyncio.Future[Any]") -> None:
        """Wait for something, or for a failure, whichever comes first."""
        crashed = asyncio.ensure_future(self._crashed())
        try:
            await asyncio.wait([wanted, crashed], return_when=asyncio.FIRST_COMPLETED)
            if crashed.done():
                raise crashed.result()
        finally:
            wanted.cancel()
            crashed.cancel()

    async def _ready(self) -> None:
        while not self.ready:  # noqa: ASYNC110 - Faust and the watched tell nobody either
            await asyncio.sleep(0.02)

    async def _crashed(self) -> BaseException:
        while (failure := self.failure) is None:  # noqa: ASYNC110 - a service of mode tells nobody that it crashed
            await asyncio.sleep(0.05)
        return failure

    async def _check_table(self, spec: AgentSpec) -> tuple[str, int]:
        """Refuse to start where Faust would silently skip: a committed position that the log no longer holds.

        Gives the agent's name and the partitions of its topics.
        """
        group = table_group(self._settings.pump, spec.name)
        consumer = AIOKafkaConsumer(**self._settings.connection, group_id=group, enable_auto_commit=False)
        await consumer.start()
        try:
            n_partitions = 0
            for topic in (topic.name for topic in spec.sources):
                await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 - the public call knows subscribed topics alone
                partitions = [TopicPartition(topic, i) for i in consumer.partitions_for_topic(topic) or ()]
                await positions.starts(consumer, partitions, group)
                n_partitions = len(partitions)
            return spec.name, n_partitions
        finally:
            await closed(consumer.stop())


def _hurrying(settings: PumpSettings) -> PumpSettings:
    """Settings for an agent whose input can be given up: somebody waits for it, after silence as well."""
    return msgspec.structs.replace(settings, fetch_idle_wait_ms=None)


def _recovered(app: Any) -> bool:
    """Whether a table agent has its partitions, and its table what the changelog holds."""
    recovery = app.tables.recovery
    return bool(
        app.rebalancing_count and not app.rebalancing and recovery.completed.is_set() and not recovery.in_recovery
    )


class _Root(Service):
    """Parent of the pumps and of the apps of table agents.

    Parameters
    ----------
    apps : sequence of faust.App
        Started side by side, for each of them waits a second for nothing.
    """

    def __init__(self, apps: Sequence[Any]) -> None:
        super().__init__()
        self._apps = apps

    async def on_started(self) -> None:
        """Start the apps."""
        await asyncio.gather(*map(self.add_runtime_dependency, self._apps))


@asynccontextmanager
async def own_ports(spec: AgentSpec, settings: Any) -> AsyncIterator[Any]:
    """Ports that an agent brings itself.

    Raises
    ------
    ConfigurationError
        If it wants ports and brings none.
    """
    if spec.ports is None:
        if spec.wants_ports:
            raise ConfigurationError(
                f"agent {spec.name!r} takes ports but declares no factory; pass ports=... to @agent, an async context "
                "manager that takes the settings"
            )
        yield None
        return
    async with spec.ports(settings) as ports:
        yield ports
