"""One child process, seen from the worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from inference.injection.frames import LENGTH, READY
from inference.injection.limits import MIB, ScannerLimits
from millrace.confined.process import ConfinedProcess
from millrace.findings import Scan

COMMAND: Final = (sys.executable, "-m", "inference.injection.child")
_START_S: Final = 120.0


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

    def __init__(self, process: ConfinedProcess, limits: ScannerLimits) -> None:
        self._process = process
        self._limits = limits
        self.n_windows = 0

    @classmethod
    async def start(cls, limits: ScannerLimits, command: Sequence[str] = COMMAND) -> ChildProcess:
        """Start one.

        Raises
        ------
        Unavailable
            If it does not come up.
        """
        process = await ConfinedProcess.start(command, limits, READY, what="scanner", within_s=_START_S)
        return cls(process, limits)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

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
            ended_by = await self._process.ended_by()
            raise Died("too_slow" if ended_by == signal.SIGPROF else "crashed") from error

    async def _exchange(self, window: bytes) -> Scan:
        pipe, replies = self._process.input, self._process.output
        pipe.write(LENGTH.pack(len(window)) + window)
        await pipe.drain()
        (n_bytes,) = LENGTH.unpack(await replies.readexactly(LENGTH.size))
        if n_bytes > MIB:
            raise Died("crashed")
        return msgspec.msgpack.decode(await replies.readexactly(n_bytes), type=Scan)

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        await self._process.kill()
