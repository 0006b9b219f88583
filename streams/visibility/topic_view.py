"""What a process knows of one topic, or of a few, held in memory and kept up to date from the log."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Event, Origin
from millrace.topics import Topic
from streams.visibility.topic_folder import Offsets, TopicFolder, met

log = logging.getLogger(__name__)


class TopicView(ABC):
    """Reads topics, all partitions, and hands each event that can be decoded to `keep`.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    topic : Topic or sequence of Topic
        What is read.
    codec : Codec, optional
        Knows the schema ids of this installation.
    options
        See `TopicFolder`.
    """

    def __init__(
        self, connection: Mapping[str, Any], topic: Topic | Sequence[Topic], codec: Codec | None, **options: Any
    ) -> None:
        topics = (topic,) if isinstance(topic, Topic) else tuple(topic)
        self._topics = {each.name: each for each in topics}
        self._codec = codec or Codec()
        self.n_undecodable = 0
        self._folder = TopicFolder(connection, tuple(self._topics), self._begin, self._take, **options)

    async def start(self) -> None:
        """Read what is there and go on from there; see `TopicFolder.start` for what it raises."""
        await self._folder.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._folder.stop()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._folder.failure

    def ready(self) -> bool:
        """Whether what was there at the start has been read."""
        return self._folder.ready()

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when everything that was in these partitions at the time of the call is known."""
        await self._folder.caught_up(partitions)

    @abstractmethod
    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:
        """Take an event in: when the broker took it, in unix milliseconds, and the size of its record."""

    @staticmethod
    def _begin(beginnings: Offsets, _: Offsets) -> Offsets:
        return beginnings

    async def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        await met(self._codec, records)
        for record in records:
            origin = Origin(record.topic, record.partition, record.offset)
            try:
                event = self._codec.read(self._topics[record.topic], record.key, record.value, record.headers, origin)
            except ContractError as error:
                self.n_undecodable += 1
                log.error("record %s is passed over: %s", origin, error)  # noqa: TRY400 - the error says it all
                continue
            self.keep(event, record.timestamp, len(record.value or b""))
