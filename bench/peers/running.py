"""A peer's program as a process, and the lines that it prints."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from bench.lab import Lab
from bench.peers.environments import interpreter, versions
from bench.peers.programs.work import Job, Slow, Timed
from bench.peers.roster import Peer
from bench.readings import ReadingChecked, ReadingTaken
from infra.settings import load, process_environment
from millrace.errors import Unavailable
from millrace.schema import avro_schema, schema_id

ROOT = Path(__file__).parent.parent.parent
_POLL_S = 0.02


class Installed(msgspec.Struct, frozen=True):
    """A peer that can be run.

    Attributes
    ----------
    peer : Peer
        Which one.
    python : Path
        Of its environment.
    versions : dict of str to str
        Releases of its parts.
    """

    peer: Peer
    python: Path
    versions: Mapping[str, str]


def install(peer: Peer, progress: Callable[[str], None]) -> Installed:
    """Build the peer's environment, unless it is there.

    Raises
    ------
    ConfigurationError
        If it cannot be installed.
    """
    python = interpreter(peer.lock, load().settings.cache, progress)
    return Installed(peer, python, versions(python, peer.parts))


def job_for(lab: Lab, peer: Peer, source: str, sink: str = "", **options: Any) -> Job:
    """What a peer is told: a group and a folder of its own, and the schemas."""
    writes = avro_schema(ReadingChecked)
    return Job(
        bootstrap=lab.bootstrap, source=source, sink=sink, group=lab.fresh(peer.name),
        folder=str(lab.new_folder(peer.name)), reads=avro_schema(ReadingTaken), writes=writes,
        writes_id=schema_id(writes), variant=peer.variant, **options,
    )  # fmt: skip


class Program:
    """A running program of a peer; leaving the block kills it.

    Parameters
    ----------
    installed : Installed
        What to run.
    job : Job
        What it is told.
    """

    def __init__(self, installed: Installed, job: Job) -> None:
        self._installed = installed
        self._job = job
        self._out = Path(job.folder) / "notes.jsonl"
        self._err = Path(job.folder) / "program.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it, or start it again: notes and log go on in the same files."""
        text = msgspec.json.encode(self._job).decode()
        command = [str(self._installed.python), "-m", "bench.peers.programs", self._installed.peer.program, text]
        # Away from the checkout: some peers write files where they are started.
        environment = process_environment() | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        with self._out.open("ab") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, cwd=self._job.folder
            )
        return self

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def terminate(self, limit_s: float) -> tuple[int | None, float]:
        """SIGTERM; exit status, or None if it had to be killed after `limit_s`, and the seconds that it took."""
        assert self._process is not None  # noqa: S101 - started; told to mypy
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        status: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self._process.wait(limit_s)
        seconds = time.monotonic() - began
        self.kill()
        return status, seconds

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end of the block."""
        assert self._process is not None  # noqa: S101 - started; told to mypy
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def slow(self) -> list[int]:
        """Sequences of the slow readings that it began, in order."""
        return [note.sequence for note in self._notes() if isinstance(note, Slow)]

    async def timed(self, limit_s: float) -> Timed:
        """Wait for its sample.

        Raises
        ------
        Unavailable
            If it ends before, or takes too long.
        """
        deadline = time.monotonic() + limit_s
        while True:
            running = self.running
            for note in self._notes():
                if isinstance(note, Timed):
                    return note
            if not running or time.monotonic() > deadline:
                what = f"did not handle all readings within {limit_s:g} s" if running else "ended before its time"
                raise Unavailable(f"{self._installed.peer.title} {what}; its log ends with:\n{self.log_tail()}")
            await asyncio.sleep(_POLL_S)

    def log_tail(self) -> str:
        """The end of what it wrote to its log."""
        return self._err.read_text(errors="replace")[-1500:] if self._err.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _notes(self) -> list[Slow | Timed]:
        found: list[Slow | Timed] = []
        for line in self._out.read_bytes().split(os.linesep.encode())[:-1]:
            with contextlib.suppress(msgspec.DecodeError):  # Faust and Bytewax print lines of their own
                found.append(msgspec.json.decode(line, type=Slow | Timed))
        return found
