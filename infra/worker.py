"""``python -m infra worker``: run agents, Millrace's own or anyone's, until SIGTERM.

The worker finds the broker in ``stack.json``, or where there is none in its settings, creates the topics of the agents
it was given, and says how it is in ``<home>/run/<name>.json`` and on a port of its own (``/ready``, ``/alive``,
``/numbers``, ``/metrics``), by default on loopback.
"""

import asyncio
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from confluent_kafka.admin import AdminClient

from infra.composition import compose
from infra.launch.broker import broker_connection, embedded_broker
from infra.launch.elsewhere import stack_of
from infra.launch.home import write_private
from infra.launch.running import load_running
from infra.launch.stack import Stack
from infra.launch.vector_store import vector_store_access
from infra.launch.workers import WorkerReport, WorkerState, report_path
from infra.logs import start_logs
from infra.metrics import CONTENT_TYPE, Metrics
from infra.observed import Watch
from infra.redaction import Redaction
from infra.settings import Settings
from infra.tracing import active_trace_id, tracing
from infra.worker_metrics import WorkerSamples, counted
from millrace.agent import CATALOGUE, AgentSpec
from millrace.cutting import split
from millrace.errors import ConfigurationError, MillraceError
from millrace.published import mask_with
from millrace.topics import Topic
from streams import health
from streams.admin import (
    DEFAULT_PARTITIONS,
    TopicPlan,
    create_topics,
    plan_topics,
    refuse_compacted,
    touch_topics,
)
from streams.pump import PumpSettings
from streams.sources.cdc import capture_agent, read_mapping
from streams.stores.objects import ContentStore
from streams.tables import changelog, changelog_config
from streams.worker import Worker, WorkerSettings

log = logging.getLogger(__name__)

_CLOSING_S: Final = 12.0
"""For what comes after the drain: offsets, groups, tables, stores."""
OWN_AGENTS: Final = ("agents.corpus", "agents.guard", "agents.learn", "agents.query", "agents.usage")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
_EMBEDDED_LEADER_MS: Final = 100
_SWITCH_S: Final = 0.001  # the loop gets the interpreter back after a millisecond from a thread that computes, not five


def worker_name(name: str) -> str:
    """Check the name of a worker, which becomes part of file names.

    Raises
    ------
    typer.BadParameter
        If it is none.
    """
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(f"{name!r} is no name of a worker; use letters, digits, '.', '_' and '-' alone")
    return name


def worker(
    *,
    agents: Annotated[
        list[str] | None, typer.Option("--agents", help="Module with agents; several allowed; default: Millrace's own")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Name of this worker, of its report and log", callback=worker_name)
    ] = "worker",
    home: Annotated[Path | None, typer.Option("--home", help="Folder of the stack; .millrace")] = None,
) -> None:
    """Run agents until SIGTERM; then what is in flight ends, offsets are committed, and the exit code is 0."""
    sys.setswitchinterval(_SWITCH_S)
    settings = load_running(home).settings
    redact = start_logs(settings, trace_id=active_trace_id)
    mask_with(redact)
    report = Report(settings.home, name, redact)
    try:
        report.write("starting", "loading agents")
        chosen = agents or settings.worker.agents
        specs = load_agents(chosen or OWN_AGENTS)
        limit_s = settings.worker.drain_timeout_ms / 1000 + _CLOSING_S
        asyncio.run(
            serve(settings, specs, report, captures=not chosen, told_to_end=partial(_end_within, limit_s, report))
        )
    except MillraceError as error:
        report.write("failed", str(error))
        log.error("worker %s failed: %s", name, error)  # noqa: TRY400 - the message says what to do; a trace does not
        raise typer.Exit(2 if isinstance(error, ConfigurationError) else 1) from error
    except Exception as error:
        report.write("failed", f"{type(error).__name__}: {error}")
        log.exception("worker %s failed", name)
        raise typer.Exit(1) from error


class Report:
    """The worker's state file, written in one step at each change."""

    def __init__(self, home: Path, name: str, redact: Redaction | None = None) -> None:
        self.name = name
        self.redact = redact or Redaction()
        self._path = report_path(home, name)
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.health_port = 0
        self.port = 0

    def write(self, state: WorkerState, detail: str = "") -> None:
        """Say where the worker stands."""
        report = WorkerReport(os.getpid(), state, self.redact(detail), self.health_port, self.port)
        write_private(self._path, msgspec.json.encode(report).decode())


def load_agents(modules: Sequence[str]) -> list[AgentSpec]:
    """Import modules and collect the agents that they, or modules below them, declare.

    Raises
    ------
    ConfigurationError
        If a module cannot be found or none declares an agent.
    """
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
                raise
            raise ConfigurationError(
                f"module {module!r} was not found; install its package or put its folder on PYTHONPATH"
            ) from error
    found = [spec for spec in CATALOGUE.values() if any(_below(spec.module, module) for module in modules)]
    if not found:
        raise ConfigurationError(f"{', '.join(modules)}: no @agent there; name the module that declares agents")
    return found


def _end_within(limit_s: float, report: Report) -> None:
    """End the process if it does not end by itself: without a broker, a client may wait for it for ever."""

    def give_up() -> None:
        message = f"gave up after {limit_s:g} s of ending in order; what was not committed is done again"
        log.error(message)
        report.write("failed", message)
        logging.shutdown()
        os._exit(1)

    timer = threading.Timer(limit_s, give_up)
    timer.daemon = True
    timer.start()


async def serve(
    settings: Settings,
    specs: Sequence[AgentSpec],
    report: Report,
    *,
    captures: bool = False,
    told_to_end: Callable[[], None] = lambda: None,
) -> None:
    """Run agents until SIGTERM or SIGINT; with `captures`, that of the mapping in the settings as well.

    `told_to_end` is called with the first of these signals.

    Raises
    ------
    StackNotFound
        If nothing runs in the home folder.
    MillraceError
        Why an agent failed for good.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stop.is_set():
            stop.set()
            told_to_end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    running: list[Worker] = []
    metrics = Metrics()
    chosen = settings.telemetry
    async with health.serve(
        lambda: running[0] if running else None,
        chosen.health_host,
        chosen.health_port,
        metrics=metrics.render,
        metrics_type=CONTENT_TYPE,
    ) as report.health_port:
        report.write("starting", "connecting")
        stack = await asyncio.to_thread(stack_of, settings)
        if captures:
            specs = [*specs, *capturing(settings)]
        await asyncio.to_thread(ensure_topics, settings, stack, specs)
        client = broker_connection(settings, stack.bootstrap, settings.kafka.principal).aiokafka()
        report.redact.add(*_drawn(settings, stack, client))
        plain = WorkerSettings(
            connection=client,
            pump=pump_settings(settings),
            cut=frozenset(settings.worker.cut),
            data=str(settings.home),
        )
        with tracing(chosen, instance=report.name, redact=report.redact) as spans:
            tracer = spans.tracer if spans is not None else None
            watch = Watch(metrics, tracer)
            async with compose(settings, stack, specs, name=report.name, client=client, watch=watch) as composition:
                started = Worker(
                    specs,
                    plain,
                    ports_for=composition.ports_for,
                    prepare=composition.prepare,
                    note=counted(
                        composition.note, [part.name for spec in specs for part in split(spec, plain.cut)], metrics
                    ),
                    codec=composition.codec,
                    watched=composition.watched,
                    tracer=tracer,
                )
                view, models = composition.tail, composition.models
                metrics.read(
                    WorkerSamples(lambda: running[0] if running else None, view=view, models=models, tracing=spans)
                )
                async with started:
                    running.append(started)
                    await _run(started, specs, report, stop)


def _drawn(settings: Settings, stack: Stack, client: Mapping[str, Any]) -> Iterator[str]:
    """Credentials that no setting holds, because the launcher drew them."""
    yield str(client.get("sasl_plain_password") or "")
    if settings.stores.kind == "weaviate":
        yield vector_store_access(settings, stack).api_key


async def _run(worker: Worker, specs: Sequence[AgentSpec], report: Report, stop: asyncio.Event) -> None:
    report.write("starting", "joining consumer groups")
    if await worker.ready_or(stop):
        running_agents = f"{len(specs)} agents: {', '.join(spec.name for spec in specs)}"
        report.write("ready", running_agents)
        log.info("ready: %s", running_agents)
        await worker.run(stop)
    log.info("stopping: what is in flight ends, offsets are committed")


def ensure_topics(settings: Settings, stack: Stack, specs: Collection[AgentSpec], *, user: str | None = None) -> None:
    """Create the topics that the agents read and write, their dead letter topics and their tables' changelogs.

    At secured nodes a worker may not; there the launcher has done so before, as `user`.
    """
    topics: dict[str, Topic] = {}
    for spec in specs:
        for part in (spec, *spec.stages):
            topics.update({topic.name: topic for topic in (*part.sources, *part.sinks)})
    groups = settings.partitions.model_dump()
    plans = plan_topics(topics.values(), groups)
    plans += plan_changelogs(settings, specs)
    connection = broker_connection(settings, stack.bootstrap, user or settings.kafka.principal)
    client = AdminClient(connection.librdkafka())
    if stack.control:
        touch_topics(client, plans, create=embedded_broker(stack).create_topic)
    else:
        create_topics(client, plans)
        refuse_compacted(client, [topic.name for topic in topics.values() if topic.read is not None])


def plan_changelogs(settings: Settings, specs: Iterable[AgentSpec]) -> list[TopicPlan]:
    """Plan the changelogs of the agents that have a table."""
    groups, pump = settings.partitions.model_dump(), pump_settings(settings)
    return [
        TopicPlan(changelog(spec, pump), groups.get(spec.sources[0].group, DEFAULT_PARTITIONS), changelog_config(spec))
        for spec in specs
        if spec.form == "keyed"
    ]


def capturing(settings: Settings) -> list[AgentSpec]:
    """The agent that reads captured tables, where the settings name a mapping."""
    mapping = settings.capture.mapping
    return [] if mapping is None else [capture_agent(read_mapping(mapping), ContentStore(settings.objects))]


def pump_settings(settings: Settings) -> PumpSettings:
    """Settings of the pumps, in their own plain form."""
    chosen = settings.worker
    names = set(PumpSettings.__struct_fields__) & set(type(chosen).model_fields)
    values: dict[str, Any] = {each: getattr(chosen, each) for each in names}
    values |= settings.fetch_waits
    if settings.profile == "embedded":
        values["leader_delay_ms"] = _EMBEDDED_LEADER_MS  # see streams.pump.membership
    return PumpSettings(**values)


def _below(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")
