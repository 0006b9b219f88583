"""The Kafka node keeps what it acknowledged, its cluster and, when it must, its port."""

import socket
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.servers.kafka import KafkaServer
from millrace.errors import Unavailable
from streams.admin import TopicPlan, create_topics
from tests.brokers import StartKafka
from tests.tcp_proxy import TcpProxy

PARTITION = TopicPartition("topic", 0)


def _create(node: KafkaServer) -> None:
    create_topics(AdminClient({"bootstrap.servers": f"127.0.0.1:{node.port}"}), [TopicPlan("topic", 1, {})])


async def _produce(node: KafkaServer, values: list[bytes]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=node.bootstrap, acks="all", enable_idempotence=True) as producer:
        for value in values:
            await producer.send_and_wait(PARTITION.topic, value)


async def _read(node: KafkaServer, n_records: int) -> list[bytes]:
    values: list[bytes] = []
    async with AIOKafkaConsumer(bootstrap_servers=node.bootstrap) as consumer:
        consumer.assign([PARTITION])
        await consumer.seek_to_beginning(PARTITION)
        while len(values) < n_records:
            values += [record.value for record in (await consumer.getmany(timeout_ms=1000)).get(PARTITION, [])]
    return values


@pytest.mark.slow
async def test_a_restart_and_a_kill_keep_port_cluster_and_records(start_kafka: StartKafka) -> None:
    node = start_kafka()
    port, cluster_id = node.port, node.cluster_id
    _create(node)
    await _produce(node, [b"before the restart"])
    node.stop()
    node.start()
    await _produce(node, [b"before the kill"])
    node.kill()
    with pytest.raises(Unavailable, match="does not run"):
        _ = node.process
    node.start()
    assert (node.port, node.cluster_id) == (port, cluster_id)
    assert await _read(node, 2) == [b"before the restart", b"before the kill"]


async def test_another_port_serves_the_same_data(start_kafka: StartKafka) -> None:
    first = start_kafka()
    _create(first)
    await _produce(first, [b"kept"])
    first.stop()
    with socket.create_server(("127.0.0.1", first.port or 0)):
        second = start_kafka()
        assert second.port != first.port
        assert second.cluster_id == first.cluster_id
        assert await _read(second, 1) == [b"kept"]


async def test_clients_go_to_the_advertised_port(start_kafka: StartKafka) -> None:
    with TcpProxy() as proxy:
        node = start_kafka(advertised_port=proxy.port)
        proxy.target_port = node.port
        _create(node)
        await _produce(node, [b"through the proxy"])
        assert node.bootstrap == f"127.0.0.1:{proxy.port}"
        assert proxy.n_connections > 0


def test_a_pinned_port_that_is_taken_is_named_with_the_remedy(start_kafka: StartKafka) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(Unavailable, match=r"in use.*set `kafka\.port`"),
    ):
        start_kafka(port=taken.getsockname()[1], timeout_s=20.0)


def test_a_node_that_is_not_ready_in_time_is_ended(start_kafka: StartKafka, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"within 0\.1 s"):
        start_kafka(timeout_s=0.1)
    running = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in running if str(tmp_path) in line]
