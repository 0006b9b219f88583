"""What a capture keeps on the log is on as many nodes as everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from infra.capture import capture
from infra.launch.home import prepare_home
from infra.launch.ports import free_ports
from infra.launch.stack import Stack, write_stack
from infra.servers.connect import ConnectServer
from infra.servers.kafka import KafkaCluster
from infra.settings import Settings, process_environment
from millrace.errors import ConfigurationError
from streams.sources.cdc import capture_topics, read_mapping
from tests.brokers import KafkaParts
from tests.conditions import wait_until

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def cluster(kafka_installed: KafkaParts, tmp_path: Path) -> Iterator[KafkaCluster]:
    parts = {**asdict(kafka_installed), "environment": process_environment(), "heap_mb": 256}
    with KafkaCluster(tmp_path / "kafka", timeout_s=120, **parts) as running:
        yield running


def test_positions_and_captured_rows_are_on_all_nodes_and_a_password_is_its_owner_s_alone(
    cluster: KafkaCluster, kafka_installed: KafkaParts, capture_installed: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "capture.toml").write_text('name = "shop"\n[tables."public.notes"]\ncontent = "body"\n')
    home, [nowhere] = tmp_path / "home", free_ports(1)
    connect = ConnectServer(
        tmp_path / "connect", jars=capture_installed[1], bootstrap=cluster.bootstrap, java=kafka_installed.java,
        environment=process_environment(), timeout_s=120,
    )  # fmt: skip
    with connect:
        assert (tmp_path / "connect" / "worker.properties").stat().st_mode & 0o077 == 0
        settings = Settings(
            home=home,
            capture={
                "mapping": tmp_path / "capture.toml",
                "connect_url": f"http://127.0.0.1:{connect.port}",
                "database_url": f"postgresql://nobody@127.0.0.1:{nowhere}/shop",
            },
        )
        prepare_home(home)
        write_stack(
            Stack(profile="kafka", bootstrap=cluster.bootstrap, log_epoch="", objects="", home=str(home), started_at="")
        )
        with pytest.raises(ConfigurationError, match="the database of mapping"):  # after the topics
            capture(settings)
        captured = [topic.name for topic in capture_topics(read_mapping(tmp_path / "capture.toml"))]
        kept = {*captured, *(f"millrace.connect.{kind}" for kind in ("config", "offset", "status"))}
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
        wait_until(lambda: kept <= set(admin.list_topics(timeout=20).topics))
        topics = admin.list_topics(timeout=20).topics
        replicas = {name: {len(p.replicas) for p in topics[name].partitions.values()} for name in kept}
        assert replicas == {name: {3} for name in kept}
