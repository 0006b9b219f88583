"""Start worker processes and wait until they say that they are ready.

A worker writes ``<home>/run/<name>.json`` in one step, each time its state changes:
``{"pid": 4711, "state": "starting" | "ready" | "failed", "detail": "..."}``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from infra.launch.processes import ProcessRecord, spawn, tail
from infra.settings import Loaded, process_environment
from millrace.errors import Unavailable

WorkerState = Literal["starting", "ready", "failed"]


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of itself.

    Attributes
    ----------
    pid : int
        Its process id; a report of another process is an old one.
    state : {"starting", "ready", "failed"}
        Where it stands.
    detail : str
        What it waits for, or why it failed and what to do.
    health_port : int
        Where it tells of its health, on loopback; 0 before it does.
    port : int
        Where a gateway listens for callers; 0 before it does, and for workers.
    """

    pid: int
    state: WorkerState
    detail: str = ""
    health_port: int = 0
    port: int = 0


def report_path(home: Path, name: str) -> Path:
    """Where the worker `name` reports."""
    return home / "run" / f"{name}.json"


def last_report(home: Path, name: str) -> WorkerReport | None:
    """What the worker `name` said last, in this life or an earlier one; None when it has said nothing."""
    try:
        return msgspec.json.decode(report_path(home, name).read_bytes(), type=WorkerReport)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def read_report(home: Path, record: ProcessRecord) -> WorkerReport:
    """What a worker says of itself; ``starting`` as long as it has said nothing."""
    report = last_report(home, record.name)
    return report if report and report.pid == record.pid else WorkerReport(record.pid, "starting")


def start_worker(loaded: Loaded, name: str, command: Sequence[str] | None = None) -> ProcessRecord:
    """Start one worker process, which finds the broker in ``stack.json``.

    Parameters
    ----------
    loaded : Loaded
        Settings; what came from flags is handed on by the environment.
    name : str
        Its name, also of its report and log.
    command : sequence of str, optional
        Another program than ``python -m infra worker``; the worker's own arguments are appended.
    """
    home = loaded.settings.home
    report_path(home, name).unlink(missing_ok=True)
    program = list(command or (sys.executable, "-m", "infra", "worker"))
    environment = process_environment(**{**loaded.flags_as_variables(), "home": str(home)})
    return spawn(name, [*program, "--name", name], home / "logs" / f"{name}.log", environment)


def wait_ready(home: Path, records: Sequence[ProcessRecord], timeout_s: float) -> None:
    """Wait until all workers are ready.

    Raises
    ------
    Unavailable
        One failed, ended, or was not ready in time; the message carries its report or the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    for record in records:
        while (report := read_report(home, record)).state != "ready":
            if report.state == "failed":
                raise Unavailable(f"{record.name} failed to start: {report.detail}; see {record.log}")
            if not record.alive:
                raise Unavailable(f"{record.name} ended while starting; {record.log} ends with:\n{_end(record)}")
            if time.monotonic() > deadline:
                waits = report.detail or "no word from it"
                raise Unavailable(
                    f"{record.name} was not ready within {timeout_s:g} s ({waits}); raise the setting "
                    f"`worker.ready_timeout_s`, or look into {record.log}, which ends with:\n{_end(record)}"
                )
            time.sleep(0.05)


def _end(record: ProcessRecord) -> str:
    return tail(Path(record.log))
