"""`up` and `down`: from nothing to a running stack and back, each as often as one likes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection, embedded_broker, start_broker
from infra.launch.gateways import start_gateways, wait_gateways
from infra.launch.home import held, prepare_home
from infra.launch.processes import ProcessRecord, Role, end_all
from infra.launch.profiles import PARTS, parts_of
from infra.launch.registry import with_registry
from infra.launch.rights import with_rights
from infra.launch.servers import Part, start_servers
from infra.launch.stack import Stack, read_stack, write_stack
from infra.launch.store_note import check_store
from infra.launch.topics import topic_drifts
from infra.launch.unlisted import left_behind
from infra.launch.workers import report_path, start_worker, wait_ready
from infra.settings import Loaded, Settings
from millrace.errors import ConfigurationError
from millrace.topics import CATALOGUE
from streams.admin import create_topics, plan_topics, touch_topics

Progress = Callable[[str], None]
SeedEmbedded = Callable[[Settings, Stack], int]
"""Republishes the visibility topics from the table on disk to a new embedded log; returns the number of records."""

WORKER_GRACE_S: Final = 15.0
_SERVER_GRACE_S: Final = 30.0
_ENDED: Final[tuple[tuple[Role, ...], ...]] = (("gateway",), ("worker",), ("server",), ("broker", "database"))
"""Those that write before those that are written to."""


@dataclass(frozen=True)
class Up:
    """What `up` found or did.

    Attributes
    ----------
    stack : Stack
        What runs now.
    joined : bool
        Whether the broker ran already.
    started : tuple of str
        Names of the processes that were started.
    """

    stack: Stack
    joined: bool
    started: tuple[str, ...]


def up(
    loaded: Loaded,
    *,
    seed: SeedEmbedded | None = None,
    worker_command: Sequence[str] | None = None,
    parts: Sequence[Part] | None = None,
    progress: Progress = lambda _: None,
) -> Up:
    """Start what is not running yet (broker, topics, registry, workers), wait until all are ready, leave them running.

    Parameters
    ----------
    loaded : Loaded
        Settings.
    seed : callable, optional
        Called once for each new embedded log, before any worker starts.
    worker_command : sequence of str, optional
        Another program than ``python -m infra worker``.
    parts : sequence of Part, optional
        Other servers than those of the profile.
    progress : callable
        Receives a line at each step.

    Raises
    ------
    ConfigurationError
        The home folder belongs to a stack of another profile or a newer release, or a part is not installed.
    Unavailable
        A process did not become ready. What this call started is ended again.
    """
    settings = loaded.settings
    prepare_home(settings.home)
    with held(settings.home, progress=progress):
        found = _usable(settings, progress)
        stack = found or _new_log(settings, seed, progress)
        already = frozenset(record.name for record in found.processes) if found else frozenset[str]()
        try:
            stack = _with_servers(settings, stack, parts_of(settings) if parts is None else parts, progress)
            stack = _with_workers(loaded, start_gateways(loaded, stack), worker_command, progress)
            stack = wait_gateways(settings, stack, progress)
        except BaseException:
            current = read_stack(settings.home) or stack
            _end([record for record in current.processes if record.name not in already], progress)
            _forget(settings, current, keep=already)
            raise
        started = tuple(record.name for record in stack.processes if record.name not in already)
        return Up(stack, joined=found is not None, started=started)


def down(
    settings: Settings, progress: Progress = lambda _: None, *, worker_grace_s: float = WORKER_GRACE_S
) -> list[str]:
    """End gateways, workers, then the servers; data stays.

    Only processes of ``stack.json`` with the same start time are touched.

    Parameters
    ----------
    settings : Settings
        Names the home folder.
    progress : callable
        Receives a warning for each process that had to be killed.
    worker_grace_s : float
        Time between SIGTERM and SIGKILL for workers, in seconds.

    Returns
    -------
    list of str
        Names of the processes that ran; empty when nothing did.
    """
    if not settings.home.is_dir():
        return []
    prepare_home(settings.home)
    with held(settings.home, progress=progress):
        stack = read_stack(settings.home)
        ended = _end_left_behind(settings, stack, progress)
        if stack is None:
            return ended
        running = [record for record in stack.processes if record.alive]
        _end(running, progress, worker_grace_s)
        for part in PARTS:
            if part.name in stack.ports:
                part.clean(settings.home / part.name)
        _forget(settings, stack)
        return [*ended, *(record.name for record in running)]


def _usable(settings: Settings, progress: Progress) -> Stack | None:
    """The stack that runs here; None when there is none, after what a broken one left has been ended."""
    stack = read_stack(settings.home)
    _end_left_behind(settings, stack, progress)
    if stack is None:
        return None
    running = [record for record in stack.processes if record.alive]
    if running and stack.profile != settings.profile:
        holders = ", ".join(f"{record.name} {record.pid}" for record in running)
        raise ConfigurationError(
            f"{settings.home} is held by a stack of profile {stack.profile!r} since {stack.started_at} (processes: "
            f"{holders}), and profile {settings.profile!r} was asked for; end it with `python -m infra down`, "
            "or choose another folder with --home"
        )
    same_broker = settings.bootstrap == stack.bootstrap if stack.broker is None else not settings.bootstrap
    if same_broker and all(record.alive for record in stack.brokers):
        return replace(stack, processes=tuple(running))
    if running:
        progress("the broker of this stack is gone: ending what it left, then starting anew")
        _end(running, progress)
    _forget(settings, stack)
    return None


def _end_left_behind(settings: Settings, stack: Stack | None, progress: Progress) -> list[str]:
    records = left_behind(settings.home, stack.processes if stack else ())
    for record in records:
        progress(f"ending {record.name} {record.pid} that an interrupted `up` left")
    _end(records, progress)
    return [record.name for record in records]


def _new_log(settings: Settings, seed: SeedEmbedded | None, progress: Progress) -> Stack:
    """Start the broker with its topics; with the embedded one, seed its empty log."""
    stack = start_broker(settings, progress)
    try:
        write_stack(stack)
        stack = replace(stack, partitions=_create_topics(settings, stack))
        write_stack(stack)
        if settings.profile == "embedded" and seed is not None and (n_records := seed(settings, stack)):
            progress(f"seeded the new log with {n_records} records from the visibility table")
    except BaseException:
        _end(stack.processes, progress)
        _forget(settings, stack)
        raise
    progress(f"broker ready at {stack.bootstrap}, {len(stack.partitions)} topics")
    return stack


def _create_topics(settings: Settings, stack: Stack) -> dict[str, int]:
    plans = plan_topics(CATALOGUE.values(), settings.partitions.model_dump())
    client = AdminClient(broker_connection(settings, stack.bootstrap).librdkafka())
    if settings.profile == "embedded":
        return touch_topics(client, plans, create=embedded_broker(stack).create_topic)
    return create_topics(client, plans)


def _with_servers(settings: Settings, stack: Stack, parts: Sequence[Part], progress: Progress) -> Stack:
    """Start the servers that are missing, and give broker and registry what the workers need."""
    check_store(settings, stack)
    for drift in topic_drifts(settings, stack):
        progress(f"warning: topic {drift}; set it back with `python -m infra topics --repair`, or leave it on purpose")
    stack = start_servers(settings, with_rights(settings, stack, progress), parts, progress)
    write_stack(stack)
    return with_registry(settings, stack, progress)


def _with_workers(loaded: Loaded, stack: Stack, command: Sequence[str] | None, progress: Progress) -> Stack:
    """Start the workers that are missing; each is in ``stack.json`` before the next one starts."""
    settings = loaded.settings
    running = {record.name for record in stack.processes}
    for number in range(1, settings.worker.count + 1):
        if (name := f"worker-{number}") not in running:
            stack = replace(stack, processes=(*stack.processes, start_worker(loaded, name, command)))
            write_stack(stack)
    wait_ready(settings.home, stack.workers, settings.worker.ready_timeout_s)
    if stack.workers:
        progress(f"{len(stack.workers)} worker{'s' if len(stack.workers) > 1 else ''} ready")
    return stack


def _end(records: Sequence[ProcessRecord], progress: Progress, worker_grace_s: float = WORKER_GRACE_S) -> None:
    for roles in _ENDED:
        grace_s = _SERVER_GRACE_S if set(roles).isdisjoint({"gateway", "worker"}) else worker_grace_s
        for name in end_all([record for record in records if record.role in roles], grace_s):
            progress(f"warning: {name} did not end within {grace_s:g} s of being asked to, and was killed")


def _forget(settings: Settings, stack: Stack, keep: frozenset[str] = frozenset()) -> None:
    """Take ended processes out of ``stack.json``; without any left, remove the file."""
    for record in stack.processes:
        if record.name not in keep:
            report_path(settings.home, record.name).unlink(missing_ok=True)
    left = tuple(record for record in stack.processes if record.name in keep)
    ports = {name: of for name, of in stack.ports.items() if not name.startswith("gateway-") or name in keep}
    if left:
        write_stack(replace(stack, processes=left, ports=ports))
    else:
        (settings.home / "stack.json").unlink(missing_ok=True)
