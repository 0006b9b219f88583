"""Start, control and end an embedded broker's process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from millrace.errors import Unavailable


@dataclass(frozen=True)
class EmbeddedBroker:
    """A running embedded broker.

    Attributes
    ----------
    bootstrap : str
        Where it speaks the Kafka protocol, ``host:port``.
    control : str
        Where it takes control requests, ``host:port``.
    pid : int
        Its process.
    log_epoch : str
        Names this life of the log: offsets from another epoch mean nothing.
    """

    bootstrap: str
    control: str
    pid: int
    log_epoch: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(
        cls, folder: Path, *, parent_pid: int | None = None, log: Path | None = None, timeout_s: float = 30.0
    ) -> Self:
        """Start the process, detached from this one's terminal, and wait until it listens.

        Parameters
        ----------
        folder : Path
            Receives the ready file ``broker.json`` and, unless `log` is given, ``broker.log``; created if missing.
        parent_pid : int, optional
            The broker ends when this process does; without it, it stays until stopped.
        timeout_s : float
            How long to wait for it, in seconds.

        Raises
        ------
        Unavailable
            It ended at once or was not ready in time; the message carries the end of its log.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ready_file, log = folder / "broker.json", log or folder / "broker.log"
        ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "streams.embedded_broker", "--ready-file", str(ready_file)]
        if parent_pid is not None:
            command += ["--parent-pid", str(parent_pid)]
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - this module's own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        deadline = time.monotonic() + timeout_s
        while not ready_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                raise Unavailable(
                    f"embedded broker: not ready within {timeout_s:g} s; its log {log} ends with: {_tail(log)!r}"
                )
            time.sleep(0.01)
        return cls(**json.loads(ready_file.read_text()), process=process)

    def create_topic(self, name: str, partitions: int) -> bool:
        """Create a topic with an exact number of partitions; False when it exists already (with any number).

        Raises
        ------
        Unavailable
            The broker refused it or does not answer.
        """
        return create_topic(self.control, name, partitions)

    def advertise(self, port: int) -> None:
        """Name another loopback port to clients (of a proxy in front of the broker); it still listens on its own.

        Raises
        ------
        Unavailable
            The broker refused it or does not answer.
        """
        _ask(self.control, {"advertise": port})

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the process with SIGTERM, after `timeout_s` with SIGKILL; everything in it is gone."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process with SIGKILL, as a fault."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def create_topic(control: str, name: str, partitions: int) -> bool:
    """Create a topic through a broker's control port; False when it exists already.

    Raises
    ------
    Unavailable
        The broker refused it or does not answer.
    """
    return bool(_ask(control, {"create_topic": name, "partitions": partitions})["created"])


def _ask(control: str, request: dict[str, Any]) -> dict[str, Any]:
    host, _, port = control.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps(request).encode() + b"\n")
            lines.flush()
            answer: dict[str, Any] = json.loads(lines.readline())
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"embedded broker: no answer at its control port {control} ({error}); is its process running? "
            "see `python -m infra status`"
        ) from error
    if "error" in answer:
        raise Unavailable(answer["error"])
    return answer


def _tail(log: Path, n_bytes: int = 2000) -> str:
    with log.open("rb") as content:
        content.seek(max(0, os.fstat(content.fileno()).st_size - n_bytes))
        return content.read().decode(errors="replace").strip()
