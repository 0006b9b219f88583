"""A stack's broker with the catalogue's topics, and a tenant of each test's own."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from millrace.cli import main
from millrace.connection import Connection
from millrace.topics import CATALOGUE
from streams.admin import create_topics, plan_topics
from streams.embedded_broker import EmbeddedBroker
from tests.brokers import Broker
from tests.millrace.workers import Run, create_catalogue


@pytest.fixture(scope="session")
def _catalogue(_embedded: EmbeddedBroker) -> None:
    create_catalogue(_embedded.create_topic)


@pytest.fixture
def embedded(embedded_broker: Broker, _catalogue: None, tmp_path: Path) -> Connection:
    """The embedded broker with all topics, and an object folder."""
    return Connection(bootstrap=embedded_broker.bootstrap, profile="embedded", objects=str(tmp_path / "objects"))


@pytest.fixture
def stack(broker: Broker, request: pytest.FixtureRequest, tmp_path: Path) -> Connection:
    """Each broker in turn with all topics, and an object folder."""
    if broker.kind == "embedded":
        request.getfixturevalue("_catalogue")
    else:
        create_topics(AdminClient({"bootstrap.servers": broker.bootstrap}), plan_topics(CATALOGUE.values(), {}))
    return Connection(bootstrap=broker.bootstrap, profile=broker.kind, objects=str(tmp_path / "objects"))


@pytest.fixture
def run(embedded: Connection, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the embedded broker; gives exit code, standard output and standard error."""
    monkeypatch.setenv("MILLRACE_BOOTSTRAP", embedded.bootstrap)
    monkeypatch.setenv("MILLRACE_PROFILE", "embedded")
    monkeypatch.setenv("MILLRACE_OBJECTS", embedded.objects)
    monkeypatch.setenv("MILLRACE_INGEST_STATE", f"{embedded.objects}-state")

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{secrets.token_hex(6)}"
