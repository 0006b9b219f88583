"""A Postgres, and Kafka Connect with Debezium, for a stack that captures changes: started on request alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from infra.launch.broker import kafka_secrets
from infra.launch.servers import MakeServer, Part
from infra.launch.stack import Stack
from infra.rights import CONNECT, CONNECT_GROUP
from infra.servers.connect import ConnectRest, ConnectServer, install_connect
from infra.servers.java import find_java
from infra.servers.kafka.security import client_properties
from infra.servers.postgres import PostgresServer, find_postgres, unprivileged, url_at
from infra.settings import Settings, process_environment
from millrace.errors import MillraceError

SIGNALS: Final = "public.millrace_signal"
"""Table through which Debezium is asked to read rows that are there already."""
_ROLES: Final = ("", "producer.", "consumer.", "admin.")
"""What a worker of Connect does on the log, as prefixes of its properties."""


def connect_url(settings: Settings, stack: Stack) -> str:
    """Of the Kafka Connect that the settings name, or of the stack's; empty without either."""
    address = stack.address(ConnectServer.name, "rest")
    return settings.capture.connect_url or (f"http://{address}" if address else "")


def database_url(settings: Settings, stack: Stack) -> str:
    """Of the database that the settings name, or of the stack's; empty without either. Holds a password in clear."""
    address = stack.address(PostgresServer.name, "clients")
    given = settings.capture.database_url.get_secret_value()
    return given or (url_at(settings.home / PostgresServer.name, address) if address else "")


def topics_beside(mapping: str) -> Sequence[str]:
    """Topics that Debezium writes for a mapping of this name, beside those of its tables."""
    return (f"{mapping}.{SIGNALS}", f"__debezium-heartbeat.{mapping}")


class _ConnectPrograms(NamedTuple):
    java: str
    jars: Path


def _install_postgres(settings: Settings, progress: Callable[[str], None]) -> Path:  # noqa: ARG001 - the system's
    unprivileged()
    return find_postgres()


def _install_connect(settings: Settings, progress: Callable[[str], None]) -> _ConnectPrograms:
    java = find_java(settings.kafka.java)
    return _ConnectPrograms(java, install_connect(settings.cache, settings.kafka.maven, progress))


def _make_postgres(settings: Settings, bootstrap: str, programs: Path) -> MakeServer:  # noqa: ARG001
    return lambda folder, ports, note: PostgresServer(
        folder,
        programs=programs,
        environment=process_environment(),
        port=settings.capture.postgres_port or (ports or {}).get("clients"),
        timeout_s=settings.capture.start_timeout_s,
        on_spawn=note,
    )


def _make_connect(settings: Settings, bootstrap: str, programs: _ConnectPrograms) -> MakeServer:
    return lambda folder, ports, note: ConnectServer(
        folder,
        jars=programs.jars,
        bootstrap=bootstrap,
        environment=process_environment(),
        java=programs.java,
        port=settings.capture.connect_port or (ports or {}).get("rest"),
        heap_mb=settings.capture.connect_heap_mb,
        group=CONNECT_GROUP,
        properties=_login(settings),
        timeout_s=settings.capture.start_timeout_s,
        on_spawn=note,
    )


def _login(settings: Settings) -> Mapping[str, str]:
    """How Connect and its connectors log in at nodes of the launcher's that ask for passwords."""
    secrets = kafka_secrets(settings)
    if secrets is None:
        return {}
    properties = client_properties(secrets.credentials(CONNECT))
    return {f"{role}{name}": value for role in _ROLES for name, value in properties.items()}


def _postgres_unwell(settings: Settings, stack: Stack) -> str:  # noqa: ARG001 - what every part is asked with
    port = stack.ports.get(PostgresServer.name, {}).get("clients", 0)
    return "" if PostgresServer.answers(find_postgres(), port, process_environment()) else "takes no connections"


def _connect_unwell(settings: Settings, stack: Stack) -> str:  # noqa: ARG001
    try:
        ConnectRest.at(f"http://{stack.address(ConnectServer.name, 'rest')}").connectors()
    except MillraceError as error:
        return str(error)
    return ""


POSTGRES: Final = Part(PostgresServer, _install_postgres, _make_postgres, _postgres_unwell)
CONNECT_PART: Final = Part(ConnectServer, _install_connect, _make_connect, _connect_unwell)
