"""Read the log: any topics, from a position to a position, by assignment and without ever committing.

A reader whose position is gone stops with `LogTruncated`; it never skips.
"""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ConfigurationError, ContractError, UndecodableRecord
from millrace.event import Event, Origin
from millrace.positions import LogBounds, Place, Start, Stop, reader_settings, truncated, unavailable
from millrace.topics import CATALOGUE, Topic

_BATCH: Final = 2000
_POLL_S: Final = 0.1
_NO_END: Final = sys.maxsize


class RawRecord(msgspec.Struct, frozen=True):
    """A record as it stands in the log. `timestamp_ms` is unix milliseconds, -1 where there is none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]

    @property
    def origin(self) -> Origin:
        """Where it stands."""
        return Origin(self.topic, self.partition, self.offset)

    def header(self, name: str) -> str:
        """Text of the first header called `name`; empty when there is none."""
        return next((value.decode("utf-8", "replace") for key, value in self.headers if key == name and value), "")


class LogReader:
    """Reads partitions of topics with one client, in the order of each partition.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    topics : sequence of str or Topic
        What to read.
    start : {"beginning", "end"}, Since, Last or mapping of (topic, partition) to offset
        First position; partitions a mapping does not name start at the beginning.
    stop : {"now", "never"}, Until or mapping of (topic, partition) to offset
        ``now`` ends at the end offsets seen at the start; a mapping names offsets that are not read any more.
    keys : collection of str, optional
        Read only the partitions of these record keys; records of other keys on them come too.
    only : collection of (topic, partition), optional
        Read only these partitions.
    timeout_s : float
        How long the broker may be silent before a bounded read fails, in seconds.

    Attributes
    ----------
    positions : dict of (topic, partition) to int
        The next offset to read; hand it to another reader as `start` to read on.

    Raises
    ------
    ConfigurationError
        If a topic does not exist.
    LogTruncated
        If a start position is not in the log any more.
    Unavailable
        If the broker does not answer.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Sequence[str | Topic],
        *,
        start: Start = "beginning",
        stop: Stop = "now",
        keys: Collection[str] | None = None,
        only: Collection[Place] | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._fault = ""
        connection.check_reachable(timeout_s)
        self._consumer = Consumer(reader_settings(connection, self._on_error), logger=None)
        try:
            names = [topic if isinstance(topic, str) else topic.name for topic in topics]
            asked = LogBounds(connection, self._consumer, timeout_s)
            found = asked.places(names, keys)
            places = [place for place in found if only is None or place in only]
            bounds = asked.of(places)
            self.positions = asked.starts(start, bounds)
            self._follow = stop == "never"
            self._ends = asked.ends(stop, bounds)
            open_places = [p for p in places if self._follow or self.positions[p] < self._ends[p]]
            self._open = {place: _NO_END if self._follow else self._ends[place] for place in open_places}
            self.total = sum(max(0, self._ends[p] - self.positions[p]) for p in places)
            self._consumer.assign([TopicPartition(t, p, self.positions[t, p]) for t, p in open_places])
        except KafkaException as error:
            self.close()
            raise unavailable(self._connection, str(error.args[0].str())) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave the broker; nothing is committed."""
        self._consumer.close()

    def __iter__(self) -> Iterator[RawRecord]:
        for batch in self.batches():
            yield from raw_records(batch)

    def batches(self, *, idle: Callable[[], bool] | None = None) -> Iterator[list[Message]]:
        """Messages as the client hands them out, many at a time: the fast path.

        Parameters
        ----------
        idle : callable, optional
            Called whenever nothing came for a moment; True ends the reading.

        Raises
        ------
        LogTruncated
            If records were dropped from the log before they were read.
        Unavailable
            If the broker is gone.
        """
        silent_s = 0.0
        while self._open:
            # `consume` alone would wait for the whole batch; so wait for one and take what is there with it.
            first = self._consumer.poll(_POLL_S)
            messages = [] if first is None else [first, *self._consumer.consume(_BATCH, 0)]
            silent_s = 0.0 if messages else silent_s + _POLL_S
            if not messages:
                if idle is not None and idle():
                    return
                if silent_s >= self._timeout_s and (self._fault or not self._follow):
                    raise unavailable(self._connection, self._fault or f"silent for {self._timeout_s:g} s")
                continue
            found = [message for message in messages if self._accept(message)]
            messages.clear()
            if found:
                self._fault = ""
                yield found

    def _accept(self, message: Message) -> bool:
        error = message.error()
        if error is not None:
            self._handle(error, str(message.topic()), int(message.partition() or 0))
            return False
        place: Any = (message.topic(), message.partition())
        offset: Any = message.offset()
        end = self._open.get(place)
        if end is None:
            return False
        if offset < end:
            self.positions[place] = offset + 1
        if offset + 1 >= end:
            self._finish(place)
        return bool(offset < end)

    def _handle(self, error: KafkaError, topic: str, partition: int) -> None:
        place = (topic, partition)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name for it
            # Compaction and transaction markers leave gaps, so the last offset may never be handed out.
            if not self._follow:
                self._finish(place)
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001 - the same
            raise truncated(place, self.positions.get(place, -1), "it was dropped while reading")
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise ConfigurationError(
                f"this user may not read {topic}: {error.str()}; ask for the right, or log in anew"
            )
        else:  # a new topic without a leader, a broker that restarts: the client tries again
            self._fault = error.str()

    def _finish(self, place: Place) -> None:
        if place in self._open:
            del self._open[place]
            self.positions[place] = max(self.positions[place], self._ends[place])
            self._consumer.pause([TopicPartition(*place)])

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the client's name for it
            self._fault = error.str()


def read(
    connection: Connection,
    topics: Sequence[Topic],
    *,
    codec: Codec | None = None,
    start: Start = "beginning",
    stop: Stop = "now",
    keys: Collection[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_error: Callable[[RawRecord, ContractError], None] | None = None,
) -> Iterator[Event]:
    """Decoded events of topics, with metadata; see `LogReader` for the positions.

    Parameters
    ----------
    progress : callable, optional
        ``progress(n_read, n_total)`` after each batch.
    on_error : callable, optional
        Takes records that break the contract; without it they are raised.

    Raises
    ------
    ContractError
        If a record breaks the contract and `on_error` is not given.
    LogTruncated, Unavailable, ConfigurationError
        See `LogReader`.
    """
    by_name = {topic.name: topic for topic in topics}
    codec = codec or codec_of(connection)
    with LogReader(connection, list(topics), start=start, stop=stop, keys=keys) as reader:
        n = 0
        for batch in reader.batches():
            n += len(batch)
            for record in raw_records(batch):
                try:
                    event = decode(codec, record, by_name.get(record.topic))
                except ContractError as error:
                    if on_error is None:
                        raise
                    on_error(record, error)
                    continue
                yield event
            if progress is not None:
                progress(n, reader.total)


def decode(codec: Codec, record: RawRecord, topic: Topic | None = None) -> Event:
    """Event of a raw record, after all checks.

    Raises
    ------
    ContractError
        If the record breaks the contract, or its topic is in no catalogue.
    """
    known = topic or CATALOGUE.get(record.topic)
    if known is None:
        raise UndecodableRecord(f"topic {record.topic} is not in the catalogue, so its records cannot be checked")
    return codec.read(known, record.key, record.value, record.headers, record.origin)


def raw_records(batch: list[Message]) -> Iterator[RawRecord]:
    """Records of a batch, which is emptied.

    A message keeps the headers that it was asked for: in a batch that stays they pile up, and Python's collector of
    garbage looks at all of them again and again.
    """
    batch.reverse()
    while batch:
        yield raw_record(batch.pop())


def raw_record(message: Message) -> RawRecord:
    """Record of a message that `LogReader.batches` handed out."""
    kind, timestamp = message.timestamp()
    found: Any = message  # whatever was consumed has a place
    return RawRecord(
        found.topic(),
        found.partition(),
        found.offset(),
        -1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
        found.key(),
        found.value(),
        _headers(found.headers()),
    )


def _headers(found: list[tuple[str, bytes | None]] | None) -> list[tuple[str, bytes]]:
    """Headers of a message; one without a value, which Kafka allows, has an empty one."""
    for _, value in found or ():  # as good as never true, and a list built anew costs more than all that is asked
        if value is None:
            return [(name, value or b"") for name, value in found or ()]
    return found or []  # type: ignore[return-value]  # none of them is None
