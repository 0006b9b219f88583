"""What the table agents of a Faust app have applied: the only thing that is committed.

Faust commits what its own bookkeeping calls acknowledged, and that includes records that no agent saw: those whose
handler raised or was cancelled, those it skips around a rebalance, and those it fetches and drops while it seeks back,
which it then takes for a gap in the log (all seen on plain restarts under load). So here each partition has one number,
the offset up to which everything was applied. A record beyond it is refused until it is the next one, and the
partition is read again from there.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import faust
from faust.types import TP

log = logging.getLogger(__name__)

_AGAIN_S = 0.25
_AGAIN_MAX_S = 5.0


class Applied:
    """How far each partition was applied.

    Attributes
    ----------
    consumer : Any
        Faust's consumer, once there is one: ``assignment`` and ``seek_wait`` are used.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.consumer: Any = None
        self.clock = clock
        self._moved_s = clock()
        self._read: dict[TP, int] = {}  # behind the last record that was fetched
        self._since_s: dict[TP, float] = {}  # when records of a partition began to wait
        self._next: dict[TP, int] = {}
        self._committed: dict[TP, int] = {}
        self._empty: dict[TP, dict[int, int]] = {}
        self._early: dict[TP, int] = {}  # highest offset that came while a partition had no position
        self._wanted: set[TP] = set()
        self._reading_again: dict[TP, asyncio.Task[None]] = {}

    def start(self, positions: Mapping[TP, int]) -> None:
        """Begin, or begin again, at committed positions."""
        self._moved_s = self.clock()
        for tp, offset in positions.items():
            self._read.pop(tp, None)
            self._next[tp] = self._committed[tp] = offset
            self._empty[tp] = {}
            self._wanted.discard(tp)
            if self._early.pop(tp, -1) >= offset:
                self.read_again(tp)

    def forget(self, partitions: Collection[TP]) -> None:
        """Forget partitions that are revoked, or about to start again; what is under way for them counts no more."""
        for tp in partitions:
            self._next.pop(tp, None)
            self._committed.pop(tp, None)
            self._empty.pop(tp, None)
            self._early.pop(tp, None)
            self._read.pop(tp, None)
            self._wanted.discard(tp)

    def fetched(self, tp: TP, position: int | None, offsets: Sequence[int]) -> None:
        """Note what was read, and where the log itself has no records, as compaction and markers leave it.

        Called in the thread that fetches.

        Parameters
        ----------
        position : int or None
            Where the client stood before it fetched; None if it did not know yet.
        offsets : sequence of int
            What it got, ascending and complete from `position` on.
        """
        empty = self._empty.get(tp)
        for offset in offsets if empty is not None else ():
            if position is not None and offset > position:
                empty[offset] = position  # type: ignore[index] # not None, by the line above
            position = offset + 1
        expected = self._next.get(tp)
        if expected is not None and offsets:
            if self._read.get(tp, 0) <= expected:
                self._since_s[tp] = self.clock()
            self._read[tp] = max(offsets[-1] + 1, self._read.get(tp, 0))

    def waiting_s(self, topics: Collection[str]) -> float:
        """How long records of these topics have been read, and none was applied; 0 where none waits."""
        since = [
            self._since_s[tp]
            for tp, expected in self._next.items()
            if tp.topic in topics and self._read.get(tp, 0) > expected
        ]
        return self.clock() - max(min(since), self._moved_s) if since else 0.0

    def prefix(self, tp: TP) -> int | None:
        """Offset up to which everything was applied; None for a partition that has not started."""
        return self._next.get(tp)

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note what the group has committed."""
        for tp, offset in offsets.items():
            if tp in self._next:
                self._committed[tp] = max(offset, self._committed.get(tp, 0))

    def comes_again(self, tp: TP, offset: int) -> bool:
        """Whether a record would be delivered again after a crash."""
        return offset >= self._committed.get(tp, 0)

    def admits(self, tp: TP, offset: int) -> bool:
        """Whether a record is the next one; if records before it are missing, they are read again."""
        if self.covers(tp, offset):
            return False
        expected = self._next[tp]
        if offset > expected and self._empty[tp].get(offset, offset) > expected:
            self.read_again(tp)
            return False
        self._wanted.discard(tp)
        return True

    def advance(self, tp: TP, offset: int) -> None:
        """Note that a record was applied; of no effect if the partition was revoked or started again meanwhile."""
        expected = self._next.get(tp)
        if expected is None or offset < expected:
            return
        if offset == expected or self._empty[tp].pop(offset, offset) <= expected:
            self._next[tp] = offset + 1
            self._moved_s = self.clock()

    def covers(self, tp: TP, offset: int) -> bool:
        """Whether a record need not be asked for now: it was applied, or its partition has yet to start."""
        expected = self._next.get(tp)
        if expected is None:
            self._early[tp] = max(offset, self._early.get(tp, -1))
            return True
        return offset < expected

    def read_again(self, tp: TP) -> None:
        """Have a partition read again from the first record that was not applied."""
        self._wanted.add(tp)
        if tp not in self._reading_again:
            task = asyncio.create_task(self._read_again(tp))
            self._reading_again[tp] = task
            task.add_done_callback(lambda _: self._reading_again.pop(tp, None))

    async def stop(self) -> None:
        """End what is still being asked for."""
        tasks = list(self._reading_again.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_again(self, tp: TP) -> None:
        """Seek until the wanted record has come; each seek also throws away what is being fetched, so not too often."""
        pause_s = _AGAIN_S
        while tp in self._wanted and tp in self._next:
            if tp not in self.consumer.assignment():
                self._wanted.discard(tp)  # its next owner starts at the committed offset
                return
            log.info("reading %s[%d] again from offset %d, which was not applied", *tp, self._next[tp])
            await self.consumer.seek_wait({tp: self._next[tp]})
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _AGAIN_MAX_S)

    def event_class(self) -> type[faust.Event]:
        """Event class for ``faust.App(Event=...)``: one that ends without being applied is asked for again."""
        applied = self

        class CountedEvent(faust.Event):
            """An event whose end is checked against what was applied."""

            def ack(self) -> bool:
                if not applied.covers(self.message.tp, self.message.offset):
                    applied.read_again(self.message.tp)
                return super().ack()

        return CountedEvent
