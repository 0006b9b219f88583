"""Laws about reading the log: from a position to a position, nothing skipped, nothing committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Producer

from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ConfigurationError, LogTruncated, UndecodableRecord
from millrace.events.corpus import AclChanged
from millrace.keys import document_key, partition_for
from millrace.positions import Last, Since, Until, log_bounds, log_sizes
from millrace.reader import LogReader, decode, raw_records, read
from millrace.topics import ACL_CHANGED
from tests.brokers import Broker


@pytest.fixture
def topic(broker: Broker) -> str:
    return broker.create_topic("read", 2)


@pytest.fixture
def connection(broker: Broker) -> Connection:
    return Connection(bootstrap=broker.bootstrap, profile=broker.kind)


@pytest.fixture
def write(connection: Connection, topic: str) -> Callable[..., None]:
    producer = Producer(connection.librdkafka_producer() | {"linger.ms": 0})

    def call(*values: str, partition: int = 0, **options: Any) -> None:
        for value in values:
            producer.produce(topic, value, f"k{value}", partition=partition, **options)
        assert producer.flush(20) == 0

    return call


def values(reader: LogReader) -> list[str]:
    with reader:
        return [(record.value or b"").decode() for record in reader]


def test_it_reads_to_the_end_as_it_was_and_on_from_there(connection: Connection, topic: str, write: Any) -> None:
    write("a", "b")
    write("c", partition=1)
    first = LogReader(connection, [topic])
    write("later")
    assert sorted(values(first)) == ["a", "b", "c"]
    assert first.positions == {(topic, 0): 2, (topic, 1): 1}
    assert values(LogReader(connection, [topic], start=first.positions)) == ["later"]


def test_it_starts_where_it_is_told(connection: Connection, topic: str, write: Any) -> None:
    write("a", timestamp=1_000_000)
    write("b", timestamp=2_000_000)
    write("c", timestamp=3_000_000)
    assert values(LogReader(connection, [topic], start={(topic, 0): 1})) == ["b", "c"]
    assert values(LogReader(connection, [topic], start=Last(1))) == ["c"]
    assert values(LogReader(connection, [topic], start="end")) == []
    assert values(LogReader(connection, [topic], start={(topic, 0): 1}, stop={(topic, 0): 2})) == ["b"]
    assert values(LogReader(connection, [topic], only=[(topic, 1)])) == []


def test_times_bound_what_is_read_and_where_the_broker_knows_none_all_is_read(
    connection: Connection, topic: str, write: Any
) -> None:
    write("a", timestamp=1_000_000)
    write("b", timestamp=2_000_000)
    write("c", timestamp=3_000_000)
    since, until = LogReader(connection, [topic], start=Since(1_500_000)), Until(2_500_000)
    if connection.profile == "kafka":
        assert values(since) == ["b", "c"]
        assert values(LogReader(connection, [topic], start=Since(9_000_000))) == []
        assert values(LogReader(connection, [topic], stop=until)) == ["a", "b"]
        assert values(LogReader(connection, [topic], start=Since(1_500_000), stop=until)) == ["b"]
    else:  # the embedded broker keeps no index of times
        assert values(since) == ["a", "b", "c"]
        assert values(LogReader(connection, [topic], stop=until)) == ["a", "b", "c"]


def test_it_follows_new_records_until_it_is_told_to_stop(connection: Connection, topic: str, write: Any) -> None:
    write("a")
    found: list[str] = []

    def idle() -> bool:
        if found == ["a"]:
            write("b")
        return len(found) == 2

    with LogReader(connection, [topic], stop="never") as reader:
        for batch in reader.batches(idle=idle):
            found += [(message.value() or b"").decode() for message in batch]
    assert found == ["a", "b"]


def test_headers_and_keys_come_as_bytes(connection: Connection, topic: str, write: Any) -> None:
    write("a", headers=[("one", b"1"), ("none", None)])
    with LogReader(connection, [topic]) as reader:
        (record,) = reader
    assert record.headers == [("one", b"1"), ("none", b"")]
    assert (record.key, record.header("one"), record.header("none"), record.header("no")) == (b"ka", "1", "", "")
    assert str(record.origin) == f"{topic}/0/0"


def test_a_position_beyond_the_end_is_refused(connection: Connection, topic: str, write: Any) -> None:
    write("a")
    with pytest.raises(LogTruncated, match="the log holds 0 to 1"):
        LogReader(connection, [topic], start={(topic, 0): 5})


def test_a_topic_that_does_not_exist_is_named_and_not_created(connection: Connection, topic: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{topic}.nothing"):
        LogReader(connection, [f"{topic}.nothing"])
    assert f"{topic}.nothing" not in log_sizes(connection)


def test_sizes_and_bounds_are_told_for_every_topic(connection: Connection, topic: str, write: Any) -> None:
    write("a", "b")
    assert log_sizes(connection)[topic] == {0: 2, 1: 0}
    assert log_bounds(connection)[topic] == {0: (0, 2), 1: (0, 0)}


def test_a_log_that_lost_the_position_stops_the_reader(embedded_broker: Broker) -> None:
    topic = embedded_broker.create_topic("small", 1)
    connection = Connection(bootstrap=embedded_broker.bootstrap, profile="embedded")
    producer = Producer(connection.librdkafka_producer() | {"linger.ms": 0, "batch.size": 100_000})
    lost: LogReader | None = None
    for n in range(120):
        producer.produce(topic, bytes(90_000))
        assert producer.flush(20) == 0
        if n == 0:
            lost = LogReader(connection, [topic], start="end", stop={(topic, 0): 100})
    assert lost is not None
    with pytest.raises(LogTruncated, match="Nothing was skipped"):
        LogReader(connection, [topic], start={(topic, 0): 0})
    assert len(values(LogReader(connection, [topic]))) < 120
    lost.close()


async def test_events_are_decoded_and_broken_records_are_handed_over(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        await millrace.produce(AclChanged(tenant=tenant, document="a.md", version=1, groups=("x",)))
    key = document_key(tenant, "a.md")
    producer = Producer(embedded.librdkafka_producer())
    producer.produce(ACL_CHANGED.name, b"poison", key.encode(), partition=partition_for(key, 4))
    assert producer.flush(20) == 0
    broken: list[Any] = []
    steps: list[tuple[int, int]] = []
    events: Any = read(
        embedded,
        [ACL_CHANGED],
        keys=[key],
        progress=lambda done, total: steps.append((done, total)),
        on_error=lambda record, _error: broken.append(record),
    )
    assert [event.groups for event in events if event.tenant == tenant] == [("x",)]
    assert [record.value for record in broken if record.key == key.encode()] == [b"poison"]
    assert steps[-1][0] == steps[-1][1]
    with pytest.raises(UndecodableRecord):
        list(read(embedded, [ACL_CHANGED], keys=[key]))


def test_a_record_of_an_unknown_topic_cannot_be_checked(connection: Connection, topic: str, write: Any) -> None:
    write("a")
    with LogReader(connection, [topic]) as reader:
        (record,) = reader
    with pytest.raises(UndecodableRecord, match="not in the catalogue"):
        decode(Codec(), record)


class Held:
    """A message that says nothing but where it stands."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def timestamp(self) -> tuple[int, int]:
        return (1, 5)

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> None:
        """None."""

    value = headers = key


def test_a_message_is_let_go_of_before_the_next_one_is_read() -> None:
    batch = [Held(offset) for offset in range(3)]
    left = [(record.offset, len(batch)) for record in raw_records(batch)]  # type: ignore[arg-type]
    assert left == [(0, 2), (1, 1), (2, 0)]
