"""Read whole topics by `assign`, from explicit positions, and know how far behind one is.

A consumer group has no part in this: every process reads all partitions, and a position that is no longer in the log
stops the reader instead of moving it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from millrace.client.closing import close_consumer, closed
from millrace.codec import Codec, ConsumedRecord
from millrace.connection import FETCH_MS
from millrace.errors import ConfigurationError, LogTruncated, MillraceError, Unavailable
from streams.patience import PatientConsumer

log = logging.getLogger(__name__)

Offsets = dict[tuple[str, int], int]
_POLL_MS: Final = 200
_MAX_CHECKS: Final = 16
_FETCH_MAX_BYTES: Final = 16_777_216


class TopicFolder:
    """Feeds the records of some topics, in batches, to a function.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    topics : collection of str
        Topics to read, all partitions.
    start : callable
        ``start(beginnings, ends)`` gives the offset to begin at for every partition; it may raise LogTruncated.
    take : callable
        ``await take(records, positions)``: records in the order of the log, and how far each partition has been read.
        Where it raises Unavailable it is called again with the same, later.
    since_ms : int, optional
        ``beginnings`` are those of the records from this time on (unix milliseconds), not those of the log.
    fetch_max_wait_ms : int
        How long a fetch waits at the broker; a few milliseconds on the embedded broker, which does not wake it.
    fetch_idle_wait_ms : int, optional
        How long at most after silence, see `streams.patience`; by default no longer.
    fetch_min_bytes : int
        How much a fetch waits for, as long as it may: with more than 1 a busy topic costs few fetches.
    max_records : int
        Most records a batch holds: it is folded in one go on the event loop.
    confirm_every_s : float
        How often the ends of the log are asked for.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(  # noqa: PLR0913 - keywords, each with a default
        self,
        connection: Mapping[str, Any],
        topics: Collection[str],
        start: Callable[[Offsets, Offsets], Mapping[tuple[str, int], int]],
        take: Callable[[Sequence[Any], Offsets], Awaitable[None]],
        *,
        since_ms: int | None = None,
        fetch_max_wait_ms: int = FETCH_MS,
        fetch_idle_wait_ms: int | None = None,
        fetch_min_bytes: int = 1,
        max_records: int = 500,
        confirm_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = sorted(topics)
        self._connection = connection
        self._start_at = start
        self._take = take
        self._since_ms = since_ms
        self._max_records = max_records
        self._confirm_every_s = confirm_every_s
        self._clock = clock
        self._fetch_max_wait_ms = fetch_max_wait_ms
        self._fetch_idle_wait_ms = fetch_idle_wait_ms
        self._fetch_min_bytes = fetch_min_bytes
        self._connected: PatientConsumer | None = None
        self._partitions: list[TopicPartition] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._checks: list[tuple[float, Offsets]] = []
        self._first_ends: Offsets = {}
        self._confirmed_at: float | None = None
        self._failure: MillraceError | None = None
        self.positions: Offsets = {}

    async def start(self) -> None:
        """Connect, find the partitions, and read on in the background.

        Raises
        ------
        LogTruncated
            If the log no longer holds what was to be read.
        ConfigurationError
            If a topic does not exist.
        Unavailable
            If the broker cannot be reached.
        """
        self._connected = PatientConsumer(
            **self._connection,
            group_id=None,
            auto_offset_reset="none",
            enable_auto_commit=False,
            fetch_max_wait_ms=self._fetch_max_wait_ms,
            fetch_idle_wait_ms=self._fetch_idle_wait_ms,
            clock=self._clock,
            fetch_min_bytes=self._fetch_min_bytes,
            fetch_max_bytes=_FETCH_MAX_BYTES,
        )
        try:
            await self._consumer.start()
            await self._assign()
        except KafkaError as error:
            await close_consumer(self._consumer)
            raise Unavailable(f"cannot read {', '.join(self._topics)}: {error}; is the broker running?") from error
        except BaseException:
            await close_consumer(self._consumer)
            raise
        self._tasks = [
            asyncio.create_task(self._guard(self._read()), name="log-reader"),
            asyncio.create_task(self._guard(self._confirm()), name="log-ends"),
        ]

    @property
    def _consumer(self) -> PatientConsumer:
        if self._connected is None:
            raise Unavailable(f"the reader of {', '.join(self._topics)} has not been started")
        return self._connected

    async def _assign(self) -> None:
        self._partitions = await self._find_partitions()
        self._consumer.assign(self._partitions)
        beginnings = _plain(await self._consumer.beginning_offsets(self._partitions))
        ends = _plain(await self._consumer.end_offsets(self._partitions))
        if self._since_ms is not None:
            beginnings = await self._since(self._since_ms, beginnings, ends)
        self._first_ends = ends
        self.positions = dict(self._start_at(beginnings, ends))
        for partition in self._partitions:
            self._consumer.seek(partition, self.positions[partition.topic, partition.partition])

    async def _find_partitions(self) -> list[TopicPartition]:
        existing = await self._consumer.topics()
        missing = [topic for topic in self._topics if topic not in existing]
        if missing:
            raise ConfigurationError(f"topics {', '.join(missing)} do not exist; create them with `python -m infra up`")
        admin = AIOKafkaAdminClient(**self._connection)
        await admin.start()
        try:
            described = await admin.describe_topics(self._topics)
        finally:
            await closed(admin.close())
        return sorted(
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        )

    async def _since(self, since_ms: int, beginnings: Offsets, ends: Offsets) -> Offsets:
        """Beginnings by time; the whole log where the broker cannot look times up, as the embedded one."""
        first = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, 0))
        found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, since_ms))
        start = {}
        for partition in self._partitions:
            at = (partition.topic, partition.partition)
            otherwise = beginnings[at] if first[partition] is None else ends[at]
            start[at] = otherwise if found[partition] is None else found[partition].offset
        return start

    async def stop(self) -> None:
        """Stop reading and disconnect."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connected is not None:
            await close_consumer(self._consumer)
        self._wake()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._failure

    def ready(self) -> bool:
        """Whether the ends of the log seen at the start have been reached, and reading goes on."""
        return self._failure is None and bool(self._tasks) and self._reached(self._first_ends)

    def confirmed(self, within_s: float) -> bool:
        """Whether an end of the log asked for within the last seconds has been reached."""
        return self.ready() and self._confirmed_at is not None and self._clock() - self._confirmed_at <= within_s

    @property
    def confirmed_age_s(self) -> float | None:
        """Seconds since an end of the log was asked for that has been reached; None before the first time."""
        return None if self._confirmed_at is None else self._clock() - self._confirmed_at

    @property
    def behind(self) -> int:
        """Records up to the newest end that was asked for and has not been reached."""
        newest = self._checks[-1][1] if self._checks else {}
        return sum(max(0, end - self.positions.get(at, 0)) for at, end in newest.items())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return when a condition on what was read holds; it is looked at after every batch.

        Raises
        ------
        MillraceError
            If reading has ended, so that it could never hold.
        """
        while not condition():
            if self._failure is not None:
                raise self._failure
            if self._connected is not None:
                self._connected.hurry()
            await self._changed.wait()

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when everything has been read that was in the log at the time of the call.

        Parameters
        ----------
        partitions : iterable of int, optional
            Partitions of every topic; all when missing.
        """
        wanted = None if partitions is None else set(partitions)
        chosen = [at for at in self._partitions if wanted is None or at.partition in wanted]
        self._consumer.hurry()
        ends = await self._ends(chosen)
        await self.until(lambda: self._reached(ends))

    async def _ends(self, partitions: Sequence[TopicPartition]) -> Offsets:
        try:
            return _plain(await self._consumer.end_offsets(partitions))
        except KafkaError as error:
            raise Unavailable(f"the ends of {', '.join(self._topics)} cannot be asked for: {error}") from error

    def _reached(self, ends: Offsets) -> bool:
        return all(self.positions.get(at, 0) >= end for at, end in ends.items())

    async def _read(self) -> None:
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=self._max_records)
            except OffsetOutOfRangeError as error:
                raise LogTruncated(f"the log no longer holds what was to be read next: {error}; {REMEDY}") from error
            records = [record for batch in batches.values() for record in batch]
            positions = await self._consumer_positions()
            if records or positions != self.positions:
                await self._deliver(records, positions)
                self.positions = positions
                self._settle_checks()
                self._wake()

    async def _deliver(self, records: Sequence[Any], positions: Offsets) -> None:
        """Hand a batch over, again and again while it cannot be kept (a full disk, say)."""
        while True:
            try:
                return await self._take(records, positions)
            except Unavailable as error:
                log.error("%s; trying again in %g s", error, self._confirm_every_s)  # noqa: TRY400 - says it all
                await asyncio.sleep(self._confirm_every_s)

    async def _consumer_positions(self) -> Offsets:
        """Offsets read up to, gaps of compaction and transaction markers included."""
        return {(at.topic, at.partition): await self._consumer.position(at) for at in self._partitions}

    async def _confirm(self) -> None:
        while True:
            asked_at = self._clock()
            try:
                ends = await self._ends(self._partitions)
                self._checks.append((asked_at, ends))
                del self._checks[1:-_MAX_CHECKS]
                self._settle_checks()
                self._wake()
            except Unavailable as error:
                log.warning("%s", error)
            await asyncio.sleep(self._confirm_every_s)

    def _settle_checks(self) -> None:
        for asked_at, ends in self._checks:
            if self._reached(ends):
                self._confirmed_at = max(asked_at, self._confirmed_at or asked_at)
        self._checks = [check for check in self._checks if check[0] > (self._confirmed_at or 0)]

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except MillraceError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing may be answered from a reader that stands still
            failure = Unavailable(f"reading {', '.join(self._topics)} ended: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: MillraceError) -> None:
        log.error("%s", error)
        self._failure = error
        self._wake()


async def met(codec: Codec, records: Iterable[ConsumedRecord]) -> None:
    """Learn the schemas of records before they are decoded on the event loop: whoever knows them is perhaps asked.

    Raises
    ------
    Unavailable
        The schema registry does not answer.
    """
    if unmet := codec.unmet(record.value for record in records):
        await asyncio.to_thread(codec.meet, unmet)


REMEDY: Final = (
    "stop the workers and restore the topic, or ingest the sources again "
    "(on the embedded profile `python -m infra down` and `up` seed it from disk)"
)


def _plain(offsets: Mapping[TopicPartition, int]) -> Offsets:
    return {(at.topic, at.partition): offset for at, offset in offsets.items()}
