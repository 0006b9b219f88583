"""A confined child process, seen from the worker that starts and ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from millrace.errors import Unavailable

_CHECKOUT: Final = Path(__file__).parents[2]
_NOTHING: Final[Mapping[str, str]] = {}


class ConfinedProcess:
    """A child process and the pipes to it; make it with `start`.

    Attributes
    ----------
    input, output : asyncio.StreamWriter, asyncio.StreamReader
        What it reads, and what it replies.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("the process was started without a pipe")
        self.input = process.stdin
        self.output = process.stdout
        self._process = process

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        limits: msgspec.Struct,
        ready: bytes,
        *,
        what: str,
        within_s: float,
        environment: Mapping[str, str] = _NOTHING,
    ) -> ConfinedProcess:
        """Start one, with an environment of its own: none of this process's secrets.

        Parameters
        ----------
        command : sequence of str
            Starts it; the limits follow as JSON.
        limits : msgspec.Struct
            What it may use, told to it.
        ready : bytes
            What it replies once it can begin.
        what : str
            What to call it in a message.
        within_s : float
            Time until it has to be ready.
        environment : mapping of str to str
            Variables that it needs beside those of every one.

        Raises
        ------
        Unavailable
            If it does not come up.
        """
        child = cls(
            await asyncio.create_subprocess_exec(
                *command,
                msgspec.json.encode(limits).decode(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": str(_CHECKOUT), "LC_ALL": "C.UTF-8", **environment},
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the worker, which ends its children in order
            )
        )
        try:
            async with asyncio.timeout(within_s):
                await child.output.readexactly(len(ready))
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await child.kill()
            message = f"the {what} process {' '.join(command)} does not start; run `make install`"
            raise Unavailable(message) from error
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def ended_by(self) -> int:
        """Wait until it has ended; by which signal, or none if that is not above 0."""
        return -await self._process.wait()

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self.input.close()
        with suppress(ConnectionError):
            await self.input.wait_closed()
