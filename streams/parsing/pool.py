"""A bounded pool of child processes behind the Parser port.

A process is started when a document needs one, kept for the next, and replaced after a number of documents, after a
timeout and after it died. A document whose process dies gets a second one, in case it was not its fault; then it is
refused. Nothing here runs a parser in the worker itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from millrace.errors import Unreadable
from millrace.parsed import ParsedSource
from streams.parsing.frames import Reply
from streams.parsing.language import language
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.process import COMMAND, ChildProcess, Died
from streams.parsing.reading import require_known

_TRIES = 2


class ParserPool:
    """Parses documents, `limits.processes` at a time, in the order in which they came.

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

    def __init__(self, limits: ParserLimits | None = None, command: Sequence[str] = COMMAND) -> None:
        self.limits = limits or ParserLimits()
        self.n_started = 0
        self._command = command
        self._room = asyncio.Semaphore(self.limits.processes)
        self._idle: list[ChildProcess] = []
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the processes that wait for work."""
        return [child.pid for child in self._idle]

    async def start(self) -> None:
        """Nothing yet: a corpus of plain text never needs a process."""

    async def stop(self) -> None:
        """End all processes."""
        self._closed = True
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.kill() for child in idle))

    def language(self, text: str) -> str:
        """Main language of a text that needs no parser; see `streams.parsing.language`."""
        return language(text)

    async def parse(self, content: Callable[[], Awaitable[bytes]], media_type: str) -> ParsedSource:
        """Parse a document.

        Parameters
        ----------
        content : callable
            Fetches the document; called when its turn has come, so that those that wait take no memory.
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
        except Refused as refused:
            raise Unreadable(refused.reason, refused.message) from refused
        async with self._room:
            data = await content()
            if len(data) > self.limits.max_bytes:
                message = (
                    f"content has {len(data)} bytes, at most {self.limits.max_bytes} are parsed; split the document"
                )
                raise Unreadable("too_large", message)
            reply = await self._parse(data, media_type)
        if reply.parsed is None:
            raise Unreadable(reply.reason, reply.message)
        return reply.parsed

    async def _parse(self, data: bytes, media_type: str) -> Reply:
        for number in range(1, _TRIES + 1):
            child = await self._take()
            try:
                reply = await child.parse(data, media_type)
            except Died as died:
                await child.kill()
                if number == _TRIES or died.reason != "crashed":
                    return Reply(reason=died.reason, message=self._why(died.reason))
            except BaseException:
                await asyncio.shield(child.kill())
                raise
            else:
                await self._give_back(child, spent=reply.last)
                return reply
        raise AssertionError("the last try returns")

    async def _take(self) -> ChildProcess:
        if self._idle:
            return self._idle.pop()
        self.n_started += 1
        return await ChildProcess.start(self.limits, self._command)

    async def _give_back(self, child: ChildProcess, *, spent: bool) -> None:
        if spent or self._closed or child.n_documents >= self.limits.documents_per_process:
            await child.kill()
        else:
            self._idle.append(child)

    def _why(self, reason: str) -> str:
        limits = self.limits
        return {
            "too_slow": f"parsing took over {limits.wall_s:g} s, or {limits.cpu_s} s of computing; split the document",
            "too_much_memory": f"parsing took more than {limits.memory_bytes} bytes of memory; split the document",
            "too_large": f"the text of the document is over {limits.max_text_chars} characters; split the document",
        }.get(reason, "the parser ended without an answer, twice; the document may be damaged: write it anew")
