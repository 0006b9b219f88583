"""Positions in the log: where to start, where the log begins and ends, and how to ask the broker for that."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from millrace.connection import Connection
from millrace.errors import ConfigurationError, LogTruncated, Unavailable
from millrace.keys import partition_for

Place = tuple[str, int]
Bounds = Mapping[Place, tuple[int, int]]

READER_GROUP: Final = "millrace-reader"
"""Named because the client wants a group; nothing is ever joined or committed. A secured broker must allow it."""
_LEADERLESS: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)


class Since(msgspec.Struct, frozen=True):
    """Start at the first record at or after a time, in unix milliseconds."""

    timestamp_ms: int


class Last(msgspec.Struct, frozen=True):
    """Start so that at most this many records of each partition come before its end."""

    n: int


class Until(msgspec.Struct, frozen=True):
    """Stop before the first record at or after a time, in unix milliseconds."""

    timestamp_ms: int


Start = Literal["beginning", "end"] | Since | Last | Mapping[Place, int]
Stop = Literal["now", "never"] | Until | Mapping[Place, int]


class LogBounds:
    """Asks a broker for partitions and offsets through a consumer.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    consumer : Consumer
        A client that has joined nothing.
    timeout_s : float
        How long each request may take, in seconds.
    """

    def __init__(self, connection: Connection, consumer: Consumer, timeout_s: float) -> None:
        self._connection = connection
        self._consumer = consumer
        self._timeout_s = timeout_s

    def places(self, names: Sequence[str], keys: Collection[str] | None = None) -> list[Place]:
        """Partitions of topics, all or those of some record keys.

        Raises
        ------
        ConfigurationError
            If a topic does not exist.
        """
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

    def of(self, places: Iterable[Place]) -> dict[Place, tuple[int, int]]:
        """First and end offset of each partition.

        Raises
        ------
        Unavailable
            If the broker does not say.
        """
        return {place: self._watermarks(place) for place in places}

    def starts(self, start: Start, bounds: Bounds) -> dict[Place, int]:
        """Offset that `start` means in each partition.

        Raises
        ------
        LogTruncated
            If it is not in the log.
        """
        match start:
            case "end":
                found = {place: high for place, (_, high) in bounds.items()}
            case Since(timestamp_ms):
                at = self._at_time(timestamp_ms, bounds)
                # A negative offset says that no record is as new, or that the broker cannot look times up, as the
                # embedded one: then it finds nothing since 1970 either, and all is read.
                first = self._at_time(0, bounds) if any(offset < 0 for offset in at.values()) else at
                found = {
                    place: at[place] if at[place] >= 0 else high if first[place] >= 0 else low
                    for place, (low, high) in bounds.items()
                }
            case Last(n):
                found = {place: max(low, high - n) for place, (low, high) in bounds.items()}
            case _:
                named = start if isinstance(start, Mapping) else {}
                found = {place: named.get(place, low) for place, (low, _) in bounds.items()}
        for place, (low, high) in bounds.items():
            if not low <= found[place] <= high:
                raise truncated(place, found[place], f"the log holds {low} to {high}")
        return found

    def ends(self, stop: Stop, bounds: Bounds) -> dict[Place, int]:
        """Offset in each partition that is not read any more; the end of the log where `stop` names none before it."""
        match stop:
            case Until(timestamp_ms):
                named: Mapping[Place, int] = self._at_time(timestamp_ms, bounds)
            case _:
                named = stop if isinstance(stop, Mapping) else {}
        return {place: named[place] if named.get(place, -1) >= 0 else high for place, (_, high) in bounds.items()}

    def _at_time(self, timestamp_ms: int, bounds: Bounds) -> dict[Place, int]:
        """Offset of the first record at or after a time in each partition, negative where none was found."""
        asked = [TopicPartition(topic, partition, timestamp_ms) for topic, partition in bounds]
        answered = self._consumer.offsets_for_times(asked, timeout=self._timeout_s) if asked else []
        return {(tp.topic, tp.partition): tp.offset for tp in answered}

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
            return found[0], found[1]


def log_bounds(connection: Connection, timeout_s: float = 10.0) -> dict[str, dict[int, tuple[int, int]]]:
    """First and end offsets by topic and partition; internal topics are left out.

    Raises
    ------
    Unavailable
        If the broker does not answer.
    """
    connection.check_reachable(timeout_s)
    consumer = Consumer(reader_settings(connection, lambda _error: None), logger=None)
    try:
        names = [name for name in consumer.list_topics(timeout=timeout_s).topics if not name.startswith("__")]
        asked = LogBounds(connection, consumer, timeout_s)
        found: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in names}
        for (name, partition), bound in asked.of(asked.places(names)).items():
            found[name][partition] = bound
        return found
    except KafkaException as error:
        raise unavailable(connection, str(error.args[0].str())) from error
    finally:
        consumer.close()


def log_sizes(connection: Connection, timeout_s: float = 10.0) -> dict[str, dict[int, int]]:
    """Offsets between beginning and end, by topic and partition; see `log_bounds`."""
    bounds = log_bounds(connection, timeout_s)
    return {name: {p: high - low for p, (low, high) in found.items()} for name, found in bounds.items()}


def reader_settings(connection: Connection, on_error: Callable[[KafkaError], None]) -> dict[str, Any]:
    """Settings of a consumer that reads by assignment and never commits."""
    return connection.librdkafka() | {
        "group.id": READER_GROUP,
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


def unavailable(connection: Connection, why: str) -> Unavailable:
    """Error of a broker that does not answer."""
    return Unavailable(
        f"the broker at {connection.bootstrap} does not answer ({why}); is it running? "
        "see `python -m infra status` and `millrace doctor`"
    )


def truncated(place: Place, at: int, why: str) -> LogTruncated:
    """Error of a position that is not in the log."""
    return LogTruncated(
        f"position {at} of {place[0]}/{place[1]} is not in the log ({why}); read from the beginning, "
        "or raise the topic's retention. Nothing was skipped"
    )
