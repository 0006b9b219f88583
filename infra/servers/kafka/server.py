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

from infra.launch.home import write_private
from infra.launch.ports import HOST
from infra.servers.java import java_command
from infra.servers.kafka.security import ADMIN, BROKER, Secrets
from infra.servers.server import Server
from millrace.connection import Connection
from millrace.errors import Unavailable

# Settings of a node on a developer's machine: no waiting for further group members, small internal topics, and a log
# cleaner whose buffer fits the small heap.
_PROPERTIES: Final = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "CLIENTS",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "message.max.bytes": "1114112",
    # After a kill the node may register again only when its former session has ended.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "1000",
}


def replication(n_nodes: int) -> dict[str, str]:
    """Properties that keep every record on `n_nodes` nodes, and acknowledge it when all but one have it."""
    minimum = max(1, n_nodes - 1)
    return {
        "default.replication.factor": str(n_nodes),
        "min.insync.replicas": str(minimum),
        "offsets.topic.replication.factor": str(n_nodes),
        "transaction.state.log.replication.factor": str(n_nodes),
        "transaction.state.log.min.isr": str(minimum),
    }


class KafkaServer(Server):
    """A Kafka node in KRaft mode, broker and controller in one, listening on loopback.

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
    secrets : Secrets, optional
        Passwords; with them nobody comes in without one, and nobody but ``admin`` may do anything before a rule
        allows it.
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
        secrets: Secrets | None = None,
        **options: Any,
    ) -> None:
        super().__init__(folder, environment=environment, ports={"clients": port} if port else None, **options)
        self.node_id = 1
        self._secrets = secrets
        arguments = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]
        self._node = [*java_command(java, heap_mb, busy=True), *arguments]
        self._tool = [*java_command(java, heap_mb, busy=False), *arguments]
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
            self._format(new_cluster_id())
        return [*self._node, "kafka.Kafka", str(self._folder / "server.properties")]

    def _ready(self, ports: Mapping[str, int]) -> bool:
        """Whether this node answers and the cluster counts on it."""
        security = self._secrets.credentials(ADMIN) if self._secrets else {}
        connection = Connection(bootstrap=f"{HOST}:{ports['clients']}", security=security)
        client = AdminClient(connection.librdkafka() | {"log_level": 0, "reconnect.backoff.max.ms": 200})
        try:
            return self.node_id in client.list_topics(timeout=1).brokers
        except KafkaException:
            return False

    def _quorum(self, controller_port: int) -> Mapping[int, int]:
        """Controller port of each node by its id."""
        return {self.node_id: controller_port}

    def _write_properties(self, port: int, controller_port: int) -> None:
        quorum = self._quorum(controller_port)
        properties = {
            **_PROPERTIES,
            **replication(len(quorum)),
            **(self._secrets.properties() if self._secrets else {}),
            "node.id": str(self.node_id),
            "listeners": f"CLIENTS://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"CLIENTS://{HOST}:{self._advertised_port or port}",
            "controller.quorum.voters": ",".join(f"{number}@{HOST}:{at}" for number, at in quorum.items()),
            "log.dirs": str((self._folder / "data").absolute()),
            **self._properties,
        }
        content = "".join(f"{name}={value}\n" for name, value in properties.items())
        write_private(self._folder / "server.properties", content)

    def _format(self, cluster_id: str) -> None:
        users = self._secrets.scram((BROKER, ADMIN)) if self._secrets else []
        arguments = ["format", "-t", cluster_id, "-c", str(self._folder / "server.properties"), *users]
        # In a file: everybody on the machine may read a command line.
        file = self._folder / "format.arguments"
        write_private(file, "".join(f"{argument}\n" for argument in arguments))
        command = [*self._tool, "kafka.tools.StorageTool", f"@{file}"]
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(self._environment))
        finally:
            file.unlink()
        if run.returncode != 0:
            raise Unavailable(
                f"Kafka could not format its storage in {self._folder}: {(run.stderr or run.stdout).strip()[-600:]}"
            )


def new_cluster_id() -> str:
    """A random cluster id; Kafka's tools would take a leading hyphen for an option."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "_")
