"""Brokers for tests: the embedded one, and a Kafka node that all parallel test processes share.

- `broker` runs a test on both; the Kafka half is skipped, loudly, where Java or Maven is missing.
- `embedded_broker` and `kafka_broker` are the shared ones; topics and groups get names of their own by `Broker.name`.
- `start_embedded` and `start_kafka` start one for a single test, to be killed, cut off or restarted.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from infra.launch.processes import ProcessRecord
from infra.servers.java import find_java
from infra.servers.kafka import KafkaServer, install_kafka
from infra.settings import load, process_environment
from millrace.errors import ConfigurationError
from streams.admin import TopicPlan, create_topics
from streams.embedded_broker import EmbeddedBroker

RUN_FOLDER = "MILLRACE_TEST_RUN"
_RUN_PREFIX = "millrace-tests-"
_SKIPPED = "Kafka half skipped"


@dataclass(frozen=True)
class Broker:
    """A broker for one test.

    Attributes
    ----------
    kind : {"embedded", "kafka"}
        Which one.
    bootstrap : str
        Where it listens.
    fetch_max_wait_ms : int
        What consumers should set: a waiting fetch of the embedded broker is not woken by a produce.
    """

    kind: Literal["embedded", "kafka"]
    bootstrap: str
    fetch_max_wait_ms: int
    _create: Callable[[str, int, Mapping[str, str]], None]
    _prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(4)}")

    def name(self, name: str) -> str:
        """A topic or group name that no other test uses."""
        return f"{self._prefix}.{name}"

    def create_topic(self, name: str, partitions: int = 4, config: Mapping[str, str] | None = None) -> str:
        """Create a topic under a name of this test's own and return that name; the embedded broker ignores `config`."""
        unique = self.name(name)
        self._create(unique, partitions, config or {})
        return unique


@dataclass(frozen=True)
class KafkaParts:
    """What a Kafka node is started with."""

    java: str
    jars: Path


class StartKafka(Protocol):
    """Starts a Kafka node for one test; see `KafkaServer` for its arguments."""

    def __call__(self, name: str = "kafka", **options: Any) -> KafkaServer: ...


@pytest.fixture(scope="session")
def _embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker.start(tmp_path_factory.mktemp("embedded"), parent_pid=os.getpid()) as running:
        yield running


@pytest.fixture
def embedded_broker(_embedded: EmbeddedBroker) -> Broker:
    """The embedded broker of this test process."""

    def create(name: str, partitions: int, _: Mapping[str, str]) -> None:
        _embedded.create_topic(name, partitions)

    return Broker("embedded", _embedded.bootstrap, 5, create)


@pytest.fixture
def kafka_broker(kafka_installed: KafkaParts) -> Broker:
    """The Kafka node of this test run."""
    bootstrap = shared_kafka(kafka_installed)
    client = AdminClient({"bootstrap.servers": bootstrap})

    def create(name: str, partitions: int, config: Mapping[str, str]) -> None:
        create_topics(client, [TopicPlan(name, partitions, config)])

    return Broker("kafka", bootstrap, 100, create)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn."""
    found: Broker = request.getfixturevalue(f"{request.param}_broker")
    return found


@pytest.fixture
def start_embedded(tmp_path: Path) -> Iterator[Callable[[], EmbeddedBroker]]:
    """Start embedded brokers for one test alone."""
    started: list[EmbeddedBroker] = []

    def start() -> EmbeddedBroker:
        started.append(EmbeddedBroker.start(tmp_path / f"broker-{len(started)}", parent_pid=os.getpid()))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="session")
def kafka_installed() -> KafkaParts:
    """Java and Kafka's jars; skips where they cannot be had."""
    try:
        return _find_kafka()
    except ConfigurationError as error:
        pytest.skip(f"{_SKIPPED}: {error}")


@pytest.fixture
def start_kafka(tmp_path: Path, kafka_installed: KafkaParts) -> Iterator[StartKafka]:
    """Start Kafka nodes for one test alone; the same `name` finds the same data again."""
    started: list[KafkaServer] = []

    def start(name: str = "kafka", **options: Any) -> KafkaServer:
        parts = asdict(kafka_installed)
        started.append(KafkaServer(tmp_path / name, **{**parts, "environment": process_environment(), **options}))
        return started[-1].start()

    yield start
    for each in started:
        each.stop()


def _find_kafka() -> KafkaParts:
    """Fetch what is missing.

    Raises
    ------
    ConfigurationError
        Java or Maven is missing, or Maven could not fetch Kafka.
    """
    settings = load().settings
    return KafkaParts(find_java(settings.kafka.java), install_kafka(settings.cache, settings.kafka.maven))


def shared_kafka(parts: KafkaParts) -> str:
    """Bootstrap address of the run's Kafka node; whoever comes first starts it."""
    folder = Path(os.environ[RUN_FOLDER])
    with (folder / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (bootstrap := folder / "bootstrap").exists():
            node = KafkaServer(
                folder / "kafka",
                **asdict(parts),
                environment=process_environment(),
                properties={"group.min.session.timeout.ms": "1000"},  # a killed member's place is free sooner
                on_spawn=lambda process: note_process(folder / "kafka.json", process),
            ).start()
            bootstrap.write_text(node.bootstrap)
    return bootstrap.read_text()


def _shares_kafka(item: pytest.Item) -> bool:
    chosen = (
        item.callspec.params.get("broker") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ""
    )
    return chosen == "kafka" or "kafka_broker" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for Kafka by a fixture, so that `-m kafka` and `-m "not kafka"` know."""
    for item in items:
        if "kafka_installed" in getattr(item, "fixturenames", ()) or _shares_kafka(item):
            item.add_marker(pytest.mark.kafka)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch and start Kafka before the first test: a test's time limit is not meant for that."""
    if session.config.option.collectonly or not any(item.get_closest_marker("kafka") for item in session.items):
        return
    with contextlib.suppress(ConfigurationError):  # each test that needs it will say so
        parts = _find_kafka()
        if any(_shares_kafka(item) for item in session.items):
            shared_kafka(parts)


def pytest_configure(config: pytest.Config) -> None:
    """The process that the user started owns what its test processes share; a killed run's leftovers are ended."""
    if hasattr(config, "workerinput"):
        return
    for folder in Path(tempfile.gettempdir()).glob(f"{_RUN_PREFIX}*"):
        if (owner := _noted(folder / "owner.json")) and not owner.alive:
            _end_run(folder)
    run = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX))
    note_process(run / "owner.json", ProcessRecord("pytest", os.getpid(), psutil.Process().create_time(), ""))
    os.environ[RUN_FOLDER] = str(run)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run's servers, by process id and start time, and remove what they wrote."""
    if hasattr(config, "workerinput") or RUN_FOLDER not in os.environ:
        return
    _end_run(Path(os.environ.pop(RUN_FOLDER)))


def _end_run(folder: Path) -> None:
    for server in ("kafka", "weaviate"):
        if process := _noted(folder / f"{server}.json"):
            process.end(10.0)
    shutil.rmtree(folder, ignore_errors=True)


def note_process(path: Path, process: ProcessRecord) -> None:
    path.write_text(json.dumps(asdict(process)))


def _noted(path: Path) -> ProcessRecord | None:
    try:
        return ProcessRecord(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # absent, or of another version of these tests
        return None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say once, at the end, that half of the run did not happen and why."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if reasons := [reason for reason in skipped if _SKIPPED in reason]:
        reason = re.sub(rf".*{_SKIPPED}: |['\")]+$", "", reasons[0], flags=re.DOTALL)
        terminalreporter.write_sep("!", f"{len(reasons)} tests did not run on Kafka: {reason}", yellow=True, bold=True)
