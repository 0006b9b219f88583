"""Processes that outlive the command which started them, and how they are found and ended again.

A process is known by its id *and* its start time, since ids are used again: only a process that matches both is
ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from millrace.errors import ConfigurationError

Role = Literal["broker", "database", "gateway", "server", "worker"]
# The kernel counts start times from boot; as wall-clock times they move by up to this when the clock is adjusted.
_SAME_START_S = 2.0


@dataclass(frozen=True)
class ProcessRecord:
    """A process as written to ``stack.json``.

    Attributes
    ----------
    name : str
        ``broker``, ``worker-1``, or the name of a server.
    pid : int
        Process id.
    create_time : float
        When it started, in unix seconds.
    log : str
        Absolute path of the file that receives its output.
    stop_signal : int
        What ends it in order.
    """

    name: str
    pid: int
    create_time: float
    log: str
    stop_signal: int = signal.SIGTERM

    @property
    def role(self) -> Role:
        """What it is to the stack."""
        if self.name.startswith("broker"):
            return "broker"
        if self.name == "postgres":
            return "database"
        if self.name.startswith("gateway-"):
            return "gateway"
        return "worker" if self.name.startswith("worker-") else "server"

    def find(self) -> psutil.Process | None:
        """The running process, or None when it has ended or its id now belongs to another one."""
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.create_time) > _SAME_START_S:
                return None
            return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else process
        except psutil.NoSuchProcess:
            return None

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.find() is not None

    def memory_mb(self) -> float | None:
        """Resident memory in MiB, with what its child processes have for themselves; None when it has ended."""
        process = self.find()
        if process is None:
            return None
        try:
            n_bytes: int = process.memory_info().rss
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found = child.memory_info()
                    n_bytes += found.rss - found.shared
        except psutil.NoSuchProcess:
            return None
        return round(n_bytes / 2**20, 1)

    def end(self, timeout_s: float) -> bool:
        """End it with its stop signal, after `timeout_s` seconds with SIGKILL.

        Returns
        -------
        bool
            False when it had to be killed.
        """
        process = self.find()
        if process is None:
            return True
        try:
            process.send_signal(self.stop_signal)
            _wait_gone(process, timeout_s)
        except psutil.TimeoutExpired:
            self.kill()
            return False
        except psutil.NoSuchProcess:
            pass
        return True

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        if process := self.find():
            try:
                process.kill()
                _wait_gone(process, 10.0)
            except psutil.NoSuchProcess:
                pass


def end_all(records: Sequence[ProcessRecord], timeout_s: float) -> list[str]:
    """End processes at the same time: its stop signal to each, after `timeout_s` seconds SIGKILL to those left.

    Returns
    -------
    list of str
        Names of those that had to be killed.
    """
    running = [(record, process) for record in records if (process := record.find())]
    for record, process in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(record.stop_signal)
    deadline = time.monotonic() + timeout_s
    return [record.name for record, _ in running if not record.end(max(0.0, deadline - time.monotonic()))]


def _wait_gone(process: psutil.Process, timeout_s: float) -> None:
    """Wait until a process has ended; one that nobody reaps counts as ended.

    Raises
    ------
    psutil.TimeoutExpired
        It still runs.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            process.wait(0.05)
        except psutil.TimeoutExpired:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
            if time.monotonic() > deadline:
                raise
        else:
            return


def spawn(
    name: str,
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    *,
    stop_signal: int = signal.SIGTERM,
) -> ProcessRecord:
    """Start a process in a session of its own, so that it survives the terminal; output is appended to `log`.

    Parameters
    ----------
    name : str
        Its role.
    command : sequence of str
        Program (a path, or a name looked up in the search path) and arguments.
    log : Path
        Receives standard output and error; private to its owner.
    environment : mapping of str to str
        All of its environment.
    stop_signal : int
        What ends it in order.

    Raises
    ------
    ConfigurationError
        The program does not exist.
    """
    program = shutil.which(command[0])
    if program is None:
        raise ConfigurationError(f"{name}: program {command[0]!r} not found; install it or put it on the search path")
    log.parent.mkdir(parents=True, exist_ok=True)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        program,
        list(command),
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # What the starter ignores or blocks (a shell's background job ignores SIGINT) is not the child's business.
        setsigmask=[],
        setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGPIPE],
    )
    return ProcessRecord(name, pid, psutil.Process(pid).create_time(), str(log.absolute()), int(stop_signal))


def tail(log: Path, n_lines: int = 8) -> str:
    """The last lines of a log, for an error message; empty when there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-n_lines:])
    except FileNotFoundError:
        return ""
