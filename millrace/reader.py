"""Read the log: any topics, from a position to a position, by assignment and without ever committing.

A reader whose position is gone stops with `LogTruncated`; it never skips.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ConfigurationError, ContractError, LogTruncated, Unavailable, UndecodableRecord
from millrace.event import Event, Origin
from millrace.keys import partition_for
from millrace.topics import CATALOGUE, Topic

Place = tuple[str, int]
_BATCH: Final = 2000
_POLL_S: Final = 0.1
_LEADERLESS: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


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


class Since(msgspec.Struct, frozen=True):
    """Start at the first record at or after a time, in unix milliseconds."""

    timestamp_ms: int


Start = Literal["beginning", "end"] | Since | Mapping[Place, int]
Stop = Literal["now", "never"] | Mapping[Place, int]


class LogReader:
    """Reads partitions of topics with one client, in the order of each partition.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    topics : sequence of str or Topic
        What to read.
    start : {"beginning", "end"}, Since or mapping of (topic, partition) to offset
        First position; partitions a mapping does not name start at the beginning.
    stop : {"now", "never"} or mapping of (topic, partition) to offset
        ``now`` ends at the end offsets seen at the start; a mapping names offsets that are not read any more.
    keys : collection of str, optional
        Read only the partitions of these record keys; records of other keys on them come too.
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
        timeout_s: float = 10.0,
    ) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._fault = ""
        connection.check_reachable(timeout_s)
        self._consumer = Consumer(_settings(connection, self._on_error), logger=None)
        try:
            names = [topic if isinstance(topic, str) else topic.name for topic in topics]
            places = self._places(names, keys)
            bounds = {place: self._watermarks(place) for place in places}
            self.positions = self._starts(start, bounds)
            self._follow = stop == "never"
            ends = stop if isinstance(stop, Mapping) else {}
            self._ends = {place: ends.get(place, high) for place, (_, high) in bounds.items()}
            self._check(bounds)
            open_places = [p for p in places if self._follow or self.positions[p] < self._ends[p]]
            self._open = set(open_places)
            self.total = sum(max(0, self._ends[p] - self.positions[p]) for p in places)
            self._consumer.assign([TopicPartition(t, p, self.positions[t, p]) for t, p in open_places])
        except KafkaException as error:
            self.close()
            raise self._unavailable(str(error.args[0].str())) from error
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
            for message in batch:
                yield raw_record(message)

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
                    raise self._unavailable(self._fault or f"silent for {self._timeout_s:g} s")
                continue
            if found := [message for message in messages if self._accept(message)]:
                self._fault = ""
                yield found

    def _accept(self, message: Message) -> bool:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        error = message.error()
        if error is not None:
            self._handle(error, str(topic), int(partition or 0))
            return False
        place = (str(topic), int(partition or 0))
        if place not in self._open:
            return False
        if not self._follow and int(offset or 0) >= self._ends[place]:
            self._finish(place)
            return False
        self.positions[place] = int(offset or 0) + 1
        if not self._follow and self.positions[place] >= self._ends[place]:
            self._finish(place)
        return True

    def _handle(self, error: KafkaError, topic: str, partition: int) -> None:
        place = (topic, partition)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name for it
            # Compaction and transaction markers leave gaps, so the last offset may never be handed out.
            if not self._follow:
                self._finish(place)
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:  # noqa: SLF001 - the same
            raise _truncated(place, self.positions.get(place, -1), "it was dropped while reading")
        elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
            raise ConfigurationError(f"this user may not read {topic}: {error.str()}; ask for the right, or log in anew")
        else:  # a new topic without a leader, a broker that restarts: the client tries again
            self._fault = error.str()

    def _finish(self, place: Place) -> None:
        if place in self._open:
            self._open.discard(place)
            self.positions[place] = max(self.positions[place], self._ends[place])
            self._consumer.pause([TopicPartition(*place)])

    def _places(self, names: Sequence[str], keys: Collection[str] | None) -> list[Place]:
        known = self._consumer.list_topics(timeout=self._timeout_s).topics
        if missing := [name for name in names if name not in known]:
            raise ConfigurationError(
                f"topics {', '.join(missing)} do not exist at {self._connection.bootstrap}; "
                "create them with `python -m infra up`, or see `millrace topics`"
            )
        counts = {name: len(known[name].partitions) for name in names}
        if keys is None:
            return [(name, p) for name, n in counts.items() for p in range(n)]
        return [(name, p) for name, n in counts.items() for p in sorted({partition_for(key, n) for key in keys})]

    def _watermarks(self, place: Place) -> tuple[int, int]:
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                found = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=self._timeout_s)
            except KafkaException as error:
                # A topic that was just created, or a broker that just came back, has no leader yet.
                if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            if found is None:
                raise self._unavailable(f"no offsets of {place[0]}/{place[1]} within {self._timeout_s:g} s")
            return found[0], found[1]

    def _starts(self, start: Start, bounds: Mapping[Place, tuple[int, int]]) -> dict[Place, int]:
        if start == "end":
            return {place: high for place, (_, high) in bounds.items()}
        if isinstance(start, Since):
            asked = [TopicPartition(t, p, start.timestamp_ms) for t, p in bounds]
            found = self._consumer.offsets_for_times(asked, timeout=self._timeout_s)
            return {(tp.topic, tp.partition): _offset(tp, bounds[tp.topic, tp.partition]) for tp in found}
        named = start if isinstance(start, Mapping) else {}
        return {place: named.get(place, low) for place, (low, _) in bounds.items()}

    def _check(self, bounds: Mapping[Place, tuple[int, int]]) -> None:
        for place, (low, high) in bounds.items():
            at = self.positions[place]
            if at != OFFSET_BEGINNING and not low <= at <= high:
                raise _truncated(place, at, f"the log holds {low} to {high}")

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - the client's name for it
            self._fault = error.str()

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            f"the broker at {self._connection.bootstrap} does not answer ({why}); is it running? "
            "see `python -m infra status` and `millrace doctor`"
        )


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
    codec = codec or Codec()
    with LogReader(connection, list(topics), start=start, stop=stop, keys=keys) as reader:
        n = 0
        for batch in reader.batches():
            for message in batch:
                record = raw_record(message)
                try:
                    event = decode(codec, record, by_name.get(record.topic))
                except ContractError as error:
                    if on_error is None:
                        raise
                    on_error(record, error)
                    continue
                yield event
            n += len(batch)
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


def _settings(connection: Connection, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    return connection.librdkafka() | {
        "group.id": "millrace-reader",  # named because the client wants one; nothing is ever joined or committed
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
        "fetch.wait.max.ms": connection.fetch_max_wait_ms,
        "fetch.queue.backoff.ms": 10,
        "log_level": 2,
        "error_cb": on_error,
    }


def raw_record(message: Message) -> RawRecord:
    """Record of a message that `LogReader.batches` handed out."""
    kind, timestamp = message.timestamp()
    headers: Any = message.headers() or ()
    return RawRecord(
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
        -1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
        _bytes(message.key()),
        _bytes(message.value()),
        [(name, value if isinstance(value, bytes) else str(value or "").encode()) for name, value in headers],
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _offset(found: TopicPartition, bounds: tuple[int, int]) -> int:
    return found.offset if found.offset >= 0 else bounds[1]


def _truncated(place: Place, at: int, why: str) -> LogTruncated:
    return LogTruncated(
        f"position {at} of {place[0]}/{place[1]} is not in the log ({why}); read from the beginning, "
        "or raise the topic's retention. Nothing was skipped"
    )
