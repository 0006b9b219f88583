"""What a library says again and again while a broker is away: said some times, then counted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

LIBRARIES: Final = frozenset({"aiokafka", "faust", "kafka", "mode"})
_MOST_KINDS: Final = 1_000


class Repeats(logging.Filter):
    """Lets through what is said for the first few times in a while; the next one that passes says how many did not.

    Each of a worker's consumers reports every attempt to reach a broker that is away: two hundred lines a second.

    Parameters
    ----------
    names : collection of str
        Roots of the loggers that are counted; all others pass.
    most : int
        Records of one kind (logger, level, text before its arguments) that pass within `window_s`.
    window_s : float
        Seconds.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        names: Collection[str] = LIBRARIES,
        *,
        most: int = 5,
        window_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._names = names
        self._most = most
        self._window_s = window_s
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        if record.name.partition(".")[0] not in self._names:
            return True
        kind, now = (record.name, record.levelno, str(record.msg)), self._clock()
        with self._lock:
            since, n = self._seen.get(kind, (now, 0))
            if now - since < self._window_s:
                self._seen[kind] = (since, n + 1)
                return n < self._most
            if len(self._seen) >= _MOST_KINDS:
                self._seen.clear()
            self._seen[kind] = (now, 1)
        if n > self._most:
            record.msg = f"{record.msg} (and {n - self._most} more like this since {now - since:.0f} s ago)"
        return True
