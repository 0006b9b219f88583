"""What can be set on a pump, and what it counts."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from millrace.connection import FETCH_MS
from millrace.telemetry.metrics import SECONDS


class PumpSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a pump consumes, retries and commits.

    Attributes
    ----------
    group_prefix
        Consumer group of an agent is this and the agent's name.
    max_in_flight
        Inputs handled at the same time, each of another key.
    max_uncommitted
        Records of a partition beyond its committed offset; bounds what a crash repeats.
    max_buffered_bytes
        Bytes of records held before intake pauses.
    max_parked
        Inputs per partition that may wait beside the lanes.
    max_poll_records
        Records taken from the client at a time.
    rebalance_timeout_ms
        How long the members of the group may take to agree; `drain_timeout_ms` must be below it.
    fetch_idle_wait_ms
        How long the broker may hold a fetch after silence, see `streams.patience`; None: no longer than otherwise.
    leader_delay_ms
        How long the leader of a group waits before it assigns partitions; the embedded broker needs it.
    """

    group_prefix: str = "millrace."
    max_in_flight: int = 16
    max_uncommitted: int = 1000
    max_buffered_bytes: int = 64 * 1024 * 1024
    max_parked: int = 256
    max_poll_records: int = 500
    commit_interval_ms: int = 500
    session_timeout_ms: int = 10_000
    heartbeat_interval_ms: int = 3000
    rebalance_timeout_ms: int = 60_000
    drain_timeout_ms: int = 8000
    fetch_max_wait_ms: int = FETCH_MS
    fetch_idle_wait_ms: int | None = None
    leader_delay_ms: int = 0
    retry_initial_ms: int = 100
    retry_max_ms: int = 10_000


class Durations:
    """Durations in buckets, for a histogram.

    Attributes
    ----------
    counts : list of int
        One for each of `millrace.telemetry.metrics.SECONDS`: of those at most so long, and longer than the one before;
        the last is of those longer than all.
    sum_s : float
        All of them together, in seconds.
    """

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float, n: int = 1) -> None:
        """Count `n` durations of `seconds` each."""
        self.counts[bisect_left(SECONDS, seconds)] += n
        self.sum_s += seconds * n


@dataclass
class Counters:
    """Plain numbers about one pump; read them, do not write them.

    Attributes
    ----------
    errors
        Failures by (bounded error type, stage).
    batch_sizes
        Batches by size, rounded up to a power of two.
    batched
        Events in all batches.
    seconds
        How long inputs were at work, until their outputs were acknowledged; of those run in place, until they were
        sent, and that as the mean of the chunk they came in.
    crowded_out
        Keys of a table that were forgotten because their tenant or user had too many.
    """

    consumed: int = 0
    emitted: int = 0
    dead_lettered: int = 0
    retried: int = 0
    commits: int = 0
    failed_commits: int = 0
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    batch_sizes: Counter[int] = field(default_factory=Counter)
    batched: int = 0
    seconds: Durations = field(default_factory=Durations)
    crowded_out: int = 0

    def batch(self, size: int) -> None:
        """Count a batch."""
        self.batched += size
        self.batch_sizes[1 << (size - 1).bit_length()] += 1
