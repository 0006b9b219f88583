"""The broker is killed, one node of one or one of three, or bounced with its clients: what it acknowledged is done."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import psutil
import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, PartitionMetadata

from infra.launch.up import down, up
from infra.servers.kafka import KafkaCluster, KafkaServer
from infra.settings import load, process_environment
from millrace.client import Millrace
from millrace.connection import Connection, find_connection
from millrace.errors import MillraceError
from streams.admin import TopicPlan, create_topics
from tests.brokers import KafkaParts
from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.jobs import DONE, JOBS, JobFindings
from tests.faults.log_access import ends, until
from tests.faults.report import FaultRow
from tests.faults.workload import scaled

N_LANES = 20
OUTAGE_S = scaled(30, 4)
CLEAR_S = 2.0
Note = Callable[[FaultRow], None]


@pytest.fixture(scope="module")
def _cluster(tmp_path_factory: pytest.TempPathFactory, kafka_installed: KafkaParts) -> Iterator[KafkaCluster]:
    folder = tmp_path_factory.mktemp("faults-cluster")
    options: dict[str, Any] = {**asdict(kafka_installed), "heap_mb": 512, "timeout_s": 120.0}
    properties = {"group.min.session.timeout.ms": "1000"}
    with KafkaCluster(folder / "kafka", environment=process_environment(), properties=properties, **options) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def _three(_cluster: KafkaCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultStack]:
    home = tmp_path_factory.mktemp("faults-three") / "home"
    loaded = load({"home": str(home), "profile": "kafka", "worker": {"count": 0}, "bootstrap": _cluster.bootstrap})
    stack = FaultStack("kafka", home, loaded, up(loaded).stack, _cluster.nodes[0])
    stack.create_topics((JOBS.name, DONE.name))
    yield stack
    stack.end_workers()
    down(loaded.settings)


@pytest.fixture
def cluster(_cluster: KafkaCluster) -> Iterator[KafkaCluster]:
    """Three nodes, all of which run again afterwards."""
    yield _cluster
    _cluster.start()


@pytest.fixture
def three(_three: FaultStack, cluster: KafkaCluster, kafka_only: FaultStack) -> Iterator[FaultStack]:
    """A stack on three nodes."""
    yield _three
    _three.end_workers()


@contextlib.contextmanager
def under_load(jobs: Jobs) -> Iterator[None]:
    """Send jobs all the while, to a broker that may be away."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            for lane in range(N_LANES):
                job = jobs.job(f"lane-{lane}", work_ms=5)
                jobs.send_later(job)
            stop.wait(0.2)

    thread = threading.Thread(target=send, name="load")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        jobs.feeder.flush()


def test_a_killed_node_comes_back_to_clients_that_were_told_and_workers_that_go_on(
    kafka_only: FaultStack, tag: str, fault_row: Note
) -> None:
    """B5 on one node: nothing is acknowledged while it is away."""
    node = kafka_only.node
    assert node is not None
    jobs = Jobs(kafka_only, tag)
    start(kafka_only)
    with under_load(jobs):
        jobs.wait_done(100)
        node.kill()
        told_s, said = asyncio.run(_told(kafka_only))
        began = time.monotonic()
        until(lambda: time.monotonic() - began > OUTAGE_S, 60)
        node.start()
        seconds = _progress_s(jobs)
    found = jobs.judge()
    assert found.violations == {}
    assert told_s <= CLEAR_S + 0.5
    assert kafka_only.bootstrap in said or "broker" in said.lower()
    assert seconds <= 30
    note = (
        f"away for {OUTAGE_S} s, {found.n_repeated} of {len(jobs.oracle.acknowledged)} records repeated; a client with "
        f"{CLEAR_S:g} s is told after {told_s:.1f} s"
    )
    fault_row(FaultRow("B5 broker kill -9, one node", "kafka", progress_s=seconds, note=note))


def test_of_three_nodes_any_may_be_killed_while_the_work_goes_on(
    three: FaultStack, cluster: KafkaCluster, tag: str, fault_row: Note
) -> None:
    """B5 on three nodes."""
    jobs, slowest = Jobs(three, tag), 0.0
    start(three)
    with under_load(jobs):
        jobs.wait_done(100)
        for node in cluster.nodes[: scaled(3, 2)]:
            node.kill()
            slowest = max(slowest, _progress_s(jobs))
            node.start()
            until(partial(_in_sync, cluster), 60)
    found = jobs.judge()
    assert found.violations == {}
    assert slowest <= 30
    note = f"{scaled(3, 2)} nodes in turn, {found.n_repeated} of {len(jobs.oracle.acknowledged)} records repeated"
    fault_row(FaultRow("B5 broker kill -9, three nodes", "kafka", progress_s=slowest, note=note))


@pytest.mark.parametrize("acks", ["1", "all"])
def test_what_the_leader_alone_acknowledged_dies_with_it(three: FaultStack, cluster: KafkaCluster, acks: str) -> None:
    """Control of B5: the others stand still, the leader says that it has a record, and is killed."""
    topic = f"control-{acks}-{time.monotonic_ns()}"
    create_topics(AdminClient({"bootstrap.servers": three.bootstrap}), [TopicPlan(topic, 1, {})])
    until(lambda: len(_described(cluster, topic).isrs) == 3, 30)
    leader = next(node for node in cluster.nodes if node.node_id == _described(cluster, topic).leader)
    others = [node for node in cluster.nodes if node is not leader]
    options = {"acks": acks, "enable.idempotence": acks == "all", "message.timeout.ms": 60_000, "log_level": 0}
    producer = Producer(Connection(bootstrap=three.bootstrap).librdkafka() | options)
    delivered: list[KafkaError | None] = []
    producer.produce(topic, b"first", on_delivery=lambda error, _: delivered.append(error))
    producer.flush(20)
    for node in others:
        _signal(node, signal.SIGSTOP)
    try:
        producer.produce(topic, b"second", on_delivery=lambda error, _: delivered.append(error))
        producer.flush(2)
        acknowledged = len(delivered) == 2
        leader.kill()
    finally:
        for node in others:
            _signal(node, signal.SIGCONT)
    assert acknowledged == (acks == "1")
    until(lambda: _described(cluster, topic).leader not in {-1, leader.node_id}, 60)
    leader.start()
    producer.flush(60)
    assert delivered == [None, None]
    n_kept = sum(ends(three.bootstrap, (topic,)).values())
    assert n_kept < 2 if acks == "1" else n_kept == 2


def test_bounces_of_worker_and_broker_hard_and_clean_leave_each_effect_once_in_order(
    kafka_only: FaultStack, tag: str, fault_row: Note
) -> None:
    """A3."""
    n_bounces = scaled(24, 4)
    found, n_jobs, slowest = _bounced(kafka_only, tag, n_bounces)
    assert found.violations == {}
    assert found.letters == {}
    assert slowest <= 30
    note = f"{n_bounces} bounces, {found.n_repeated} of {n_jobs} records repeated"
    fault_row(FaultRow("A3 bounces of worker and broker", "kafka", progress_s=slowest, note=note))


def test_bounces_of_workers_that_derive_no_ids_double_effects(kafka_only: FaultStack, tag: str) -> None:
    """Control of A3."""
    found, _, _ = _bounced(kafka_only, tag, 1, without="derived_ids", worker__commit_interval_ms="600000")
    assert found.doubled


def _bounced(
    stack: FaultStack, tag: str, n_bounces: int, without: str = "", **settings: str
) -> tuple[JobFindings, int, float]:
    """End worker and broker by turns, each in order and by force, under load."""
    node, jobs, rng, slowest = stack.node, Jobs(stack, tag), random.Random(33), 0.0
    assert node is not None
    worker = start(stack, without=without, **settings)
    ways: Sequence[str] = ("worker hard", "broker hard", "worker clean", "broker clean")
    with under_load(jobs):
        jobs.wait_done(100)
        for number in range(n_bounces):
            what, how = ways[number % 4].split()
            if what == "worker":
                worker.kill() if how == "hard" else worker.stop()
                worker = start(stack, without=without, **settings)
            else:
                node.kill() if how == "hard" else node.stop()
                node.start()
            slowest = max(slowest, _progress_s(jobs))
            jobs.wait_done(jobs.n_done() + rng.randint(1, 100))
    if without:  # nobody has committed
        worker.kill()
        start(stack)
    return jobs.judge(), len(jobs.oracle.acknowledged), slowest


def _progress_s(jobs: Jobs) -> float:
    """Wait until more jobs are done; the seconds that took."""
    n_done = jobs.n_done()
    return jobs.wait_done(n_done + N_LANES, 60)


async def _told(stack: FaultStack) -> tuple[float, str]:
    """How long a client that allows two seconds waits for an error, and what it says."""
    began = time.monotonic()
    try:
        async with Millrace(find_connection(home=stack.home), tenant="told", timeout_s=CLEAR_S) as client:
            await client.put_document("a.md", "text", groups=["*"])
    except MillraceError as error:
        return time.monotonic() - began, str(error)
    raise AssertionError("a client wrote to a broker that is down")


def _described(cluster: KafkaCluster, topic: str) -> PartitionMetadata:
    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    return client.list_topics(topic, 10).topics[topic].partitions[0]


def _in_sync(cluster: KafkaCluster) -> bool:
    client = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    topics = client.list_topics(timeout=10).topics
    return all(len(each.isrs) == 3 for name in (JOBS.name, DONE.name) for each in topics[name].partitions.values())


def _signal(node: KafkaServer, number: int) -> None:
    psutil.Process(node.process.pid).send_signal(number)
