"""A log on an embedded broker with documents, questions and answers, and a library that reads it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from gateway.identity import Identity
from gateway.reading import LogLibrary, open_library
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event, Meta
from millrace.events.corpus import AclChanged, DocumentIndexed
from millrace.events.query import AnswerProduced, Citation, CompletionGenerated, ContextRetrieved, Hit, QueryReceived
from millrace.topics import CATALOGUE
from streams.embedded_broker import EmbeddedBroker
from streams.stores.objects import ContentStore
from tests.conditions import until
from tests.streams.visibility.corpus_log import indexed

ANN = Identity(tenant="acme", user="ann", groups=("*", "hr"))
BEN = Identity(tenant="acme", user="ben")
MALLORY = Identity(tenant="evil", user="ann", groups=("*", "hr"))
SERVICE = Identity(tenant="acme", groups=("*", "hr"), kind="service", scopes=frozenset({"read"}))


class Log:
    """Writes events as the agents do; `library` reads them."""

    def __init__(self, broker: EmbeddedBroker, folder: Path) -> None:
        self.broker = broker
        self.objects = ContentStore(folder / "objects", flush=False)
        self.codec = Codec()
        self.connection = Connection(bootstrap=broker.bootstrap, profile="embedded", log_epoch=broker.log_epoch)
        self.table = folder / "gateway.visibility.db"
        self.library: LogLibrary
        self._n = 0
        self._topics = {kind: topic for topic in CATALOGUE.values() for kind in topic.events}

    async def start(self, services: AsyncExitStack) -> None:
        for topic in CATALOGUE.values():
            self.broker.create_topic(topic.name, 2)
        self._producer = AIOKafkaProducer(bootstrap_servers=self.broker.bootstrap, linger_ms=1)
        await self._producer.start()
        services.push_async_callback(self._producer.stop)
        self.library = await services.enter_async_context(
            open_library(self.connection, table=self.table, get=self.objects.get, codec=self.codec)
        )
        await until(self.library.ready)

    async def write(self, *events: Event, correlation: str = "", trace: str = "") -> None:
        """Produce events, and return when the library has read them."""
        for event in events:
            self._n += 1
            meta = Meta(
                id=str(uuid.uuid5(uuid.NAMESPACE_URL, str(self._n))),
                type=event.type_name(),
                source="test",
                time_us=self._n * 1_000_000,
                tenant=event.tenant,
                correlation_id=correlation,
                traceparent=f"00-{trace}-{'1' * 16}-01" if trace else "",
            )
            await self.produce(event.with_meta(meta))
        await self.library.caught_up()

    async def produce(self, event: Event) -> None:
        """Write an event that has its metadata."""
        record = self.codec.record(self._topics[type(event)], event)
        await self._producer.send_and_wait(record.topic, record.value, key=record.key, headers=list(record.headers))

    async def document(
        self, name: str, version: int, text: str, *groups: str, tenant: str = "acme", **fields: Any
    ) -> None:
        """Make a version visible to groups, everyone by default; its access version is its content version."""
        text_ref = await self.objects.put(text.encode())
        await self.write(
            AclChanged(tenant=tenant, document=name, version=version, groups=groups or ("*",)),
            indexed(name, version, tenant=tenant, text=text_ref, title=f"Title of {name}", **fields),
        )

    async def delete(self, name: str, version: int) -> None:
        await self.write(DocumentIndexed(tenant="acme", document=name, version=version, deleted=True))

    async def answered(
        self, correlation: str, *documents: str, user: str = "ann", tenant: str = "acme", text: str = "An answer."
    ) -> None:
        """Let a question be asked, generated and answered with quotes of the first version of documents."""
        whose: dict[str, Any] = {"tenant": tenant, "conversation": f"c-{correlation}"}
        citations = tuple(
            Citation(
                document=name, version=1, chunk_id=f"{name}#0", title=name, heading="", start=0, end=8, quote="quote"
            )
            for name in documents
        )
        hits = tuple(
            Hit(chunk_id=f"{name}#0", document=name, version=1, rank=1, score=1.0, dense=1.0, lexical=1.0)
            for name in documents
        )
        trace = uuid.uuid5(uuid.NAMESPACE_OID, correlation).hex
        await self.write(
            QueryReceived(**whose, question=f"Question {correlation}?", user=user),
            ContextRetrieved(**whose, question="q", user=user, hits=hits, vector=b"1234"),
            CompletionGenerated(**whose, text="generated, 4111 1111 1111 1111", found=True, citations=citations),
            AnswerProduced(
                **whose,
                correlation=correlation,
                status="answered",
                text=text,
                citations=citations,
                hits=hits,
                user=user,
            ),
            correlation=correlation,
            trace=trace,
        )


@pytest.fixture
async def log(start_embedded: Callable[[], EmbeddedBroker], tmp_path: Path) -> AsyncIterator[Log]:
    async with AsyncExitStack() as services, asyncio.timeout(50):
        found = Log(start_embedded(), tmp_path)
        await found.start(services)
        yield found
