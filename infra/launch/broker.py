"""Start the broker of a profile as a process that stays."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.launch.processes import ProcessRecord, spawn, tail
from infra.launch.stack import Stack, part_versions
from infra.launch.unlisted import note
from infra.servers.java import find_java
from infra.servers.kafka import KafkaCluster, KafkaServer, Secrets, install_kafka
from infra.servers.kafka.security import ADMIN
from infra.settings import Settings, process_environment
from millrace.connection import Connection
from millrace.errors import ConfigurationError, Unavailable
from streams.embedded_broker import EmbeddedBroker

_KAFKA: Final = "kafka"
_EMBEDDED_READY_S: Final = 30.0


def start_broker(settings: Settings, progress: Callable[[str], None]) -> Stack:
    """Start the profile's broker, or reach the user's own, and describe it.

    Raises
    ------
    ConfigurationError
        Something that the profile needs is not installed.
    Unavailable
        The broker did not become ready.
    """
    if settings.bootstrap:
        return _describe(settings, settings.bootstrap, _cluster_id(settings), ())
    programs = install_broker(settings, progress)
    return _start_embedded(settings) if programs is None else _start_kafka(settings, programs)


def kafka_secrets(settings: Settings) -> Secrets | None:
    """Passwords of the nodes that the launcher runs; None when they ask for none, or the broker is the user's own."""
    return Secrets(settings.home / _KAFKA / "secrets") if settings.kafka.secured and not settings.bootstrap else None


def broker_connection(settings: Settings, bootstrap: str, user: str = ADMIN) -> Connection:
    """How a client reaches the broker; holds the password in clear, so it is for a client and for nothing else.

    Parameters
    ----------
    settings : Settings
        Of the stack; for a broker of the user's own they say how to log in.
    bootstrap : str
        Where the broker is.
    user : str
        As whom, at secured nodes that the launcher runs.
    """
    kafka = settings.kafka
    passwords = kafka_secrets(settings) if settings.profile != "embedded" else None
    security = passwords.credentials(user) if passwords else {}
    if settings.bootstrap and kafka.security_protocol != "PLAINTEXT":
        security["security_protocol"] = kafka.security_protocol
        if kafka.security_protocol.startswith("SASL"):
            security["sasl_mechanism"] = kafka.sasl_mechanism
            security["sasl_username"] = kafka.sasl_username
            security["sasl_password"] = kafka.sasl_password.get_secret_value()
        if kafka.ssl_ca_location is not None:
            security["ssl_ca_location"] = str(kafka.ssl_ca_location)
    return Connection(bootstrap=bootstrap, profile=settings.profile, security=security)


def embedded_broker(stack: Stack) -> EmbeddedBroker:
    """A handle on the embedded broker of a running stack."""
    return EmbeddedBroker(stack.bootstrap, stack.control, stack.broker.pid if stack.broker else 0, stack.log_epoch)


def _start_embedded(settings: Settings) -> Stack:
    ready_file, log = settings.home / "run" / "broker.json", settings.home / "logs" / "broker.log"
    ready_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "streams.embedded_broker", "--ready-file", str(ready_file)]
    record = spawn("broker", command, log, process_environment())
    try:
        note(settings.home, record)
        deadline = time.monotonic() + _EMBEDDED_READY_S
        while not ready_file.exists():
            if not record.alive or time.monotonic() > deadline:
                raise Unavailable(
                    f"the embedded broker was not ready within {_EMBEDDED_READY_S:g} s; {log} ends with:\n{tail(log)}"
                )
            time.sleep(0.02)
    except BaseException:
        record.kill()
        raise
    ready = json.loads(ready_file.read_text())
    return _describe(settings, ready["bootstrap"], ready["log_epoch"], (record,), ready["control"])


class _Programs(NamedTuple):
    java: str
    jars: Path


def install_broker(settings: Settings, progress: Callable[[str], None]) -> _Programs | None:
    """Find the broker's programs, and first fetch those that the cache folder does not hold; None without need.

    Raises
    ------
    ConfigurationError
        Java or Maven is missing, or Maven could not fetch Kafka.
    """
    if settings.bootstrap or settings.profile == "embedded":
        return None
    java = find_java(settings.kafka.java)
    return _Programs(java, install_kafka(settings.cache, settings.kafka.maven, progress))


def _start_kafka(settings: Settings, programs: _Programs) -> Stack:
    folder = settings.home / _KAFKA
    _check_layout(settings, folder)
    options: dict[str, Any] = {
        "jars": programs.jars,
        "environment": process_environment(),
        "java": programs.java,
        "heap_mb": settings.kafka.heap_mb,
        "secrets": kafka_secrets(settings),
        "timeout_s": settings.kafka.start_timeout_s,
        "on_spawn": lambda record: note(settings.home, record),
    }
    if settings.kafka.nodes == 1:
        server = KafkaServer(folder, port=settings.kafka.port or None, **options).start()
        return _describe(settings, server.bootstrap, server.cluster_id or "", (server.process,))
    cluster = KafkaCluster(folder, **options).start()
    return _describe(settings, cluster.bootstrap, cluster.cluster_id or "", cluster.processes)


def _check_layout(settings: Settings, folder: Path) -> None:
    """Refuse to start beside the data of another number of nodes, or on data with other security."""
    n_nodes = 1 if (folder / "data").exists() else 3 if (folder / "node-1").exists() else 0
    if n_nodes and n_nodes != settings.kafka.nodes:
        raise ConfigurationError(
            f"{folder} holds the data of {n_nodes} node{'s' if n_nodes > 1 else ''}, and the setting kafka.nodes is "
            f"{settings.kafka.nodes}; set it back, or use another folder with --home"
        )
    if n_nodes and settings.kafka.secured != (folder / "secrets").exists():
        was = "without" if settings.kafka.secured else "with"
        raise ConfigurationError(
            f"{folder} holds data that was written {was} passwords, and the setting kafka.secured is "
            f"{settings.kafka.secured}; set it back, or use another folder with --home"
        )


def _cluster_id(settings: Settings) -> str:
    client = AdminClient(broker_connection(settings, settings.bootstrap).librdkafka())
    try:
        return str(client.list_topics(timeout=10).cluster_id)
    except KafkaException as error:
        raise Unavailable(
            f"no broker answers at {settings.bootstrap} ({error.args[0].str()}); check the setting `bootstrap` and "
            "the security settings under `kafka`, or unset it to start a node here"
        ) from error


def _describe(
    settings: Settings, bootstrap: str, log_epoch: str, processes: tuple[ProcessRecord, ...], control: str = ""
) -> Stack:
    return Stack(
        profile=settings.profile,
        bootstrap=bootstrap,
        log_epoch=log_epoch,
        objects=settings.objects,
        home=str(settings.home),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        control=control,
        processes=processes,
        versions=part_versions(settings.profile),
    )
