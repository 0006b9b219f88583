"""The tests' own way to the log: write with receipts, read everything, know how far groups have come.

Nothing here goes through the project's clients, so that a fault of theirs cannot hide itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from millrace import ids
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event, Meta
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.topics import ACL_CHANGED, SOURCE_CHANGED, Topic
from tests.faults.workload import POISON, Change

_CODEC = Codec()
_NO_LEADER_YET = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Raw(NamedTuple):
    """A record as read."""

    place: Place
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        """Text of the first header of that name; empty without one."""
        return next((value.decode() for key, value in self.headers if key == name), "")


class Outgoing(NamedTuple):
    """A record to write."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


def root(event: Event, topic: Topic, event_id: str, codec: Codec = _CODEC, **fields: Any) -> Outgoing:
    """Record of an event that nothing caused."""
    meta = Meta(
        id=event_id, type=type(event).type_name(), source="faults", time_us=1_700_000_000_000_000, tenant=event.tenant,
        **{"correlation_id": event_id, **fields},
    )  # fmt: skip
    record = codec.record(topic, event.with_meta(meta))
    return Outgoing(record.topic, record.key, record.value, record.headers)


def outgoing(change: Change, codec: Codec = _CODEC) -> Outgoing:
    """Record of a change of the workload."""
    if change.kind == "access":
        acl = AclChanged(tenant=change.tenant, document=change.document, version=change.version, groups=change.groups)
        return root(acl, ACL_CHANGED, ids.derived("acl", change.tenant, change.document, change.version), codec)
    source = SourceChanged(
        tenant=change.tenant,
        document=change.document,
        version=change.version,
        op="delete" if change.kind == "delete" else "upsert",
        text=None if change.kind == "delete" else change.text,
        n_bytes=len(change.text.encode()),
        acl_version=change.acl_version,
    )
    identity = ids.root_id("app", change.tenant, change.document, 0, change.version)
    record = root(source, SOURCE_CHANGED, identity, codec)
    if change.kind == "poison":
        return record._replace(value=POISON[change.poison](record.value or b""), headers=change.headers)
    return record


class Feeder:
    """Writes records; whoever asked is told of each acknowledgement.

    Parameters
    ----------
    bootstrap : str
        Broker to write to.
    codec : Codec
        Writes changes; another one where a registry numbers the schemas.
    """

    def __init__(self, bootstrap: str, codec: Codec = _CODEC) -> None:
        self._codec = codec
        self._producer = Producer(
            Connection(bootstrap=bootstrap).librdkafka_producer()
            | {
                "linger.ms": 2,
                "queue.buffering.max.messages": 1_000_000,
                "log_level": 2,
            },
            logger=None,
        )

    def send(self, record: Outgoing, acknowledged: Callable[[Place], object] = lambda _: None) -> None:
        """Queue a record; `acknowledged` is called with its place once all in-sync replicas have it."""

        def delivered(error: Any, message: Message) -> None:
            if error is None:
                acknowledged(Place(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)))

        self._producer.produce(
            record.topic, record.value, key=record.key, headers=list(record.headers), on_delivery=delivered
        )
        self._producer.poll(0)

    def feed(self, changes: Iterable[Change], acknowledged: Callable[[Change, Place], object]) -> None:
        """Write changes and wait until all are acknowledged."""
        for change in changes:
            self.send(outgoing(change, self._codec), partial(acknowledged, change))
        self.flush()

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything is acknowledged."""
        left = self._producer.flush(timeout_s)
        assert left == 0, f"{left} records were not acknowledged within {timeout_s:g} s"


def _consumer(bootstrap: str, group: str = "faults-oracle") -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "session.timeout.ms": 2000,
            "heartbeat.interval.ms": 500,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 5,
            "log_level": 2,
        },
        logger=None,
    )


def ends(bootstrap: str, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    """End offset of each partition."""
    consumer = _consumer(bootstrap)
    try:
        return {place: high for place, (_, high) in _bounds(consumer, topics).items()}
    finally:
        consumer.close()


def _bounds(consumer: Consumer, topics: Sequence[str]) -> dict[tuple[str, int], tuple[int, int]]:
    known = consumer.list_topics(timeout=10).topics
    found = {}
    for topic in topics:
        for partition in known[topic].partitions if topic in known else ():
            found[topic, partition] = _watermarks(consumer, TopicPartition(topic, partition))
    return found


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """First and end offset, as soon as the broker knows who leads the partition."""
    found: list[tuple[int, int]] = []

    def told() -> bool:
        try:
            bounds = consumer.get_watermark_offsets(place, timeout=10)
        except KafkaException as error:
            if error.args[0].code() not in _NO_LEADER_YET:
                raise
            return False
        assert bounds is not None, f"no offsets of {place}"
        found.append(bounds)
        return True

    until(told, 10)
    return found[0]


def scan(bootstrap: str, topics: Sequence[str], timeout_s: float = 60.0) -> list[Raw]:
    """Every record of the topics, from their beginnings to the ends seen at the start, each partition in order."""
    consumer = _consumer(bootstrap)
    found: list[Raw] = []
    try:
        bounds = _bounds(consumer, topics)
        waiting = {place for place, (low, high) in bounds.items() if low < high}
        consumer.assign([TopicPartition(*place, bounds[place][0]) for place in waiting])
        deadline = time.monotonic() + timeout_s
        while waiting:
            assert time.monotonic() < deadline, f"{waiting} were not read within {timeout_s:g} s"
            for message in consumer.consume(5000, 0.2):
                place = (str(message.topic()), int(message.partition() or 0))
                if message.error() is not None:
                    waiting.discard(place)  # end of the partition
                    continue
                offset = int(message.offset() or 0)
                if offset < bounds[place][1]:
                    found.append(_raw(message))
                if offset + 1 >= bounds[place][1]:
                    waiting.discard(place)
    finally:
        consumer.close()
    return found


def _raw(message: Message) -> Raw:
    place = Place(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
    pairs: list[tuple[str, Any]] = list(message.headers() or ())  # type: ignore[arg-type] # lists of pairs, always
    return Raw(
        place, _bytes(message.key()), _bytes(message.value()), tuple((name, value or b"") for name, value in pairs)
    )


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def lag(bootstrap: str, groups: Mapping[str, Sequence[str]]) -> dict[tuple[str, str, int], int]:
    """Records between committed offsets and ends, by group, topic and partition; only where it is not 0."""
    behind = {}
    for group, topics in groups.items():
        consumer = _consumer(bootstrap, group)
        try:
            bounds = _bounds(consumer, topics)
            committed = consumer.committed([TopicPartition(*place) for place in bounds], timeout=10)
            for found in committed:
                low, high = bounds[found.topic, found.partition]
                at = found.offset if found.offset >= 0 else low
                if at < high:
                    behind[group, found.topic, found.partition] = high - at
        except KafkaException as error:
            behind[group, str(error), -1] = 1
        finally:
            consumer.close()
    return behind


def commit(bootstrap: str, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Set the committed offsets of a group without members, by joining it: the embedded broker hears members alone."""
    consumer = _consumer(bootstrap, group)
    try:
        consumer.subscribe(sorted({topic for topic, _ in offsets}))
        until(lambda: consumer.poll(0.1) is not None or len(consumer.assignment()) >= len(offsets), 60)
        wanted = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        consumer.commit(offsets=wanted, asynchronous=False)
    finally:
        consumer.close()


def until(condition: Callable[[], object], timeout_s: float, what: Callable[[], object] = lambda: "") -> float:
    """Wait for a condition; returns the seconds it took.

    Raises
    ------
    AssertionError
        If it does not come true in time; the message holds what `what` says then.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what()}")
        time.sleep(0.05)
    return time.monotonic() - began
