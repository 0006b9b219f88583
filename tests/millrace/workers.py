"""A worker for tests of clients: reads questions or changes in a thread and answers as a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from confluent_kafka import Producer

from millrace.client.producing import topic_of
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event, Meta
from millrace.events.corpus import ChunkRef, DocumentIndexed, DocumentSettled, SourceChanged
from millrace.events.query import AnswerCompleted, QueryReceived
from millrace.ids import content_hash, output_id
from millrace.positions import Start
from millrace.reader import LogReader, decode, raw_record
from millrace.topics import CATALOGUE, QUERY_RECEIVED, REPLY, SOURCE_CHANGED, Topic

Behaviour = Callable[[Any], Iterable[Event]]
Run = Callable[..., tuple[int, str, str]]
"""The command line as the fixture `run` gives it: arguments to exit code, standard output and standard error."""


class ScriptedWorker:
    """Answers records of one tenant; `behaviour` gives the events that an input leads to."""

    def __init__(
        self, connection: Connection, tenant: str, source: Topic, behaviour: Behaviour, start: Start = "end"
    ) -> None:
        self._start = start
        self._connection = connection
        self._tenant = tenant
        self._source = source
        self._behaviour = behaviour
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[Any] = []
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        if self.error is not None:
            raise self.error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(20)
        if self.error is not None and error is None:
            raise self.error

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread
            self.error = error
            self._ready.set()

    def _serve(self) -> None:
        codec = Codec()
        producer = Producer(self._connection.librdkafka_producer() | {"linger.ms": 0})
        with LogReader(self._connection, [self._source], start=self._start, stop="never") as reader:
            self._ready.set()
            for batch in reader.batches(idle=self._stop.is_set):
                for message in batch:
                    if not (message.key() or b"").startswith(f"t/{self._tenant}/".encode()):
                        continue
                    event = decode(codec, raw_record(message))
                    self.seen.append(event)
                    for output in self._behaviour(event):
                        send(producer, codec, event, output)
                producer.flush(10)


def send(producer: Producer, codec: Codec, cause: Event, output: Event) -> None:
    """Publish an output with the metadata a runner would give it."""
    if not output.has_meta:
        output = output.with_meta(derived_meta(cause, output))
    record = codec.record(topic_of(output), output)
    partition = -1 if record.partition is None else record.partition  # -1: the key decides
    producer.produce(record.topic, record.value, record.key, partition, headers=list(record.headers))


def derived_meta(cause: Event, output: Event) -> Meta:
    """Metadata of a derived event."""
    meta = cause.meta
    kind = type(output).type_name()
    return Meta(
        id=output_id(meta.id, "scripted", kind, output.slot()),
        type=kind,
        source="test/scripted",
        time_us=meta.time_us,
        tenant=output.tenant,
        correlation_id=meta.correlation_id,
        causation_id=meta.id,
        traceparent=meta.traceparent,
        reply_partition=meta.reply_partition if type(output) in REPLY.events else -1,
    )


def completed(question: QueryReceived, text: str = "", **fields: Any) -> AnswerCompleted:
    """Terminal frame for a question; echoes it by default."""
    return AnswerCompleted(
        tenant=question.tenant,
        correlation=question.meta.correlation_id,
        text=text or f"echo: {question.question}",
        **fields,
    )


def indexed(change: SourceChanged, **fields: Any) -> DocumentIndexed:
    """The outcome of a change that was indexed as one chunk, or deleted."""
    digest = (change.content or "").removeprefix("sha256:") or content_hash(change.text or "")
    chunk = ChunkRef(output_id(change.meta.id, "chunk", "", ""), 0, 10, 0, 0)
    deleted = change.op == "delete"
    return DocumentIndexed(
        tenant=change.tenant,
        document=change.document,
        version=change.version,
        source_epoch=change.source_epoch,
        deleted=deleted,
        title=change.title or change.document,
        labels=change.labels,
        acl_version=change.acl_version,
        content_sha256="" if deleted else digest,
        headings=() if deleted else ("Heading",),
        chunks=() if deleted else (chunk,),
        n_embedded=0 if deleted else 1,
        source=change.source,
        source_event=change.meta.id,
        source_position=str(change.meta.origin),
        **fields,
    )


def settled(change: SourceChanged, outcome: Any, reason: str = "", message: str = "") -> DocumentSettled:
    """The outcome of a change that changed nothing visible."""
    return DocumentSettled(
        tenant=change.tenant,
        document=change.document,
        version=change.version,
        source_epoch=change.source_epoch,
        outcome=outcome,
        reason=reason,
        message=message,
        source=change.source,
        source_event=change.meta.id,
        source_position=str(change.meta.origin),
    )


def answering(connection: Connection, tenant: str, behaviour: Behaviour) -> ScriptedWorker:
    """A worker for questions."""
    return ScriptedWorker(connection, tenant, QUERY_RECEIVED, behaviour)


def indexing(
    connection: Connection,
    tenant: str,
    behaviour: Behaviour = lambda change: [indexed(change)],
    start: Start = "end",
) -> ScriptedWorker:
    """A worker for changes; indexes everything by default."""
    return ScriptedWorker(connection, tenant, SOURCE_CHANGED, behaviour, start)


def create_catalogue(create: Callable[[str, int], object]) -> None:
    """Create all topics of the catalogue and their dead letter topics, four partitions each."""
    for topic in CATALOGUE.values():
        create(topic.name, 4)
        create(topic.dead_letters, 4)
