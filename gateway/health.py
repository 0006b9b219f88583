"""Whether the gateway can work: the broker answers, replies are read, the event loop keeps up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.metrics import Metrics

_LOOK_S: Final = 0.5
BROKER_S: Final = 2.0
"""How long the broker may take to answer before requests are refused, in seconds."""
SILENCE_S: Final = 5.0
"""Workers count as away when a question has waited so long and no frame of any question has come meanwhile."""
_PROBE_S: Final = 1.0


class Health:
    """Looks at the broker and at the event loop while it runs; use `watching`.

    Parameters
    ----------
    probe : callable
        Asks the broker something small; raises where it does not answer.
    metrics : Metrics
        Takes the lag of the loop.
    patience_s : float
        How long the broker may take to answer, in seconds.

    Attributes
    ----------
    over : asyncio.Event
        Set when open streams have to end.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]], metrics: Metrics, patience_s: float = BROKER_S) -> None:
        self._probe = probe
        self._patience_s = patience_s
        self._answered_at = float("-inf")
        self._metrics = metrics
        self._open: set[object] = set()
        self._waiting: dict[object, float] = {}
        self._heard_at = float("-inf")
        self._silent = False
        self._probed_at = float("-inf")
        self.broker_answers = False
        self.draining = False
        self.over = asyncio.Event()
        self.lag_s = 0.0

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.broker_answers and not self.draining

    @property
    def why_not(self) -> str:
        """What is wrong; empty when nothing is."""
        if self.draining:
            return "ending"
        return "" if self.broker_answers else "the broker does not answer"

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Something that is given time to end before the process does."""
        mark = object()
        self._open.add(mark)
        try:
            yield
        finally:
            self._open.discard(mark)

    async def drain(self, within_s: float) -> None:
        """Take nothing new, give what is open `within_s` seconds, then tell it to end: `over` is set."""
        self.draining = True
        try:
            async with asyncio.timeout(within_s):
                while self._open:  # noqa: ASYNC110 - what is watched has no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        finally:
            self.over.set()

    @contextlib.contextmanager
    def waiting(self, *, parked: bool = False) -> Iterator[Callable[[], None]]:
        """A question that nobody has answered yet; call what is given with each of its frames.

        Parameters
        ----------
        parked : bool
            Whether it waits for a change of its own first. Its silence says nothing of the workers then; its frames do.
        """
        mark = object()
        if not parked:
            self._waiting[mark] = asyncio.get_running_loop().time()

        def heard() -> None:
            self._waiting.pop(mark, None)
            self._heard_at, self._silent = asyncio.get_running_loop().time(), False

        try:
            yield heard
        finally:
            self._listen()
            self._waiting.pop(mark, None)

    def workers_away(self) -> bool:
        """Whether questions go unanswered; one a second is let through all the same, to see whether they still do.

        How long one of them was allowed to take says nothing: a caller that allows no time closes the way to nobody.
        """
        self._listen()
        if not self._silent:
            return False
        now = asyncio.get_running_loop().time()
        if now - self._probed_at < _PROBE_S:
            return True
        self._probed_at = now
        return False

    def _listen(self) -> None:
        """Note whether the question that waits longest has heard nothing, from any worker, for too long."""
        now = asyncio.get_running_loop().time()
        oldest = next(iter(self._waiting.values()), now)
        self._silent = self._silent or now - max(oldest, self._heard_at) >= SILENCE_S

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look, as long as the context is open; the first look is done before it opens."""
        await self._look()
        tasks = [asyncio.create_task(self._watch_broker()), asyncio.create_task(self._watch_loop())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_broker(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()

    async def _look(self) -> None:
        """One look that takes too long is no news yet: only the time since the last answer is."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(self._patience_s - _LOOK_S):
                await self._probe()
                self._answered_at = loop.time()
        self.broker_answers = loop.time() - self._answered_at < self._patience_s - _LOOK_S

    async def _watch_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self.lag_s = max(0.0, loop.time() - due)
            self._metrics.loop_lag_seconds.set(self.lag_s)
