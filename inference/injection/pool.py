"""Child processes behind the TextScanner port: each content once, the most urgent first, and never for ever.

A long text is read in windows, and after each of them whoever is more urgent goes first. A window that takes too long
costs its process, and the text counts as read in part. A window whose process dies gets a second one, in case it was not
its fault.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from inference.injection.limits import ScannerLimits
from inference.injection.process import COMMAND, ChildProcess, Died
from inference.injection.quick import quick
from inference.injection.turns import Job, Turns
from inference.injection.windows import joined, windows
from millrace.errors import Unavailable
from millrace.findings import Finding, Scan

_TRIES: Final = 2


class _Flight(Job):
    """A job with its outcome."""

    def __init__(self, rank: int, number: int) -> None:
        super().__init__(rank, number)
        self.task: asyncio.Task[Scan]


class ScannerPool:
    """Looks for orders to a model; the full scan in child processes, the quick one at once.

    Parameters
    ----------
    limits : ScannerLimits
        What a text may cost, and how many are scanned at a time.
    command : sequence of str
        Starts a child process; the limits follow as JSON.
    """

    def __init__(self, limits: ScannerLimits | None = None, command: Sequence[str] = COMMAND) -> None:
        self.limits = limits or ScannerLimits()
        self._command = command
        self._turns = Turns(self.limits.processes)
        self._idle: list[ChildProcess] = []
        self._flights: dict[bytes, _Flight] = {}
        self._cache: OrderedDict[bytes, Scan] = OrderedDict()
        self._n_asked = 0
        self._starting: asyncio.Task[None] | None = None
        self._begun: set[asyncio.Task[Scan]] = set()
        self._closed = False
        self.n_started = 0
        self.n_scanned = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the processes that wait for work."""
        return [child.pid for child in self._idle]

    async def start(self) -> None:
        """Begin to start a process, which loads the rules; returns at once."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._warm())

    async def stop(self) -> None:
        """End all processes, and the scans in flight."""
        self._closed = True
        tasks: list[asyncio.Task[Scan] | asyncio.Task[None]] = [flight.task for flight in self._flights.values()]
        if self._starting is not None:
            tasks.append(self._starting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill() for child in idle))

    def quick(self, text: str) -> Sequence[Finding]:
        """Find what the fast subset of the rules finds, in this process; see `inference.injection.quick`."""
        return quick(text)

    def begin(self, text: str, rank: int) -> None:
        """Let a scan begin whose outcome will be asked for later, by `scan` with the same text."""
        task = asyncio.create_task(self.scan(text, rank))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(_told)

    async def scan(self, text: str, rank: int) -> Scan:
        """Find what all rules find; incomplete where a time limit was met.

        Parameters
        ----------
        text : str
            The text, of any length.
        rank : int
            How urgent it is, `agents.ports.Rank`; the lowest wins.

        Raises
        ------
        Unavailable
            If no child process starts, or the pool was stopped.
        """
        if self._closed:
            raise Unavailable("the scanner was stopped; start the worker again")
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        known = self._cache.get(digest)
        if known is not None:
            self._cache.move_to_end(digest)
            return known
        flight = self._flights.get(digest)
        if flight is None:
            self._n_asked += 1
            flight = self._flights[digest] = _Flight(rank, self._n_asked)
            flight.task = asyncio.create_task(self._fly(digest, text, flight))
            flight.task.add_done_callback(_told)
        flight.rank = min(flight.rank, rank)
        return await asyncio.shield(flight.task)

    async def _fly(self, digest: bytes, text: str, job: Job) -> Scan:
        try:
            scan, final = await self._read(text, job)
            if final:
                self._cache[digest] = scan
                while len(self._cache) > self.limits.cached_texts:
                    self._cache.popitem(last=False)
            return scan
        finally:
            del self._flights[digest]

    async def _read(self, text: str, job: Job) -> tuple[Scan, bool]:
        """Scan all windows; also whether the outcome would be the same another time."""
        self.n_scanned += 1
        scans: list[tuple[int, Scan]] = []
        complete, left_s = len(text) <= self.limits.max_chars, self.limits.text_s
        for start, window in windows(text, self.limits):
            async with self._turns.turn(job):
                began = time.monotonic()
                try:
                    scans.append((start, await self._scan_window(window)))
                except Died as died:
                    return joined(scans, self.limits, complete=False), died.final
                left_s -= time.monotonic() - began
            if left_s < 0:
                return joined(scans, self.limits, complete=False), False
        return joined(scans, self.limits, complete=complete), True

    async def _scan_window(self, window: str) -> Scan:
        for number in range(1, _TRIES + 1):
            child = self._idle.pop() if self._idle else await self._start()
            try:
                scan = await child.scan(window)
            except Died as died:
                await child.kill()
                if number == _TRIES or died.reason != "crashed":
                    raise
            except BaseException:
                await asyncio.shield(child.kill())
                raise
            else:
                if child.n_windows >= self.limits.windows_per_process:
                    await child.kill()
                else:
                    self._idle.append(child)
                return scan
        raise AssertionError("the last try returns")

    async def _start(self) -> ChildProcess:
        self.n_started += 1
        return await ChildProcess.start(self.limits, self._command)

    async def _warm(self) -> None:
        with suppress(Unavailable):  # told to the text that needs one, which tries again
            async with self._turns.turn(Job(rank=-1, number=0)):
                self._idle.append(await self._start())


def _told(task: asyncio.Task[Scan]) -> None:
    """Look at how a scan ended that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
