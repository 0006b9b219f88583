"""Who works in this process, over all its pumps: a record suspected of killing processes runs alone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

_DRAIN_S = 60.0


class NotAlone(Exception):
    """What runs in this process did not end in time."""


class Company:
    """What the pumps of a process are doing; one lock for all suspects.

    A suspect holds the lock, nothing new starts, and what runs has ended. If the process dies then, the suspect did it.

    Parameters
    ----------
    drain_s : float
        How long a suspect waits for the others, in seconds, before it lets them go on and asks again.
    """

    def __init__(self, drain_s: float = _DRAIN_S) -> None:
        self._drain_s = drain_s
        self._lock = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._n_running = 0
        self._wakes: list[Callable[[], None]] = []

    @property
    def taken(self) -> bool:
        """Whether nothing may start, because somebody is or wants to be alone."""
        return not self._free.is_set()

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever work may start again."""
        self._wakes.append(wake)

    async def free(self, within_s: float) -> None:
        """Wait until work may start, at most `within_s` seconds; look at `taken` afterwards."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._free.wait()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count as running; begin it only if not `taken`."""
        self._n_running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._n_running -= 1
            if not self._n_running:
                self._idle.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the lock, and begin once nothing else runs.

        Raises
        ------
        NotAlone
            If the others' work did not end in time; they go on then.
        """
        async with self._lock:
            self._free.clear()
            try:
                try:
                    async with asyncio.timeout(self._drain_s):
                        await self._idle.wait()
                except TimeoutError:
                    raise NotAlone from None
                yield
            finally:
                self._free.set()
                for wake in self._wakes:
                    wake()
