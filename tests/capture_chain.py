"""Postgres, Kafka Connect with Debezium and Kafka as real servers, and what a capture made of them.

`capture_chain` is started once by each test process; tests get tables, topics and connectors of their own.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka.admin import AdminClient
from pg8000 import dbapi

from infra.capture import Database, start_capture
from infra.servers.connect import ConnectServer, install_connect
from infra.servers.postgres import PostgresServer, find_postgres, unprivileged
from infra.settings import load, process_environment
from millrace.codec import Codec
from millrace.errors import ConfigurationError
from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.topics import ACL_CHANGED, CATALOGUE, SOURCE_CHANGED
from streams.admin import create_topics, plan_topics, refuse_compacted
from streams.sources.cdc import CaptureMapping, RowChanged, capture_agent, capture_topics
from streams.stores.objects import ContentStore
from streams.worker import Worker, WorkerSettings
from tests.brokers import KafkaParts, shared_kafka


@pytest.fixture(scope="session")
def capture_installed() -> tuple[Path, Path]:
    """Programs of Postgres, and jars of Kafka Connect; skips where one cannot be had, and says why."""
    settings = load().settings
    try:
        unprivileged()
        return find_postgres(), install_connect(settings.cache, settings.kafka.maven)
    except ConfigurationError as error:
        pytest.skip(f"change capture not tested: {error}")


@pytest.fixture(scope="session")
def capture_chain(
    tmp_path_factory: pytest.TempPathFactory, kafka_installed: KafkaParts, capture_installed: tuple[Path, Path]
) -> Iterator[Chain]:
    """The servers of a capture."""
    environment, (programs, jars) = process_environment(), capture_installed
    bootstrap, folder = shared_kafka(kafka_installed), tmp_path_factory.mktemp("capture")
    postgres = PostgresServer(folder / "postgres", programs=programs, environment=environment)
    connect = ConnectServer(
        folder / "connect", jars=jars, bootstrap=bootstrap, environment=environment, java=kafka_installed.java,
        group=f"connect-{secrets.token_hex(4)}",
    )  # fmt: skip
    with postgres, connect:
        yield Chain(postgres, connect, bootstrap)


class Client:
    """A connection to a database; each statement is committed unless it stands in a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows that a statement gives; none for one that gives no rows."""
        cursor = self._connection.cursor()
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        self._connection.autocommit = False
        yield
        self._connection.commit()
        self._connection.autocommit = True


@contextlib.contextmanager
def client_of(url: str) -> Iterator[Client]:
    connection = Database.at(url).connect()
    try:
        yield Client(connection)
    finally:
        with contextlib.suppress(dbapi.Error):  # of a server that was ended
            connection.close()


@dataclass
class Chain:
    """The servers of a capture."""

    postgres: PostgresServer
    connect: ConnectServer
    bootstrap: str

    @contextlib.contextmanager
    def database(self) -> Iterator[Client]:
        with client_of(self.postgres.url) as client:
            yield client

    def capture(self, mapping: CaptureMapping) -> None:
        """Create the topics of a mapping and start its connector."""
        client = AdminClient({"bootstrap.servers": self.bootstrap})
        topics = (*capture_topics(mapping), *CATALOGUE.values())
        create_topics(client, plan_topics(topics, {}), replication=1)
        refuse_compacted(client, [topic.name for topic in capture_topics(mapping)])
        start_capture(self.connect.rest, mapping, self.postgres.url)

    @contextlib.asynccontextmanager
    async def agent(self, mapping: CaptureMapping, folder: Path) -> AsyncIterator[Worker]:
        """Run the capture agent as a worker does."""
        spec = capture_agent(mapping, ContentStore(folder / "objects", flush=False))
        settings = WorkerSettings(connection={"bootstrap_servers": self.bootstrap}, data=str(folder))
        async with Worker([spec], settings) as worker:
            await worker.wait_ready()
            yield worker


@dataclass
class Seen:
    """What stands in the topics of a mapping so far, in the order of each partition."""

    changes: list[SourceChanged] = field(default_factory=list)
    access: list[AclChanged] = field(default_factory=list)
    rows: list[RowChanged] = field(default_factory=list)
    letters: list[dict[str, bytes]] = field(default_factory=list)

    def documents(self) -> dict[str, SourceChanged]:
        """Documents that exist, by the fold rule: the highest order wins."""
        newest: dict[str, SourceChanged] = {}
        for change in self.changes:
            if change.document not in newest or change.order > newest[change.document].order:
                newest[change.document] = change
        return {name: change for name, change in newest.items() if change.op == "upsert"}

    def readers(self) -> dict[str, tuple[str, ...]]:
        """Groups of the documents that exist: the highest version wins, then the later record.

        The two topics are read side by side, so a document may be there before its groups.
        """
        newest: dict[str, AclChanged] = {}
        for access in self.access:
            if access.document not in newest or access.version >= newest[access.document].version:
                newest[access.document] = access
        return {name: newest[name].groups for name in self.documents() if name in newest}

    def texts(self, objects: ContentStore) -> dict[str, str]:
        """Text of each document."""
        return {
            name: change.text if change.text is not None else objects.get_sync(str(change.content)).decode()
            for name, change in self.documents().items()
        }


class Watching:
    """Reads a mapping's topics from their beginning."""

    def __init__(self, bootstrap: str, mapping: CaptureMapping) -> None:
        self.seen = Seen()
        self._mapping = mapping
        self._codec = Codec()
        self._captured = {topic.name: topic for topic in capture_topics(mapping)}
        names = [*self._captured, *(topic.dead_letters for topic in self._captured.values())]
        self._consumer = AIOKafkaConsumer(
            SOURCE_CHANGED.name, ACL_CHANGED.name, *names, bootstrap_servers=bootstrap, auto_offset_reset="earliest",
            fetch_max_bytes=64 * 2**20,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def read(self) -> Seen:
        """Take in what has come since."""
        for at, records in (await self._consumer.getmany(timeout_ms=200)).items():
            for record in records:
                self._take(at.topic, record)
        return self.seen

    def _take(self, topic: str, record: Any) -> None:
        if topic.endswith(".dlq"):
            self.seen.letters.append(dict(record.headers))
            return
        origin = Origin(topic, record.partition, record.offset)
        known = self._captured.get(topic) or CATALOGUE[topic]
        if known.read is not None and record.key is None:
            return  # a truncation, which no event stands for
        event: Event = self._codec.read(known, record.key, record.value, record.headers, origin)
        if event.tenant != self._mapping.tenant:
            return
        match event:
            case SourceChanged():
                self.seen.changes.append(event)
            case AclChanged():
                self.seen.access.append(event)
            case RowChanged():
                self.seen.rows.append(event)
