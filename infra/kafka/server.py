"""One Kafka node: its properties, its storage, its process.

The node keeps its data and its cluster id in its folder, so it may be ended, even killed, and started again, on the
same port or another one.
"""

from __future__ import annotations

import base64
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.launch.ports import HOST, free_ports
from infra.launch.processes import ProcessRecord, spawn, tail
from millrace.errors import Unavailable

_ATTEMPTS: Final = 3
_GRACE_S: Final = 30.0
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


class KafkaServer:
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
    timeout_s : float
        How long a start may take, in seconds.
    on_spawn : callable, optional
        Told of the process as soon as it exists, before it is ready.
    """

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
        timeout_s: float = 60.0,
        on_spawn: Callable[[ProcessRecord], None] = lambda _: None,
    ) -> None:
        self._folder = folder
        self._java = [
            java,
            f"-Xmx{heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        self._class_path = f"{jars}/*"
        self._environment = environment
        self.port = port
        self._advertised_port = advertised_port
        self._properties = dict(properties or {})
        self._timeout_s = timeout_s
        self._on_spawn = on_spawn
        self._process: ProcessRecord | None = None

    @property
    def bootstrap(self) -> str:
        """Where clients connect: the advertised port on loopback, ``host:port``."""
        return f"{HOST}:{self._advertised_port or self.port}"

    @property
    def process(self) -> ProcessRecord:
        """The running node.

        Raises
        ------
        Unavailable
            It does not run.
        """
        if self._process is None:
            raise Unavailable("the Kafka node does not run; call start()")
        return self._process

    @property
    def log(self) -> Path:
        """The file that receives the node's output."""
        return self._folder / "server.log"

    @property
    def cluster_id(self) -> str | None:
        """The id its storage was formatted with; None before the first start."""
        try:
            lines = (self._folder / "data" / "meta.properties").read_text().splitlines()
        except FileNotFoundError:
            return None
        return dict(line.partition("=")[::2] for line in lines).get("cluster.id")

    def start(self) -> Self:
        """Start the node and wait until it serves metadata.

        Raises
        ------
        Unavailable
            It ended at once or was not ready in time; the message carries the end of its log.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for attempt in range(_ATTEMPTS):
            port_is_free_to_choose = self.port is None
            chosen, controller_port = free_ports(2)
            port = self.port or chosen
            self._write_properties(port, controller_port)
            if self.cluster_id is None:
                self._format()
            log = self.log
            seen = log.stat().st_size if log.exists() else 0
            command = [*self._java, "-cp", self._class_path, "kafka.Kafka", str(self._folder / "server.properties")]
            self._process = spawn("broker", command, log, self._environment)
            try:
                self._on_spawn(self._process)
                if self._wait_ready(port):
                    self.port = port
                    return self
            except BaseException:
                self.kill()
                raise
            self.kill()
            # Another process may have taken a chosen port in between; then, and only then, another try makes sense.
            taken = "Address already in use" in log.read_bytes()[seen:].decode(errors="replace")
            if taken and not port_is_free_to_choose:
                raise Unavailable(
                    f"Kafka cannot listen on port {port} of {HOST}: it is in use; end the process that has it, or set "
                    "`kafka.port` to another one (0 chooses)"
                )
            if not taken or attempt == _ATTEMPTS - 1:
                break
        raise Unavailable(
            f"Kafka was not ready on port {port} within {self._timeout_s:g} s; its log {log} ends with:\n{tail(log)}"
        )

    def stop(self) -> None:
        """End the node in order; it keeps its data and, for this object, its port."""
        if self._process is not None:
            self._process.end(_GRACE_S)
            self._process = None

    def kill(self) -> None:
        """End the node with SIGKILL, as a fault."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

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

    def _wait_ready(self, port: int) -> bool:
        """Whether the node lists itself as a broker before it ends or the time is up."""
        address = f"{HOST}:{port}"
        deadline = time.monotonic() + self._timeout_s
        while self._process is not None and self._process.alive and time.monotonic() < deadline:
            # A new client each time: an old one may ask at the advertised port alone.
            client = AdminClient({"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 200})
            try:
                if client.list_topics(timeout=1).brokers:
                    return True
            except KafkaException:
                pass
        return False
