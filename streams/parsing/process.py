"""One child process, seen from the worker."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from millrace.confined.process import ConfinedProcess
from streams.parsing.frames import LOADED, READY, REPLY, REQUEST, Reply
from streams.parsing.limits import ParserLimits

COMMAND: Final = (sys.executable, "-m", "streams.parsing.child")
MayStay = Callable[[], Awaitable[bool]]
"""Whether a document may go on that has used up its slice."""
_START_S: Final = 60.0
_BYTES_PER_CHAR: Final = 48
_MARGIN: Final = 2**20
# Libraries in C and C++ abort when an allocation fails.
_REASONS: Final[dict[int, str]] = {
    signal.SIGXCPU: "too_slow",
    signal.SIGALRM: "too_slow",
    signal.SIGABRT: "too_much_memory",
}


class Died(Exception):
    """The process ended, or was ended, before it answered."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Displaced(Exception):
    """The document used up its slice and has to make room."""


class ChildProcess:
    """A child process that parses; make it with `start`.

    Attributes
    ----------
    n_documents : int
        Documents it was given.
    """

    def __init__(self, process: ConfinedProcess, limits: ParserLimits) -> None:
        self._process = process
        self._limits = limits
        self.n_documents = 0

    @classmethod
    async def start(cls, limits: ParserLimits, command: Sequence[str] = COMMAND) -> ChildProcess:
        """Start one.

        Raises
        ------
        Unavailable
            If it does not come up.
        """
        process = await ConfinedProcess.start(
            command, limits, READY, what="parser", within_s=_START_S, environment={"OPENBLAS_NUM_THREADS": "1"}
        )
        return cls(process, limits)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def parse(self, data: bytes, media_type: str, may_stay: MayStay | None = None) -> Reply:
        """Parse a document; whatever goes wrong in between, the process is not to be used again.

        Parameters
        ----------
        data, media_type : bytes, str
            The document.
        may_stay : callable or None
            Asked once the document has used up its slice; None: it may.

        Raises
        ------
        Died
            With a reason: ``too_slow``, ``too_much_memory``, ``too_large`` or ``crashed``.
        Displaced
            If it may not stay.
        """
        self.n_documents += 1
        try:
            async with asyncio.timeout(self._limits.wall_s):
                return await self._exchange(data, media_type.encode("utf-8", "replace")[:200], may_stay)
        except TimeoutError as error:
            raise Died("too_slow") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Died(_REASONS.get(await self._process.ended_by(), "crashed")) from error

    async def _exchange(self, data: bytes, media_type: bytes, may_stay: MayStay | None) -> Reply:
        pipe = self._process.input
        pipe.write(REQUEST.pack(len(media_type), len(data)) + media_type)
        pipe.write(data)
        await pipe.drain()
        await self._process.output.readexactly(len(LOADED))
        (n_bytes,) = REPLY.unpack(await self._head(may_stay))
        if n_bytes > _BYTES_PER_CHAR * self._limits.max_text_chars + _MARGIN:
            raise Died("too_large")
        return msgspec.msgpack.decode(await self._process.output.readexactly(n_bytes), type=Reply)

    async def _head(self, may_stay: MayStay | None) -> bytes:
        try:
            async with asyncio.timeout(self._limits.slice_s):
                return await self._process.output.readexactly(REPLY.size)
        except TimeoutError as error:
            if may_stay is not None and not await may_stay():
                raise Displaced from error
        return await self._process.output.readexactly(REPLY.size)

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        await self._process.kill()
