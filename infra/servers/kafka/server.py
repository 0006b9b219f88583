"""One Kafka node: its properties, its storage, its process.

The node keeps its data and its cluster id in its folder, so it may be ended, even killed, and started again, on the
same port or another one.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.launch.ports import HOST
from infra.servers.server import Server
from millrace.errors import Unavailable

# Settings of a single node on a developer's machine: no replicas, no waiting for further group members, small
# internal topics, and a log cleaner whose buffer fits the small heap.
_PROPERTIES: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "message.max.bytes": "1114112",
    # After a kill the node may register again only when its former session has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "1000",
}


class KafkaServer(Server):
    """A single Kafka node in KRaft mode, listening on loopback.

    Parameters
    ----------
    folder : Path
        Holds the node's properties, log and data; created if missing.
    jars : Path
        What `install_kafka` returned.
    environment : mapping of str to str
        Environment of the Java process.
    java : str
        Java 17 or newer.
    port : int, optional
        Where it listens; chosen when missing, and kept for the life of this object.
    advertised_port : int, optional
        The port named to clients, where it differs (a proxy in front).
    heap_mb : int
        Java heap in MiB.
    properties : mapping of str to str, optional
        Further server properties, winning over the own ones.
    options
        As of `Server`.
    """

    name: ClassVar[str] = "broker"
    title: ClassVar[str] = "Kafka"
    port_names: ClassVar[tuple[str, ...]] = ("clients", "controller")
    inner_ports: ClassVar[tuple[str, ...]] = ("controller",)
    port_setting: ClassVar[str] = "kafka.port"

    def __init__(
        self,
        folder: Path,
        *,
        jars: Path,
        environment: Mapping[str, str],
        java: str = "java",
        port: int | None = None,
        advertised_port: int | None = None,
        heap_mb: int = 512,
        properties: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(folder, environment=environment, ports={"clients": port} if port else None, **options)
        self._java = [
            java,
            f"-Xmx{heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        self._class_path = f"{jars}/*"
        self._advertised_port = advertised_port
        self._properties = dict(properties or {})

    @property
    def port(self) -> int | None:
        """Where it listens; None before the first start."""
        return self.ports.get("clients")

    @property
    def bootstrap(self) -> str:
        """Where clients connect: the advertised port on loopback, ``host:port``."""
        return f"{HOST}:{self._advertised_port or self.port}"

    @property
    def cluster_id(self) -> str | None:
        """The id its storage was formatted with; None before the first start."""
        try:
            lines = (self._folder / "data" / "meta.properties").read_text().splitlines()
        except FileNotFoundError:
            return None
        return dict(line.partition("=")[::2] for line in lines).get("cluster.id")

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        self._write_properties(ports["clients"], ports["controller"])
        if self.cluster_id is None:
            self._format()
        return [*self._java, "-cp", self._class_path, "kafka.Kafka", str(self._folder / "server.properties")]

    def _ready(self, ports: Mapping[str, int]) -> bool:
        address = f"{HOST}:{ports['clients']}"
        client = AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _write_properties(self, port: int, controller_port: int) -> None:
        properties = {
            **_PROPERTIES,
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._advertised_port or port}",
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str((self._folder / "data").absolute()),
            **self._properties,
        }
        content = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self._folder / "server.properties").write_text(content)

    def _format(self) -> None:
        cluster_id = base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id.replace("-", "_")]
        command = [*self._java, "-cp", self._class_path, *tool, "-c", str(self._folder / "server.properties")]
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(self._environment))
        if run.returncode != 0:
            raise Unavailable(
                f"Kafka could not format its storage in {self._folder}: {(run.stderr or run.stdout).strip()[-600:]}"
            )
