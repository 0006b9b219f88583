"""Who is next: one place for each child process, given to the most urgent of those that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Job:
    """A text that is being scanned, for all who asked for it.

    Attributes
    ----------
    rank : int
        Rank of the most urgent of them; the lowest wins.
    """

    def __init__(self, rank: int, number: int) -> None:
        self.rank = rank
        self.number = number


class Turns:
    """Places for a number of jobs at a time.

    Parameters
    ----------
    n_places : int
        Jobs at a time.
    """

    def __init__(self, n_places: int) -> None:
        self._n_free = n_places
        self._waiting: list[tuple[Job, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for a place, and hold it."""
        if self._n_free and not self._waiting:
            self._n_free -= 1
        else:
            await self._wait(job)
        try:
            yield
        finally:
            self._n_free += 1
            self._call_next()

    async def _wait(self, job: Job) -> None:
        called = asyncio.get_running_loop().create_future()
        entry = (job, called)
        self._waiting.append(entry)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self._n_free += 1
                self._call_next()
            elif entry in self._waiting:
                self._waiting.remove(entry)
            raise

    def _call_next(self) -> None:
        while self._n_free and self._waiting:
            entry = min(self._waiting, key=lambda waiting: (waiting[0].rank, waiting[0].number))
            self._waiting.remove(entry)
            if not entry[1].done():
                self._n_free -= 1
                entry[1].set_result(None)
