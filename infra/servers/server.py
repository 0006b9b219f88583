"""A server on loopback as a process: started on ports that are free, waited for, ended again."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Final, Self

from infra.launch.ports import HOST, free_ports
from infra.launch.processes import ProcessRecord, spawn, tail
from millrace.errors import Unavailable

_ATTEMPTS: Final = 3
_POLL_S: Final = 0.1
_HTTP_TIMEOUT_S: Final = 1.0


def serves(port: int, path: str) -> bool:
    """Whether a server on loopback answers a GET with 200 within a second."""
    connection = HTTPConnection(HOST, port, timeout=_HTTP_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


class Server(ABC):
    """One server; it keeps its data in its folder, so it may be ended, even killed, and started again.

    Subclasses name their `name` (role in ``stack.json``), `title` (for messages) and `port_names`, and implement
    `_command` and `_ready`.

    Parameters
    ----------
    folder : Path
        Holds the server's settings, log and data; created if missing.
    environment : mapping of str to str
        All of the environment of its process.
    ports : mapping of str to int, optional
        Fixed ports by name; the others are chosen at the first start and kept for the life of this object.
    timeout_s : float
        How long a start may take, in seconds.
    on_spawn : callable, optional
        Told of the process as soon as it exists, before it is ready.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    inner_ports: ClassVar[tuple[str, ...]] = ()
    """Those that no client knows: chosen anew at each start."""
    version: str = ""
    """Release of its program."""
    port_setting: ClassVar[str] = ""
    """The setting that fixes the port, for messages."""
    grace_s: ClassVar[float] = 30.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    """What ends it in order."""
    taken_signs: ClassVar[tuple[str, ...]] = ("Address already in use", "address already in use")
    """What its log says when a port is taken."""

    def __init__(
        self,
        folder: Path,
        *,
        environment: Mapping[str, str],
        ports: Mapping[str, int] | None = None,
        timeout_s: float = 60.0,
        on_spawn: Callable[[ProcessRecord], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self.ports: dict[str, int] = dict(ports or {})
        self._fixed = frozenset(self.ports)
        self._timeout_s = timeout_s
        self._on_spawn = on_spawn
        self._process: ProcessRecord | None = None

    @abstractmethod
    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        """Program and arguments; also writes what the server reads at its start."""

    @abstractmethod
    def _ready(self, ports: Mapping[str, int]) -> bool:
        """Ask once whether it serves; answer within about a second."""

    def _variables(self, ports: Mapping[str, int]) -> Mapping[str, str]:  # noqa: ARG002 - for those that need it
        """Further variables of its environment."""
        return {}

    @property
    def process(self) -> ProcessRecord:
        """The running process.

        Raises
        ------
        Unavailable
            It does not run.
        """
        if self._process is None:
            raise Unavailable(f"{self.title} does not run; call start()")
        return self._process

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.alive

    @property
    def log(self) -> Path:
        """The file that receives its output."""
        return self._folder / "server.log"

    def address(self, port: str) -> str:
        """``host:port`` of a port by its name."""
        return f"{HOST}:{self.ports[port]}"

    def start(self) -> Self:
        """Start it and wait until it serves.

        Raises
        ------
        Unavailable
            It ended at once or was not ready in time; the message carries the end of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in range(_ATTEMPTS):
            kept = {name: port for name, port in self.ports.items() if name not in self.inner_ports}
            chosen = dict(zip(self.port_names, free_ports(len(self.port_names)), strict=True)) | kept
            seen = self.log.stat().st_size if self.log.exists() else 0
            environment = self._environment | dict(self._variables(chosen))
            self._process = spawn(self.name, self._command(chosen), self.log, environment, stop_signal=self.stop_signal)
            try:
                self._on_spawn(self._process)
                if self._wait_ready(chosen):
                    self.ports = chosen
                    return self
            except BaseException:
                self.kill()
                raise
            self.kill()
            # Another process may have taken a chosen port in between; then, and only then, another try makes sense.
            said = self.log.read_bytes()[seen:].decode(errors="replace")
            taken = any(sign in said for sign in self.taken_signs)
            if taken and kept:
                self._refuse_taken(kept)
            if not taken or attempt == _ATTEMPTS - 1:
                break
        raise Unavailable(
            f"{self.title} was not ready within {self._timeout_s:g} s; its log {self.log} ends with:\n{tail(self.log)}"
        )

    def stop(self) -> None:
        """End it in order; it keeps its data and, for this object, its ports."""
        if self._process is not None:
            self._process.end(self.grace_s)
            self._process = None

    def kill(self) -> None:
        """End it with SIGKILL, as a fault."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _refuse_taken(self, kept: Mapping[str, int]) -> None:
        ports = ", ".join(str(port) for port in kept.values())
        remedy = f", or set `{self.port_setting}` to another one (0 chooses)" if self._fixed else ""
        raise Unavailable(
            f"{self.title} cannot listen on port {ports} of {HOST}: it is in use; end the process that has it{remedy}"
        )

    def _wait_ready(self, ports: Mapping[str, int]) -> bool:
        """Whether it serves before it ends or the time is up."""
        deadline = time.monotonic() + self._timeout_s
        while self._process is not None and self._process.alive and time.monotonic() < deadline:
            if self._ready(ports):
                return True
            time.sleep(_POLL_S)
        return False
