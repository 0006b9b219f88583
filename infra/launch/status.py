"""What runs in a home folder, and whether it is well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.launch.broker import broker_connection
from infra.launch.gateways import gateway_url
from infra.launch.home import read_format
from infra.launch.processes import ProcessRecord
from infra.launch.profiles import parts_of
from infra.launch.servers import Part
from infra.launch.stack import Stack, read_stack
from infra.launch.workers import read_report
from infra.settings import Settings

_SILENT: Final = "runs, but gives no metadata"
StackState = Literal["running", "degraded", "stopped"]


@dataclass(frozen=True)
class ProcessStatus:
    """One process.

    Attributes
    ----------
    name : str
        Its role.
    pid : int
        Process id.
    state : str
        ``ready``, ``starting``, ``failed``, or ``ended`` when it is gone.
    detail : str
        What it says of itself.
    memory_mb : float
        Resident memory in MiB; 0 when it is gone.
    log : str
        Where its output goes.
    """

    name: str
    pid: int
    state: str
    detail: str
    memory_mb: float
    log: str


@dataclass(frozen=True)
class StackStatus:
    """A stack.

    Attributes
    ----------
    state : {"running", "degraded", "stopped"}
        ``degraded`` when a process is gone or not ready, or the broker does not answer.
    broker_answers : bool
        Whether the broker hands out metadata.
    processes : tuple of ProcessStatus
        Broker first.
    stack : Stack or None
        What ``stack.json`` says; None when nothing runs.
    """

    state: StackState
    broker_answers: bool
    processes: tuple[ProcessStatus, ...]
    stack: Stack | None


def read_status(settings: Settings, timeout_s: float = 3.0, parts: Sequence[Part] | None = None) -> StackStatus:
    """Look at the processes and ask the broker.

    Parameters
    ----------
    settings : Settings
        Names the home folder and, for a broker of the user's, how to reach it.
    timeout_s : float
        How long the broker may take to answer, in seconds.
    parts : sequence of Part, optional
        Other servers than those of the profile.

    Raises
    ------
    ConfigurationError
        The home folder or its ``stack.json`` was written by a newer release or is damaged.
    """
    read_format(settings.home)
    stack = read_stack(settings.home)
    if stack is None:
        return StackStatus("stopped", broker_answers=False, processes=(), stack=None)
    answers = (stack.broker is None or stack.broker.alive) and _answers(settings, stack, timeout_s)
    known = {part.name: part for part in (parts_of(settings) if parts is None else parts)}
    processes = tuple(
        _process(settings, stack, record, known.get(record.name), answers=answers) for record in stack.processes
    )
    if not answers and all(process.state == "ended" for process in processes):
        state: StackState = "stopped"
    else:
        state = "running" if answers and all(process.state == "ready" for process in processes) else "degraded"
    return StackStatus(state, answers, processes, stack)


def _answers(settings: Settings, stack: Stack, timeout_s: float) -> bool:
    client = AdminClient({**broker_connection(settings, stack.bootstrap).librdkafka(), "log_level": 0})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def _process(
    settings: Settings, stack: Stack, record: ProcessRecord, part: Part | None, *, answers: bool
) -> ProcessStatus:
    memory_mb = record.memory_mb()
    if memory_mb is None:
        return ProcessStatus(record.name, record.pid, "ended", f"see {record.log}", 0.0, record.log)
    state, detail = "ready", ""
    if record.role == "broker":
        state, detail = ("ready", stack.versions.get("kafka", "in memory")) if answers else ("failed", _SILENT)
    elif record.role == "worker":
        report = read_report(settings.home, record)
        state, detail = report.state, report.detail
    elif record.role == "gateway":
        report = read_report(settings.home, record)
        state, detail = report.state, gateway_url(settings, report.port) if report.port else report.detail
    elif record.role in ("server", "database"):
        ports = ", ".join(f"{name} {port}" for name, port in stack.ports.get(record.name, {}).items())
        unwell = part.unwell(settings, stack) if part else ""
        state, detail = ("failed", unwell) if unwell else ("ready", f"{stack.versions.get(record.name, '')}, {ports}")
    return ProcessStatus(record.name, record.pid, state, detail, memory_mb, record.log)
