"""Which partitions are ours, where they stand, and whether we may still write for them."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.lanes import Item
from streams.ledger import Ledger
from streams.pump import positions
from streams.pump.delivery import Lost
from streams.pump.settings import Counters, PumpSettings

log = logging.getLogger(__name__)

_ATTEMPTS_PER_GENERATION = 10_000


class Tenure:
    """A pump's partitions, from assignment to revocation, over its consumer and its ledger.

    Parameters
    ----------
    group : str
        Consumer group.
    ledger : Ledger
        Books of the partitions.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        group: str,
        ledger: Ledger,
        settings: PumpSettings,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.group = group
        self.consumer: AIOKafkaConsumer | None = None
        self._ledger = ledger
        self._settings = settings
        self._counters = counters
        self._commits = asyncio.Lock()
        self._clock = clock
        self._seen_s = clock()
        self._doubtful = False
        self._committed: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self.moved_s = time.monotonic()

    @property
    def client(self) -> AIOKafkaConsumer:
        """The consumer, once there is one."""
        if self.consumer is None:
            raise RuntimeError("the pump has no consumer yet; start it first")
        return self.consumer

    @property
    def first_attempt(self) -> int:
        """Number of the first attempt at an input: grows with each generation of the group, so with each redelivery."""
        if self.consumer is None:
            return 0
        generation: int = self.consumer._coordinator.generation  # noqa: SLF001 - no public view of it
        return max(generation, 0) * _ATTEMPTS_PER_GENERATION

    async def begin(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Open the books of assigned partitions and put the reader there; returns their epochs.

        Raises
        ------
        LogTruncated
            If a committed position is not in the log.
        """
        consumer = self.client
        starts = await positions.starts(consumer, partitions, self.group)
        # A first commit pins where the group starts: what retention removes later is then noticed, not skipped.
        fresh = {tp: (start.offset, "") for tp, start in starts.items() if start.fresh}
        if failure := await positions.commit(consumer, fresh):
            log.warning("group %s could not commit its first positions: %s", self.group, failure)
        epochs = {}
        for tp, start in starts.items():
            epochs[tp] = self._ledger.assign(tp, start.offset, start.metadata)
            self._committed[tp], self._ends[tp] = start.offset, start.end
            consumer.seek(tp, start.offset)
        self.moved_s, self._seen_s = time.monotonic(), self._clock()
        return epochs

    async def end(self, partitions: Collection[TopicPartition]) -> None:
        """Close the books of partitions and commit their prefixes a last time."""
        for tp in partitions:
            self._committed.pop(tp, None)
        finals = {tp: self._ledger.revoke(tp) for tp in partitions}
        offsets = {tp: (final.offset, final.metadata) for tp, final in finals.items() if final.offset is not None}
        if failure := await positions.commit(self.client, offsets):
            self._counters.failed_commits += 1
            log.warning("group %s: last commit failed, its records are read again: %s", self.group, failure)

    async def commit(self, *, also: Collection[TopicPartition] = ()) -> bool:
        """Commit the prefixes that moved, and those of `also` whether they moved or not.

        A failed commit leaves the books as they are.

        Returns
        -------
        bool
            Whether the broker has all of it.
        """
        async with self._commits:
            moved = self._ledger.committable()
            for tp in also:
                prefix = self._ledger.prefix(tp)
                if prefix is not None:
                    moved[tp] = prefix
            if not moved or self.consumer is None:
                return not moved
            offsets = {tp: (offset, self._ledger.metadata(tp)) for tp, offset in moved.items()}
            failure = await positions.commit(self.client, offsets)
            if failure:
                self._counters.failed_commits += 1
                log.warning("group %s: commit failed, nothing moves: %s", self.group, failure)
                return False
            self._counters.commits += 1
            for tp, offset in moved.items():
                self._ledger.committed(tp, offset)
                if tp in self._committed:
                    self._committed[tp] = offset
            self.moved_s = time.monotonic()
            return True

    def beat(self) -> None:
        """Note that this process runs. After a pause in which the session may have ended, ownership is in doubt."""
        now = self._clock()
        if now - self._seen_s > self._settings.session_timeout_ms / 1000:
            self._doubtful = True
        self._seen_s = now

    async def guard(self, item: Item) -> None:
        """Check, before something is published for `item`, that its partition is still ours.

        After a long pause the broker is asked, by a commit that it refuses to former members. This spares readers the
        output of a zombie; what protects them is that ids repeat and older versions lose.

        Raises
        ------
        Lost
            If it is not.
        """
        self.beat()
        if self._doubtful:
            owned = [tp for tp in self.client.assignment() if self._ledger.epoch(tp) is not None]
            if await self.commit(also=owned):
                self._doubtful = False
            elif self._doubtful:
                raise Lost
        if self._ledger.epoch(item.tp) != item.epoch:
            raise Lost

    def lag(self) -> int:
        """Records between the committed offsets and the ends of the log, as far as the client has seen them."""
        consumer, total = self.consumer, 0
        owned = consumer.assignment() if consumer is not None else ()
        for tp, committed in self._committed.items():
            seen = consumer.highwater(tp) if consumer is not None and tp in owned else None
            total += max(0, max(seen or 0, self._ends[tp]) - committed)
        return total
