"""Three nodes lose nothing that they acknowledged, whichever of them is killed."""

import asyncio
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient

from infra.launch.processes import end_all
from infra.servers.kafka import KafkaCluster
from infra.settings import process_environment
from millrace.connection import Connection
from millrace.reader import LogReader
from streams.admin import TopicPlan, create_topics
from tests.brokers import KafkaParts
from tests.conditions import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]
N_RECORDS = 300


@pytest.fixture
def cluster(kafka_installed: KafkaParts, tmp_path: Path) -> Iterator[KafkaCluster]:
    parts = {**asdict(kafka_installed), "environment": process_environment(), "heap_mb": 256}
    with KafkaCluster(tmp_path / "kafka", timeout_s=120, **parts) as running:
        yield running


def in_sync(cluster: KafkaCluster, topic: str) -> set[int]:
    """How many replicas each partition of a topic has that are up to date."""
    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    return {len(partition.isrs) for partition in client.list_topics(topic, 10).topics[topic].partitions.values()}


def read(cluster: KafkaCluster, topic: str) -> list[bytes]:
    with LogReader(Connection(bootstrap=cluster.bootstrap), [topic]) as records:
        return [record.value or b"" for record in records]


async def test_a_node_that_is_killed_while_records_come_costs_none_of_them(cluster: KafkaCluster) -> None:
    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    await asyncio.to_thread(create_topics, client, [TopicPlan("topic", 3, {})])
    await asyncio.to_thread(wait_until, lambda: in_sync(cluster, "topic") == {3}, 60)
    acknowledged: list[bytes] = []
    options = {"acks": "all", "enable_idempotence": True}
    async with AIOKafkaProducer(bootstrap_servers=cluster.bootstrap, **options) as producer:
        for n in range(N_RECORDS):
            if n == N_RECORDS // 3:
                cluster.nodes[0].kill()  # the first leader of a third of the partitions, and perhaps of the quorum
            value = str(n).encode()
            await producer.send_and_wait("topic", value, partition=n % 3)
            acknowledged.append(value)
        assert in_sync(cluster, "topic") == {2}
        assert sorted(await asyncio.to_thread(read, cluster, "topic")) == sorted(acknowledged)
        await asyncio.to_thread(cluster.nodes[0].start)
        await asyncio.to_thread(wait_until, lambda: in_sync(cluster, "topic") == {3}, 60)
        cluster.nodes[1].kill()
        await producer.send_and_wait("topic", b"after the second kill", partition=1)
    assert sorted(await asyncio.to_thread(read, cluster, "topic")) == sorted([*acknowledged, b"after the second kill"])


def test_all_nodes_end_in_order_and_come_back_with_their_cluster(cluster: KafkaCluster) -> None:
    cluster_id, processes = cluster.cluster_id, cluster.processes
    assert [process.name for process in processes] == ["broker", "broker-2", "broker-3"]
    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    create_topics(client, [TopicPlan("kept", 1, {})])
    assert end_all(processes, 30.0) == []  # none had to be killed
    cluster.start()
    assert cluster.cluster_id == cluster_id
    wait_until(lambda: in_sync(cluster, "kept") == {3}, 60)
