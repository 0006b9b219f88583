"""``stack.json``: what runs on this machine and where it listens. `millrace` finds a stack by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.launch.home import write_private
from infra.launch.ports import HOST
from infra.launch.processes import ProcessRecord
from infra.servers.kafka import KAFKA_VERSION
from millrace.errors import ConfigurationError

STACK_FORMAT: Final = 1


@dataclass(frozen=True)
class Stack:
    """A running stack.

    Attributes
    ----------
    profile : str
        ``embedded``, ``kafka`` or ``native``.
    bootstrap : str
        Where the broker listens, ``host:port`` (a list, for a broker of the user's).
    log_epoch : str
        Names the life of the log. With the embedded broker it changes at each start; with Kafka it is the cluster id.
        Offsets noted under another epoch mean nothing.
    objects : str
        Object store: an absolute folder.
    home : str
        The home folder, absolute.
    started_at : str
        UTC, ISO 8601.
    registry : str
        Where the schema registry is; empty without one.
    credentials : str
        File with which the command line logs in at secured nodes; empty where none is needed.
    control : str
        Control port of the embedded broker; empty with Kafka.
    processes : tuple of ProcessRecord
        What `up` started, broker first.
    partitions : mapping of str to int
        Partitions found on the broker, by topic.
    ports : mapping of str to mapping
        Ports of the servers on loopback, by server and name of the port.
    versions : mapping of str to str
        Releases of the parts.
    """

    profile: str
    bootstrap: str
    log_epoch: str
    objects: str
    home: str
    started_at: str
    registry: str = ""
    credentials: str = ""
    control: str = ""
    processes: tuple[ProcessRecord, ...] = ()
    partitions: Mapping[str, int] = field(default_factory=dict)
    ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = STACK_FORMAT

    @property
    def broker(self) -> ProcessRecord | None:
        """The broker's process; None when the broker is the user's own."""
        return next((record for record in self.processes if record.role == "broker"), None)

    @property
    def brokers(self) -> tuple[ProcessRecord, ...]:
        """The broker's processes, one for each node."""
        return tuple(record for record in self.processes if record.role == "broker")

    @property
    def workers(self) -> tuple[ProcessRecord, ...]:
        """The worker processes."""
        return tuple(record for record in self.processes if record.role == "worker")

    @property
    def gateways(self) -> tuple[ProcessRecord, ...]:
        """The replicas of the gateway."""
        return tuple(record for record in self.processes if record.role == "gateway")

    @property
    def servers(self) -> tuple[ProcessRecord, ...]:
        """The servers beside the broker."""
        return tuple(record for record in self.processes if record.role == "server")

    def address(self, server: str, port: str) -> str:
        """``host:port`` of a server of this stack; empty when it runs none of that name."""
        found = self.ports.get(server, {}).get(port)
        return f"{HOST}:{found}" if found else ""

    def as_json(self) -> dict[str, Any]:
        """What stands in the file."""
        return {"format": self.format, **asdict(self)}


def write_stack(stack: Stack) -> None:
    """Write ``stack.json`` in one step, readable by its owner alone."""
    content = msgspec.json.format(msgspec.json.encode(stack.as_json()), indent=2).decode()
    write_private(Path(stack.home) / "stack.json", content + "\n")


def read_stack(home: Path) -> Stack | None:
    """Read ``stack.json``; None when there is none.

    Raises
    ------
    ConfigurationError
        It was written by a newer release or is damaged.
    """
    path = home / "stack.json"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    remedy = "end its processes with the release that started them, then remove the file"
    try:
        written = msgspec.json.decode(content, type=dict[str, Any])
        if written.get("format", 0) > STACK_FORMAT:
            raise ConfigurationError(
                f"{path} has format {written['format']}, this release knows up to {STACK_FORMAT}; {remedy}"
            )
        return msgspec.convert(written, Stack)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path} cannot be read ({error}); {remedy}") from error


def part_versions(profile: str) -> dict[str, str]:
    """Releases of what a stack of this profile is made of."""
    parts = {"millrace": version("millrace"), "confluent-kafka": version("confluent-kafka")}
    return parts if profile == "embedded" else {**parts, "kafka": KAFKA_VERSION}
