"""How much may be under way without an outcome: a small log must not lose what nobody has read yet."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from millrace.client.outcomes import Outcome
from millrace.keys import partition_for

EMBEDDED_BYTES: Final = 1_000_000
DURABLE_BYTES: Final = 64_000_000
MAX_DOCUMENTS: Final = 20_000


class Window:
    """Counts what is sent and has no outcome yet, per partition.

    Parameters
    ----------
    n_partitions : int
        Partitions of the intake topic.
    max_bytes : int
        Bytes a partition may hold without an outcome.
    changed : callable
        Called with each outcome.
    """

    def __init__(self, n_partitions: int, max_bytes: int, changed: Callable[[Outcome], None]) -> None:
        self._n_partitions = n_partitions
        self._max_bytes = max_bytes
        self._changed = changed
        self._bytes: Counter[int] = Counter()
        self._woken = asyncio.Event()
        self._error: BaseException | None = None
        self.n_open = 0

    def has_room(self, key: str) -> bool:
        """Whether a further record of this key may be sent."""
        return self._bytes[partition_for(key, self._n_partitions)] < self._max_bytes and self.n_open < MAX_DOCUMENTS

    def add(self, key: str, n_bytes: int, outcome: asyncio.Future[Outcome]) -> None:
        """Count a change until its outcome is known."""
        partition = partition_for(key, self._n_partitions)
        self._bytes[partition] += n_bytes
        self.n_open += 1

        def ended(future: asyncio.Future[Outcome]) -> None:
            self._bytes[partition] -= n_bytes
            self.n_open -= 1
            self._woken.set()
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                self._error = error
            else:
                self._changed(future.result())

        outcome.add_done_callback(ended)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next outcome; False when none came in time.

        Raises
        ------
        LogTruncated, Unavailable
            Outcomes cannot be read any more.
        """
        if self._error is not None:
            raise self._error
        self._woken.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        if self._error is not None:
            raise self._error
        return True
