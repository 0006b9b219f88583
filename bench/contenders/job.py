"""What a contender is asked to do, and how its time is taken."""

import time
from collections.abc import Callable
from typing import Literal

import msgspec

from bench.measure import Sample


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Read `n` records of a topic.

    Attributes
    ----------
    bootstrap : str
        Broker.
    source : str
        Topic with at least `n` records.
    sink : str
        Topic for one output per record; empty where none is written.
    n : int
        Records to handle.
    warm_up : int
        Records at the start that are not timed.
    partitions : int
        Partitions of the source.
    core : int
        Core to run on.
    group : str
        Consumer group, unused before.
    headers : bool
        Whether a peer writes the same headers as Millrace.
    agent : {"function", "coroutine", "waiting"}
        What Millrace's agent is: a plain function, a coroutine that never waits, or one that waits for a turn of the
        event loop, as one would that asks a model.
    traces : {"off", "none", "all"}
        Whether Millrace exports spans, and of which events: those of none are sampled away at the first hop.
    """

    bootstrap: str
    source: str
    sink: str = ""
    n: int
    warm_up: int
    partitions: int = 4
    core: int
    group: str = ""
    headers: bool = False
    agent: Literal["function", "coroutine", "waiting"] = "function"
    traces: Literal["off", "none", "all"] = "off"


class Stopwatch:
    """Counts events, and takes the time from the end of the warm-up; call it once for each event."""

    def __init__(self, job: Job, on_end: Callable[[], None] = lambda: None) -> None:
        self._on_end = on_end
        self.seen = 0
        self.n = job.n
        self._first = job.warm_up
        self._from = self._to = (0.0, 0.0)

    def __call__(self, event: object) -> None:  # noqa: ARG002 - the handler that does nothing
        """Handle an event by doing nothing."""
        self.seen += 1
        if self.seen == self._first:
            self._from = _now()
        elif self.seen == self.n:
            self._to = _now()
            self._on_end()

    @property
    def done(self) -> bool:
        """Whether all were handled."""
        return self.seen >= self.n

    def stop(self) -> None:
        """End the time here instead of at the last event."""
        self._to = _now()

    def sample(self) -> Sample:
        """What was measured."""
        return Sample(self.n - self._first, self._to[0] - self._from[0], self._to[1] - self._from[1])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
