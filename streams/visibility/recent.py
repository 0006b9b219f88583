"""The recent tail of one topic, held in memory: bounded by time and by bytes."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Event, Origin
from millrace.topics import Topic
from streams.visibility.log_reader import LogReader, Offsets

log = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
Question = tuple[str, str]
"""Tenant and correlation id: an asker chooses the latter, so it names a question within the tenant alone."""

KEEP_S: Final = 900.0


class RecentTail(Generic[E]):
    """The first event of each question that a topic holds, as far back as questions can still be worked on.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    topic : Topic
        What is read, all partitions.
    kind : type
        Events that are kept; each has a ``correlation``.
    keep_s : float
        How far back: the longest deadline a question may have, with a margin for redelivery. Older than the newest
        record by more is forgotten, in whatever order partitions are read.
    max_bytes : int
        Most memory, counted as records; the oldest go first.
    codec : Codec, optional
        Knows the schema ids of this installation.
    now : callable
        Seconds since the epoch: where the recent tail begins.
    fetch_max_wait_ms, fetch_min_bytes : int
        See `LogReader`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: Topic,
        kind: type[E],
        *,
        keep_s: float,
        max_bytes: int,
        codec: Codec | None,
        now: Callable[[], float] = time.time,
        fetch_max_wait_ms: int = 100,
        fetch_min_bytes: int = 1,
    ) -> None:
        self._topic = topic
        self._kind = kind
        self._codec = codec or Codec()
        self.keep_s = keep_s
        self._keep_ms = round(keep_s * 1000)
        self._max_bytes = max_bytes
        self._known: OrderedDict[Question, tuple[int, int, E]] = OrderedDict()
        self._n_bytes = 0
        self._newest_ms = 0
        self.n_undecodable = 0
        self._reader = LogReader(
            connection,
            (topic.name,),
            self._begin,
            self._take,
            fetch_max_wait_ms=fetch_max_wait_ms,
            fetch_min_bytes=fetch_min_bytes,
            since_ms=max(0, round(now() * 1000) - self._keep_ms),
        )

    async def start(self) -> None:
        """Read the recent tail and go on from there; see `LogReader.start` for what it raises."""
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._reader.failure

    def ready(self) -> bool:
        """Whether the tail that was there at the start has been read."""
        return self._reader.ready()

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when everything that was in these partitions at the time of the call is known."""
        await self._reader.caught_up(partitions)

    def __len__(self) -> int:
        """How many events are known."""
        return len(self._known)

    def __contains__(self, question: Question) -> bool:
        """Whether there is an event of a question."""
        return question in self._known

    def first(self, question: Question) -> E | None:
        """First event of a question, if there is one."""
        found = self._known.get(question)
        return None if found is None else found[2]

    def noted(self, question: Question) -> None:
        """Called when the first event of a question was read; for subclasses."""

    @staticmethod
    def _begin(recent: Offsets, _: Offsets) -> Mapping[tuple[str, int], int]:
        return recent

    def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        for record in records:
            origin = Origin(record.topic, record.partition, record.offset)
            try:
                event = self._codec.read(self._topic, record.key, record.value, record.headers, origin)
            except ContractError as error:
                self.n_undecodable += 1
                log.error("record %s is passed over: %s", origin, error)  # noqa: TRY400 - the error says it all
                continue
            if isinstance(event, self._kind):
                self._keep(event, record.timestamp, len(record.value or b""))

    def _keep(self, event: E, timestamp: int, size: int) -> None:
        question: Question = (event.tenant, getattr(event, "correlation"))  # noqa: B009 - every kind has one
        self._newest_ms = max(self._newest_ms, timestamp)
        if question in self._known or timestamp < self._newest_ms - self._keep_ms:
            return
        self._known[question] = (timestamp, size, event)
        self._n_bytes += size
        self._forget()
        self.noted(question)

    def _forget(self) -> None:
        while self._known:
            timestamp, size, _ = next(iter(self._known.values()))
            if timestamp >= self._newest_ms - self._keep_ms and self._n_bytes <= self._max_bytes:
                return
            self._known.popitem(last=False)
            self._n_bytes -= size
