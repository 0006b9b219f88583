"""Order per key, parallel across keys, in batches.

Each key is a *lane*: one of its records is in flight at a time, the others wait behind it in the order they arrived in.
The front of every idle lane stands in one queue, in the order in which the fronts became ready, and batches are cut
from the head of that queue, past those that are of another kind than its first. So a batch never holds two records of
a key, no lane overtakes another for ever, and a record costs a few deque, dict and set operations however many wait,
but for passing over those of other kinds.
"""

from collections import deque
from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import msgspec

from millrace.agent import Batch
from streams.ledger import TopicPartition

_AT_ONCE = -inf


class Item(msgspec.Struct, eq=False):
    """A record on its way through the lanes; two items are the same only if they are the same object.

    Attributes
    ----------
    key
        Record key: the lane. A record without a key is a lane of its own.
    size
        Bytes it counts for in a batch.
    payload
        Whatever the runner wants back with it.
    tp, offset, epoch
        Where it was read, and in which assignment (see `streams.ledger.Ledger`).
    arrived
        When it was read, in seconds of the clock that `Lanes.take` is asked by; it lingers from then on.
    apart
        Whether it may take long: it is a batch of its own, due at once.
    kind
        It shares a batch with its kind alone.
    """

    key: bytes | None
    size: int
    payload: Any
    tp: TopicPartition
    offset: int
    epoch: int
    arrived: float = 0.0
    apart: bool = False
    kind: Hashable = None


class Lanes:
    """Queues of records by key, from which batches of idle keys are taken. No I/O; the time is an argument.

    An item is offered, taken, and then finished or retried. What `take` returned is *in flight* until then, as is what
    was seized: an item that needed no turn in the queue.

    Parameters
    ----------
    max_in_flight
        Most items in flight at a time, over all batches.
    batch
        A batch is due when it has `max_items` items (or `max_in_flight`, if lower), or `max_bytes` bytes, or its first
        item has waited for `linger_ms`. An item above `max_bytes` is a batch of its own.

    Raises
    ------
    ValueError
        If `max_in_flight` or `batch.max_items` is below 1, or `batch.linger_ms` is negative.
    """

    def __init__(self, max_in_flight: int, batch: Batch) -> None:
        if max_in_flight < 1 or batch.max_items < 1 or batch.linger_ms < 0:
            raise ValueError(
                f"max_in_flight is {max_in_flight} and batch is {batch}; "
                "allowed are max_in_flight >= 1, max_items >= 1 and linger_ms >= 0"
            )
        self.max_in_flight = max_in_flight
        self.batch = batch
        self._linger_s = batch.linger_ms / 1000
        self._full = min(batch.max_items, max_in_flight)
        # A key has an entry while a record of it is ready, delayed or in flight; its value holds those waiting behind.
        self._waiting: dict[bytes, deque[Item] | None] = {}
        self._ready: deque[Item] = deque()
        self._ready_bytes = 0
        self._delayed: list[tuple[float, int, Item]] = []
        self._retries = 0
        self._in_flight: set[Item] = set()
        self._dropped: set[Item] = set()
        self._suspects: set[Item] = set()
        self._solo = False

    @property
    def in_flight(self) -> int:
        """Number of items taken and neither finished nor retried."""
        return len(self._in_flight)

    @property
    def queued(self) -> int:
        """Number of items offered and not in flight. Counts lane by lane: not for every record."""
        waiting = sum(len(items) for items in self._waiting.values() if items)
        return len(self._ready) + len(self._delayed) + waiting

    def offer(self, item: Item) -> None:
        """Put an item at the end of its lane."""
        key = item.key
        if key is not None:
            waiting = self._waiting
            if key in waiting:
                behind = waiting[key]
                if behind is None:
                    waiting[key] = deque((item,))
                else:
                    behind.append(item)
                return
            waiting[key] = None
        self._ready.append(item)
        self._ready_bytes += item.size

    def free(self, key: bytes | None) -> bool:
        """Whether a record of a key may be in flight at once, without a turn in the queue: see `seize`."""
        return key not in self._waiting and len(self._in_flight) < self.max_in_flight and not self._suspects

    def seize(self, item: Item) -> None:
        """Put an item in flight whose work was begun without a turn in the queue.

        Raises
        ------
        ValueError
            If its lane is not free: a record of its key waits or is in flight, a suspect waits or is alone, or nothing
            more may be in flight.
        """
        if not self.free(item.key):
            raise ValueError(
                f"record {item.offset} of {item.tp[0]}[{item.tp[1]}] cannot begin now; ask free() before, or offer it"
            )
        if item.key is not None:
            self._waiting[item.key] = None
        self._in_flight.add(item)

    def take(self, now: float) -> list[Item] | None:
        """Take the next batch, if one is due.

        Parameters
        ----------
        now
            The time in seconds, from a monotonic clock.

        Returns
        -------
        list of Item or None
            Items of different, idle keys in the order in which they became ready, now in flight. None if nothing is
            ready, the batch still lingers, or nothing more may be in flight.
        """
        if self._delayed:
            self._wake(now)
        ready, in_flight = self._ready, self._in_flight
        if not ready or self._blocked() or now < self._due():
            return None
        if self._suspects and ready[0] in self._suspects:
            self._solo = True
            room = 1
        else:
            room = min(self.batch.max_items, self.max_in_flight - len(in_flight))
        batch = self._cut(room)
        in_flight.update(batch)
        return batch

    def next_due(self, now: float) -> float | None:
        """Earliest time at which `take` may have a batch if nothing else happens; `now` if it has one already.

        None if time alone brings nothing: an item must be offered, finished or retried first.
        """
        if self._delayed:
            self._wake(now)
        if self._blocked():
            return None
        due = [self._due()] if self._ready else []
        if self._delayed:
            due.append(self._delayed[0][0])
        return max(now, min(due)) if due else None

    def finish(self, item: Item) -> None:
        """Free the item's lane; the next record of its key becomes ready.

        Raises
        ------
        ValueError
            If the item is not in flight.
        """
        self._land(item)
        if self._suspects:
            self._suspects.discard(item)
        if self._dropped:
            self._dropped.discard(item)
        if item.key is not None:
            self._promote(item.key)

    def retry(self, item: Item, at: float) -> None:
        """Put an item in flight back to the front of its lane, to be taken at the time `at` or later.

        Its lane waits with it; all others flow. If its partition was dropped meanwhile, it is finished instead.

        Raises
        ------
        ValueError
            If the item is not in flight.
        """
        if item in self._dropped:
            self.finish(item)
            return
        self._land(item)
        self._retries += 1
        heappush(self._delayed, (at, self._retries, item))

    def alone(self, item: Item) -> None:
        """Let an item run with nothing else in flight, before and after retries.

        When its turn comes, nothing is taken until all is finished that is in flight, and then it alone.
        """
        self._suspects.add(item)

    def drop(self, tp: TopicPartition) -> list[Item]:
        """Forget what was read from a revoked partition.

        Returns
        -------
        list of Item
            Its items in flight. They stay so until they are finished, and their lanes wait for them.
        """
        gone: list[Item] = []
        for key, behind in self._waiting.items():
            if behind and any(item.tp == tp for item in behind):
                gone += (item for item in behind if item.tp == tp)
                self._waiting[key] = deque(item for item in behind if item.tp != tp)
        fronts = [item for item in self._ready if item.tp == tp]
        fronts += (item for _, _, item in self._delayed if item.tp == tp)
        self._ready = deque(item for item in self._ready if item.tp != tp)
        self._ready_bytes = sum(item.size for item in self._ready)
        self._delayed = [entry for entry in self._delayed if entry[2].tp != tp]
        heapify(self._delayed)
        self._suspects.difference_update(gone, fronts)
        for item in fronts:
            if item.key is not None:
                self._promote(item.key)
        flying = [item for item in self._in_flight if item.tp == tp]
        self._dropped.update(flying)
        return flying

    def _blocked(self) -> bool:
        """Whether only a finished item can bring the next batch."""
        n_in_flight = len(self._in_flight)
        if n_in_flight >= self.max_in_flight or self._solo:
            return True
        return bool(n_in_flight and self._suspects and self._ready and self._ready[0] in self._suspects)

    def _due(self) -> float:
        """Time from which the batch at the head of the queue may be taken."""
        ready = self._ready
        if len(ready) >= self._full or self._ready_bytes >= self.batch.max_bytes:
            return _AT_ONCE
        if ready[0].apart or (self._suspects and ready[0] in self._suspects):
            return _AT_ONCE
        return ready[0].arrived + self._linger_s

    def _cut(self, room: int) -> list[Item]:
        ready, suspects, max_bytes = self._ready, self._suspects, self.batch.max_bytes
        first = ready.popleft()
        batch, size = [first], first.size
        others: list[Item] = []
        while ready and len(batch) < room and not first.apart:
            item = ready[0]
            if item.apart or (suspects and item in suspects):
                break
            if item.kind != first.kind:
                others.append(ready.popleft())
                continue
            if size + item.size > max_bytes:
                break
            size += item.size
            batch.append(ready.popleft())
        ready.extendleft(reversed(others))
        self._ready_bytes -= size
        return batch

    def _land(self, item: Item) -> None:
        try:
            self._in_flight.remove(item)
        except KeyError:
            raise ValueError(
                f"record {item.offset} of {item.tp[0]}[{item.tp[1]}] is not in flight; "
                "finish or retry an item once, after take() gave it out"
            ) from None
        self._solo = False

    def _promote(self, key: bytes) -> None:
        behind = self._waiting[key]
        if behind:
            item = behind.popleft()
            self._ready.append(item)
            self._ready_bytes += item.size
        else:
            del self._waiting[key]

    def _wake(self, now: float) -> None:
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            item = heappop(delayed)[2]
            self._ready.append(item)
            self._ready_bytes += item.size
