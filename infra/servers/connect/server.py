"""One worker of Kafka Connect in distributed mode: connectors, positions and states are topics of the log.

So a worker that was killed finds its connectors again, and goes on where the last position was written down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from infra.launch.home import write_private
from infra.launch.ports import HOST
from infra.servers.connect.install import CONNECT_VERSION, DEBEZIUM_VERSION
from infra.servers.connect.rest import ConnectRest
from infra.servers.java import java_command
from infra.servers.server import Server
from millrace.errors import Unavailable

# JSON without schemas: in each record they would repeat the types of all columns, and the mapping does without.
_PROPERTIES: Final = {
    "key.converter": "org.apache.kafka.connect.json.JsonConverter",
    "key.converter.schemas.enable": "false",
    "value.converter": "org.apache.kafka.connect.json.JsonConverter",
    "value.converter.schemas.enable": "false",
    "offset.storage.replication.factor": "-1",  # here and below: as many as the brokers say
    "offset.storage.partitions": "1",
    "config.storage.replication.factor": "-1",
    "status.storage.replication.factor": "-1",
    "status.storage.partitions": "1",
    # What a crash repeats is what was read since positions were last written down.
    "offset.flush.interval.ms": "1000",
    # With one worker nobody else could take its tasks over, so nothing is waited for.
    "scheduled.rebalance.max.delay.ms": "0",
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "1500",
    "rebalance.timeout.ms": "15000",
    "plugin.discovery": "service_load",
}


class ConnectServer(Server):
    """A worker of Kafka Connect with its REST API on loopback.

    Parameters
    ----------
    folder : Path
        Holds its properties and log; created if missing.
    jars : Path
        What `install_connect` returned.
    bootstrap : str
        Brokers of the log, ``host:port,host:port``.
    environment : mapping of str to str
        Environment of the Java process.
    java : str
        Java 17 or newer.
    port : int, optional
        Of the REST API; chosen when missing, and kept for the life of this object.
    heap_mb : int
        Java heap in MiB.
    group : str
        Names the worker's group and, as a prefix, its three topics.
    properties : mapping of str to str, optional
        Further properties of the worker, such as how to log in to the brokers; they win over the own ones.
    options
        As of `Server`.
    """

    name: ClassVar[str] = "connect"
    title: ClassVar[str] = "Kafka Connect"
    version = f"{CONNECT_VERSION}, Debezium {DEBEZIUM_VERSION}"
    port_names: ClassVar[tuple[str, ...]] = ("rest",)
    port_setting: ClassVar[str] = "capture.connect_port"

    def __init__(
        self,
        folder: Path,
        *,
        jars: Path,
        bootstrap: str,
        environment: Mapping[str, str],
        java: str = "java",
        port: int | None = None,
        heap_mb: int = 256,
        group: str = "millrace.connect",
        properties: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(folder, environment=environment, ports={"rest": port} if port else None, **options)
        self._command_head = [
            *java_command(java, heap_mb, busy=False),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.log.io.debezium=info",
            "-cp",
            f"{jars}/*",
        ]
        self._bootstrap = bootstrap
        self._group = group
        self._properties = dict(properties or {})

    @property
    def port(self) -> int | None:
        """Where its REST API listens; None before the first start."""
        return self.ports.get("rest")

    @property
    def rest(self) -> ConnectRest:
        """Its REST API.

        Raises
        ------
        Unavailable
            It was never started.
        """
        if self.port is None:
            raise Unavailable(f"{self.title} does not run; call start()")
        return ConnectRest(HOST, self.port)

    def _command(self, ports: Mapping[str, int]) -> Sequence[str]:
        properties = {
            **_PROPERTIES,
            "bootstrap.servers": self._bootstrap,
            "group.id": self._group,
            **{f"{kind}.storage.topic": f"{self._group}.{kind}" for kind in ("config", "offset", "status")},
            "listeners": f"http://{HOST}:{ports['rest']}",
            "rest.advertised.host.name": HOST,
            **self._properties,
        }
        path = self._folder / "worker.properties"
        # How to log in at the brokers stands there in clear.
        write_private(path, "".join(f"{name}={value}\n" for name, value in properties.items()))
        return [*self._command_head, "org.apache.kafka.connect.cli.ConnectDistributed", str(path)]

    def _ready(self, ports: Mapping[str, int]) -> bool:
        try:
            return ConnectRest(HOST, ports["rest"], timeout_s=1.0).connectors() is not None
        except Unavailable:
            return False
