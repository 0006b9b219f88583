"""Which partitions are ours, where they stand, and whether we may still write for them."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError

from millrace.errors import Unavailable
from streams.lanes import Item
from streams.ledger import Ledger, format_metadata, parse_starts
from streams.pump import positions
from streams.pump.delivery import Lost
from streams.pump.settings import Counters, PumpSettings

log = logging.getLogger(__name__)

SUSPECT = 3  # a head that this many processes started in vain runs alone; if it kills again, it is given up
_ATTEMPTS_PER_GENERATION = 10_000
_START_TRIES = 6


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
        self._accused: set[TopicPartition] = set()
        self._closing: set[TopicPartition] = set()
        self._own: dict[TopicPartition, int] = {}  # heads whose start on record may be ours
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
        self._closing.difference_update(partitions)
        starts = await positions.starts(consumer, partitions, self.group)
        # A first commit pins where the group starts: what retention removes later is then noticed, not skipped.
        fresh = {tp: (start.offset, "") for tp, start in starts.items() if start.fresh}
        if failure := await positions.commit(consumer, fresh):
            log.warning("group %s could not commit its first positions: %s", self.group, failure)
        epochs = {}
        for tp, start in starts.items():
            metadata = start.metadata
            if self._own.get(tp) == start.offset:  # we came back alive: our own start is nobody's death
                metadata = format_metadata(max(0, parse_starts(metadata, start.offset) - 1), start.offset)
            epochs[tp] = self._ledger.assign(tp, start.offset, metadata)
            self._committed[tp], self._ends[tp] = start.offset, start.end
            consumer.seek(tp, start.offset)
        self.moved_s, self._seen_s = time.monotonic(), self._clock()
        return epochs

    def close(self, partitions: Collection[TopicPartition]) -> None:
        """Record no further start of partitions: they are being given up, and the group waits for it."""
        self._closing.update(partitions)

    async def end(self, partitions: Collection[TopicPartition]) -> None:
        """Close the books of partitions and commit their prefixes a last time."""
        for tp in partitions:
            self._committed.pop(tp, None)
        finals = {tp: self._ledger.revoke(tp) for tp in partitions}
        offsets = {tp: (final.offset, final.metadata) for tp, final in finals.items() if final.offset is not None}
        if failure := await positions.commit(self.client, offsets):
            self._counters.failed_commits += 1
            log.warning("group %s: last commit failed, its records are read again: %s", self.group, failure)
        else:
            for tp in offsets:
                self._own.pop(tp, None)

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
            counted = {tp for tp in moved if self._ledger.starts(tp) < SUSPECT or tp in self._accused}
            offsets = {tp: (at, self._ledger.metadata(tp, own=tp in counted)) for tp, at in moved.items()}
            mine = {tp: moved[tp] for tp in counted if self._ledger.oldest(tp) is not None}
            self._own.update(mine)  # even if it fails: the broker may have it
            failure = await positions.commit(self.client, offsets)
            if failure:
                self._counters.failed_commits += 1
                log.warning("group %s: commit failed, nothing moves: %s", self.group, failure)
                return False
            self._counters.commits += 1
            for tp, offset in moved.items():
                if tp not in mine:
                    self._own.pop(tp, None)
                self._ledger.committed(tp, offset)
                if tp in self._committed:
                    self._committed[tp] = offset
            self.moved_s = time.monotonic()
            return True

    async def record_start(self, tp: TopicPartition, epoch: int) -> bool:
        """Commit where a partition stands, with the start of its head.

        A group that rebalances may refuse every commit until its members have joined again (the embedded broker does,
        Kafka does not). Whoever tries on meanwhile keeps its own partitions from being given up, and whoever then
        leaves and joins anew makes the next rebalance, in which the others fare the same.

        Returns
        -------
        bool
            Whether it is on record; False if the partition is no longer ours, or is being given up.

        Raises
        ------
        CommitFailedError
            If it cannot be recorded although the partition is ours: the pump must join anew.
        """
        for tries in range(_START_TRIES):
            if self._ledger.epoch(tp) != epoch or tp in self._closing:
                return False
            if await self.commit(also=[tp]):
                return True
            await asyncio.sleep(min(self._settings.retry_initial_ms * 2**tries, self._settings.retry_max_ms) / 1000)
        raise CommitFailedError(f"group {self.group}: the start of {tp.topic}[{tp.partition}] cannot be recorded")

    @asynccontextmanager
    async def accused(self, tp: TopicPartition, epoch: int) -> AsyncIterator[None]:
        """Count the start of a suspect, which is alone now, and take the count back once it has let the process live.

        Of a suspect no other start is counted: who dies in company proves nothing.

        Raises
        ------
        CommitFailedError
            If the count cannot be recorded.
        Lost
            If the partition is no longer ours, or is being given up: the next owner begins it.
        """
        self._accused.add(tp)
        try:
            if not await self.record_start(tp, epoch):
                raise Lost
            yield
        finally:
            self._accused.discard(tp)
        await self.record_start(tp, epoch)

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
        Unavailable
            If the broker could not be asked.
        """
        self.beat()
        if self._doubtful and not await self._confirm() and self._ledger.epoch(item.tp) == item.epoch:
            # Refused or just unlucky: if refused, the client soon says so, and the item is dropped.
            topic, partition = item.tp
            raise Unavailable(
                f"group {self.group}: no commit got through after a pause, so it is not known whether "
                f"{topic}[{partition}] is still ours; tried again"
            )
        if self._ledger.epoch(item.tp) != item.epoch:
            raise Lost

    async def _confirm(self) -> bool:
        owned = [tp for tp in self.client.assignment() if self._ledger.epoch(tp) is not None]
        if await self.commit(also=owned):
            self._doubtful = False
        return not self._doubtful

    def lag(self) -> int:
        """Records between the committed offsets and the ends of the log, as far as the client has seen them."""
        consumer, total = self.consumer, 0
        owned = consumer.assignment() if consumer is not None else ()
        for tp, committed in self._committed.items():
            seen = consumer.highwater(tp) if consumer is not None and tp in owned else None
            total += max(0, max(seen or 0, self._ends[tp]) - committed)
        return total
