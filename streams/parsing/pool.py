"""A bounded pool of child processes behind the Parser port, with a lane for slow documents.

Every document begins in the quick lane. One that takes longer than a slice goes on in the slow lane where that has
room, with its process; else its process is ended, and it begins anew when the slow lane has room. So a quick document
waits for slices of those before it, never for the whole of a slow one.

A process is started when a document comes that may need one, kept for the next, and replaced after a number of
documents, after a timeout and after it died. A document whose process dies gets a second one, in case it was not its
fault; then it is refused. Nothing here runs a parser in the worker itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Self

from millrace.errors import Unreadable
from millrace.parsed import ParsedSource
from streams.parsing.frames import Reply
from streams.parsing.language import language
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.process import COMMAND, Died, Displaced, MayStay
from streams.parsing.reading import require_known
from streams.parsing.spares import Spares

_TRIES = 2
Content = Callable[[], Awaitable[bytes]]


class ParserPool:
    """Parses documents, in the order in which they came as long as they are quick.

    Parameters
    ----------
    limits : ParserLimits
        What a document may cost, and how many are parsed at a time.
    command : sequence of str
        Starts a child process; the limits follow as JSON.
    """

    def __init__(self, limits: ParserLimits | None = None, command: Sequence[str] = COMMAND) -> None:
        self.limits = limits or ParserLimits()
        self._spares = Spares(self.limits, command)
        self._quick = asyncio.Semaphore(self.limits.processes)
        self._slow = asyncio.Semaphore(self.limits.slow_processes)
        self._n_documents = 0

    @property
    def n_started(self) -> int:
        """Processes started so far."""
        return self._spares.n_started

    @property
    def pids(self) -> list[int]:
        """Process ids of the processes that wait for work."""
        return self._spares.pids

    async def start(self) -> None:
        """Nothing yet: a corpus of plain text never needs a process."""

    async def stop(self) -> None:
        """End all processes."""
        await self._spares.stop()

    def language(self, text: str) -> str:
        """Main language of a text that needs no parser; see `streams.parsing.language`."""
        return language(text)

    async def parse(self, content: Content, media_type: str) -> ParsedSource:
        """Parse a document.

        Parameters
        ----------
        content : callable
            Fetches the document; called when its turn has come, so that those that wait take no memory, and once more
            if it begins anew in the slow lane.
        media_type : str
            Its media type.

        Raises
        ------
        Unreadable
            If it cannot be read; its `reason` is bounded.
        Unavailable
            If no child process starts.
        """
        try:
            require_known(media_type)
            reply = await self._read(content, media_type)
        except Refused as refused:
            raise Unreadable(refused.reason, refused.message) from refused
        if reply.parsed is None:
            raise Unreadable(reply.reason, reply.message)
        return reply.parsed

    async def _read(self, content: Content, media_type: str) -> Reply:
        # Suppressed, not caught: an exception at hand would hold the document while it waits.
        with suppress(Displaced), self._expected():
            async with _Place(self._quick) as place:
                return await self._try(content, media_type, lambda: place.move(self._slow))
        async with self._slow:
            with self._expected():
                return await self._try(content, media_type, None)

    @contextmanager
    def _expected(self) -> Iterator[None]:
        """Count a document that needs a process now or soon; where it has to wait, processes start meanwhile."""
        self._n_documents += 1
        if self._quick.locked():
            self._spares.prepare(self._n_documents)
        try:
            yield
        finally:
            self._n_documents -= 1

    async def _try(self, content: Content, media_type: str, may_stay: MayStay | None) -> Reply:
        data = await content()
        if len(data) > self.limits.max_bytes:
            message = f"content has {len(data)} bytes, at most {self.limits.max_bytes} are parsed; split the document"
            raise Refused("too_large", message)
        for number in range(1, _TRIES + 1):
            child = await self._spares.take()
            try:
                reply = await child.parse(data, media_type, may_stay)
            except Died as died:
                await self._spares.drop(child)
                if number == _TRIES or died.reason != "crashed":
                    return Reply(reason=died.reason, message=self._why(died.reason))
            except BaseException:
                await asyncio.shield(self._spares.drop(child))
                raise
            else:
                await self._spares.give_back(child, spent=reply.last)
                return reply
        raise AssertionError("the last try returns")

    def _why(self, reason: str) -> str:
        limits = self.limits
        return {
            "too_slow": f"parsing took over {limits.wall_s:g} s, or {limits.cpu_s} s of computing; split the document",
            "too_much_memory": f"parsing took more than {limits.memory_bytes} bytes of memory; split the document",
            "too_large": f"the text of the document is over {limits.max_text_chars} characters; split the document",
        }.get(reason, "the parser ended without an answer, twice; the document may be damaged: write it anew")


class _Place:
    """Room in one lane, which may be exchanged for room in another."""

    def __init__(self, lane: asyncio.Semaphore) -> None:
        self._lane = lane

    async def __aenter__(self) -> Self:
        await self._lane.acquire()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._lane.release()

    async def move(self, lane: asyncio.Semaphore) -> bool:
        """Change to another lane, if that has room."""
        if lane.locked():
            return False
        await lane.acquire()  # at once: there is room
        self._lane.release()
        self._lane = lane
        return True
