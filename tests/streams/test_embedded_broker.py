"""The embedded broker: its process, its topics, its limits."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka.admin import AdminClient

from millrace.errors import ConfigurationError, Unavailable
from streams.embedded_broker import EmbeddedBroker
from streams.embedded_broker.cluster import MockCluster
from tests.brokers import Broker
from tests.tcp_proxy import TcpProxy

StartEmbedded = Callable[[], EmbeddedBroker]


def _partitions(bootstrap: str) -> dict[str, int]:
    topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics
    return {name: len(topic.partitions) for name, topic in topics.items()}


def test_topics_have_exactly_the_partitions_asked_for(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    assert broker.create_topic("seven", 7)
    assert broker.create_topic("one", 1)
    assert _partitions(broker.bootstrap) == {"seven": 7, "one": 1}


def test_creating_a_topic_again_changes_nothing(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    broker.create_topic("topic", 3)
    assert not broker.create_topic("topic", 5)
    assert _partitions(broker.bootstrap) == {"topic": 3}


def test_a_topic_named_for_the_first_time_has_four_partitions(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics("first", timeout=10)
    assert _partitions(broker.bootstrap) == {"first": 4}


@pytest.mark.parametrize(("name", "partitions"), [("", 1), ("with space", 1), ("topic", 0), ("t" * 250, 1)])
def test_impossible_topics_are_refused_with_a_remedy(name: str, partitions: int) -> None:
    with MockCluster() as cluster, pytest.raises(ConfigurationError, match="use 1 or more partitions"):
        cluster.create_topic(name, partitions)


def test_the_control_port_answers_nonsense_with_what_is_allowed(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    with pytest.raises(Unavailable, match="use 1 or more partitions"):
        broker.create_topic("topic", 0)
    assert broker.create_topic("topic", 1)


def test_a_control_port_that_is_gone_is_unavailable_with_a_remedy(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    broker.kill()
    with pytest.raises(Unavailable, match="python -m infra status"):
        broker.create_topic("topic", 1)


def test_each_life_of_the_log_has_an_epoch_of_its_own(start_embedded: StartEmbedded) -> None:
    assert start_embedded().log_epoch != start_embedded().log_epoch


def test_sigterm_ends_the_process_with_exit_0_and_takes_back_the_ready_file(
    start_embedded: StartEmbedded, tmp_path: Path
) -> None:
    broker = start_embedded()
    ready_file = tmp_path / "broker-0" / "broker.json"
    assert json.loads(ready_file.read_text())["pid"] == broker.pid
    assert broker.process is not None
    broker.process.send_signal(signal.SIGTERM)
    assert broker.process.wait(10) == 0
    assert not ready_file.exists()


def test_the_broker_ends_with_the_parent_it_was_given(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        broker = EmbeddedBroker.start(tmp_path, parent_pid=parent.pid)
        assert broker.process is not None
        parent.kill()
        assert broker.process.wait(10) == 0


def test_without_a_parent_the_broker_does_not_start(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as parent:
        pass
    with pytest.raises(Unavailable, match="not ready"):
        EmbeddedBroker.start(tmp_path, parent_pid=parent.pid)


def test_a_broker_that_cannot_start_says_how_its_log_ends(tmp_path: Path) -> None:
    (tmp_path / "broker.json").mkdir()
    with pytest.raises(OSError, match=r"broker\.json"):
        EmbeddedBroker.start(tmp_path, parent_pid=os.getpid())


async def test_records_come_back_in_order_from_their_partition(embedded_broker: Broker) -> None:
    topic = embedded_broker.create_topic("records", 2)
    values = [f"{n}".encode() for n in range(50)]
    async with AIOKafkaProducer(
        bootstrap_servers=embedded_broker.bootstrap, acks="all", enable_idempotence=True
    ) as producer:
        for value in values:
            await producer.send_and_wait(topic, value, partition=1)
    assert [record.value for record in await _read(embedded_broker, TopicPartition(topic, 1), len(values))] == values


async def test_about_five_megabytes_of_a_partition_are_kept_and_older_records_are_gone(embedded_broker: Broker) -> None:
    topic = embedded_broker.create_topic("large", 1)
    partition = TopicPartition(topic, 0)
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        for _ in range(12):
            await producer.send_and_wait(topic, b"x" * 900_000, partition=0)
    async with AIOKafkaConsumer(bootstrap_servers=embedded_broker.bootstrap) as consumer:
        first = (await consumer.beginning_offsets([partition]))[partition]
        end = (await consumer.end_offsets([partition]))[partition]
    assert (end, 12 - first) == (12, 5)


async def test_clients_go_to_the_advertised_address(start_embedded: StartEmbedded) -> None:
    broker = start_embedded()
    broker.create_topic("topic", 1)
    with TcpProxy(int(broker.bootstrap.rpartition(":")[2])) as proxy:
        broker.advertise(proxy.port)
        async with AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{proxy.port}") as producer:
            await producer.send_and_wait("topic", b"value")
            assert {node.port for node in producer.client.cluster.brokers()} == {proxy.port}


async def _read(broker: Broker, partition: TopicPartition, n_records: int) -> list[Any]:
    records: list[Any] = []
    async with AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, fetch_max_wait_ms=broker.fetch_max_wait_ms
    ) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        while len(records) < n_records:
            records += (await consumer.getmany(timeout_ms=1000)).get(partition, [])
    return records
