"""What the workers of this machine say of themselves: their report files and their health ports."""

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

from millrace.connection import Connection, Process

_LOOPBACK = "127.0.0.1"


class WorkerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process.

    Attributes
    ----------
    state : {"ready", "starting", "failed", "stuck", "gone"}
        ``stuck`` when it is ready but has stopped to make progress, or its health port does not answer.
    detail : str
        What it says.
    lag : dict of str to int
        Records each of its agents is behind.
    """

    name: str
    pid: int
    state: Literal["ready", "starting", "failed", "stuck", "gone"]
    detail: str = ""
    lag: dict[str, int] = {}


class _Report(msgspec.Struct, frozen=True):
    pid: int
    state: Literal["ready", "starting", "failed"]
    detail: str = ""
    health_port: int = 0


def workers(connection: Connection, timeout_s: float) -> Iterator[WorkerHealth]:
    """Health of every worker that ``stack.json`` names."""
    for process in connection.processes:
        if process.name.startswith("worker-"):
            yield _health(Path(connection.home) / "run", process, timeout_s)


def running(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _health(folder: Path, process: Process, timeout_s: float) -> WorkerHealth:
    name, pid = process.name, process.pid
    if not running(pid):
        return WorkerHealth(name=name, pid=pid, state="gone", detail=f"process {pid} is gone")
    try:
        report = msgspec.json.decode((folder / f"{name}.json").read_bytes(), type=_Report)
    except (OSError, msgspec.MsgspecError):
        report = None
    if report is None or report.pid != pid:
        return WorkerHealth(name=name, pid=pid, state="starting", detail="it has reported nothing yet")
    if report.state != "ready" or not report.health_port:
        return WorkerHealth(name=name, pid=pid, state=report.state, detail=report.detail)
    try:
        ready, alive = (_get(report.health_port, path, timeout_s) for path in ("/ready", "/alive"))
        agents = _get(report.health_port, "/numbers", timeout_s)
    except (OSError, ValueError, http.client.HTTPException) as error:
        detail = f"its health port {report.health_port} does not answer: {error}"
        return WorkerHealth(name=name, pid=pid, state="stuck", detail=detail)
    lag = {agent: int(numbers.get("lag", 0)) for agent, numbers in agents.items() if isinstance(numbers, dict)}
    if not alive.get("alive"):
        return WorkerHealth(name=name, pid=pid, state="stuck", detail="it has stopped to make progress", lag=lag)
    if not ready.get("ready"):
        detail = "it does not serve now: no partitions, or its visibility table catches up"
        return WorkerHealth(name=name, pid=pid, state="starting", detail=detail, lag=lag)
    return WorkerHealth(name=name, pid=pid, state="ready", detail=report.detail, lag=lag)


def _get(port: int, path: str, timeout_s: float) -> dict[str, Any]:
    connection = http.client.HTTPConnection(_LOOPBACK, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        found = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    if not isinstance(found, dict):
        raise ValueError(f"{path} gave no JSON object")  # noqa: TRY004 - one kind of error for the caller
    return found
