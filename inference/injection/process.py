"""One child process, seen from the worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import msgspec

from inference.injection.frames import LENGTH, READY
from inference.injection.limits import MIB, ScannerLimits
from millrace.errors import Unavailable
from millrace.findings import Scan

COMMAND: Final = (sys.executable, "-m", "inference.injection.child")
_START_S: Final = 120.0
_CHECKOUT: Final = Path(__file__).parents[2]


class Died(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, reason: Literal["too_slow", "stalled", "crashed"]) -> None:
        super().__init__(reason)
        self.reason = reason

    @property
    def final(self) -> bool:
        """Whether it would end so another time; a process that only waited for the processor may not."""
        return self.reason != "stalled"


class ChildProcess:
    """A child process that scans; make it with `start`.

    Attributes
    ----------
    n_windows : int
        Windows it was given.
    """

    def __init__(self, process: asyncio.subprocess.Process, limits: ScannerLimits) -> None:
        self._process = process
        self._limits = limits
        self.n_windows = 0

    @classmethod
    async def start(cls, limits: ScannerLimits, command: Sequence[str] = COMMAND) -> ChildProcess:
        """Start one, with an environment of its own: none of this process's secrets.

        Raises
        ------
        Unavailable
            If it does not come up.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            msgspec.json.encode(limits).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PYTHONPATH": str(_CHECKOUT), "LC_ALL": "C.UTF-8"},
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the worker, which ends its children in order
        )
        child = cls(process, limits)
        try:
            async with asyncio.timeout(_START_S):
                await child._output.readexactly(len(READY))
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await child.kill()
            message = f"the scanner process {' '.join(command)} does not start; run `make install`"
            raise Unavailable(message) from error
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def _output(self) -> asyncio.StreamReader:
        if self._process.stdout is None:
            raise ValueError("the process was started without a pipe")
        return self._process.stdout

    async def scan(self, window: str) -> Scan:
        """Scan a window; whatever goes wrong in between, the process is not to be used again.

        Raises
        ------
        Died
            With a reason: ``too_slow`` (computing), ``stalled`` (waiting) or ``crashed``.
        """
        self.n_windows += 1
        try:
            async with asyncio.timeout(self._limits.wall_s):
                return await self._exchange(window.encode("utf-8", "surrogatepass"))
        except TimeoutError as error:
            raise Died("stalled") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            ended_by = -await self._process.wait()
            raise Died("too_slow" if ended_by == signal.SIGPROF else "crashed") from error

    async def _exchange(self, window: bytes) -> Scan:
        pipe = self._process.stdin
        if pipe is None:
            raise ValueError("the process was started without a pipe")
        pipe.write(LENGTH.pack(len(window)) + window)
        await pipe.drain()
        (n_bytes,) = LENGTH.unpack(await self._output.readexactly(LENGTH.size))
        if n_bytes > MIB:
            raise Died("crashed")
        return msgspec.msgpack.decode(await self._output.readexactly(n_bytes), type=Scan)

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
            with suppress(ConnectionError):
                await self._process.stdin.wait_closed()
