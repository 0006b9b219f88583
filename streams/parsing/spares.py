"""Child processes that wait for a document, and those that are on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streams.parsing.limits import ParserLimits
from streams.parsing.process import COMMAND, ChildProcess


class Spares:
    """Starts processes, keeps them between documents, and ends them after their number of documents.

    Parameters
    ----------
    limits : ParserLimits
        What a document may cost.
    command : sequence of str
        Starts a child process; the limits follow as JSON.

    Attributes
    ----------
    n_started : int
        Processes started so far.
    """

    def __init__(self, limits: ParserLimits, command: Sequence[str] = COMMAND) -> None:
        self.n_started = 0
        self._limits = limits
        self._command = command
        self._idle: list[ChildProcess] = []
        self._coming: set[asyncio.Task[ChildProcess]] = set()
        self._n_busy = 0
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of those that wait."""
        return [child.pid for child in self._idle]

    def prepare(self, n_documents: int) -> None:
        """Start as many as will be needed, so that no document waits for a start after it has waited for room."""
        n_wanted = min(n_documents, self._limits.processes + self._limits.slow_processes)
        for _ in range(n_wanted - self._n_busy - len(self._idle) - len(self._coming)):
            task = asyncio.create_task(self._start())
            self._coming.add(task)
            task.add_done_callback(self._came)

    async def take(self) -> ChildProcess:
        """Get one for a document; it is to be given back or dropped.

        Raises
        ------
        Unavailable
            If it does not start.
        """
        self._n_busy += 1
        try:
            if self._idle:
                return self._idle.pop()
            return await (self._coming.pop() if self._coming else self._start())
        except BaseException:
            self._n_busy -= 1
            raise

    async def give_back(self, child: ChildProcess, *, spent: bool) -> None:
        """Keep one for the next document, unless it is spent."""
        if spent or self._closed or child.n_documents >= self._limits.documents_per_process:
            await self.drop(child)
        else:
            self._n_busy -= 1
            self._idle.append(child)

    async def drop(self, child: ChildProcess) -> None:
        """End one that is not to be used again."""
        try:
            await child.kill()
        finally:
            self._n_busy -= 1

    async def stop(self) -> None:
        """End all that wait; those at work end when they are given back."""
        self._closed = True
        coming, self._coming = self._coming, set()
        for task in coming:
            task.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill() for child in idle))

    async def _start(self) -> ChildProcess:
        self.n_started += 1
        return await ChildProcess.start(self._limits, self._command)

    def _came(self, task: asyncio.Task[ChildProcess]) -> None:
        if task not in self._coming:
            return  # somebody waits for it
        self._coming.discard(task)
        # Why one did not start is told to the document that needs it, which tries again.
        if not task.cancelled() and task.exception() is None:
            self._idle.append(task.result())
