"""A breaker: after failures in a row nobody asks any more, until one probe has shown that asking helps."""

import time
from collections.abc import Callable
from typing import Literal


class Breaker:
    """Closed, open, or half open; it holds no clock but the one that it is given and does no I/O.

    Parameters
    ----------
    failures : int
        Failures in a row that open it.
    open_s, max_open_s : float
        How long it stays open before a probe may run, in seconds; doubles with each probe that fails, up to the second.
    clock : callable
        Seconds from any fixed point, never running backwards.
    """

    def __init__(
        self,
        *,
        failures: int = 3,
        open_s: float = 0.25,
        max_open_s: float = 4.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = failures
        self._first_s, self._max_s = open_s, max_open_s
        self._clock = clock
        self._failures = 0
        self._open_s = open_s
        self._probe_at: float | None = None
        self._probing = False
        self.reason = ""
        """Why it opened, for messages."""

    @property
    def closed(self) -> bool:
        """Whether calls pass."""
        return self._probe_at is None

    @property
    def retry_s(self) -> float:
        """Seconds until a probe may run; 0 when one may, or when it is closed."""
        return 0.0 if self._probe_at is None else max(0.0, self._probe_at - self._clock())

    def ask(self) -> Literal["pass", "refuse", "probe"]:
        """What a caller may do; whoever gets ``probe`` must report how it went, others are refused until then."""
        if self._probe_at is None:
            return "pass"
        if self._probing or self._clock() < self._probe_at:
            return "refuse"
        self._probing = True
        return "probe"

    def succeeded(self) -> None:
        """An answer came: closed, and nothing is held against it."""
        self._failures, self._open_s, self._probe_at, self._probing = 0, self._first_s, None, False

    def failed(self, reason: str) -> None:
        """A call failed in a way that speaks against the server."""
        self._failures += 1
        if self._failures >= self._limit:
            self.open(reason)

    def open(self, reason: str) -> None:
        """Open it at once: a probe has failed."""
        if self._probing:
            self._open_s = min(2 * self._open_s, self._max_s)
        self.reason = reason
        self._probing = False
        self._probe_at = self._clock() + self._open_s
