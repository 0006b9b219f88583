"""Write events: acknowledged by all replicas, idempotent, keyed by murmur2, each with metadata and a checked size."""

import asyncio
import contextlib
import secrets
import time
import uuid
from collections.abc import Awaitable
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from millrace import ids, schema_folder
from millrace.client.closing import close_producer
from millrace.codec import Codec, Record
from millrace.connection import Connection
from millrace.errors import ConfigurationError, InvalidEvent, TooLarge, Unavailable, WrongEventType
from millrace.event import Event, Meta, Origin
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.events.query import QueryCancelled
from millrace.topics import CATALOGUE, Topic

_MAX_REQUEST: Final = 16 * 2**20
# Offsets, lengths and checksums of a record within a batch, generously.
_OVERHEAD: Final = 128


class EventProducer:
    """One aiokafka producer with Millrace's guarantees.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    codec : Codec
        Encodes events.
    source : str
        ``ce_source`` of events that bring no metadata.
    timeout_s : float
        How long the broker may take to acknowledge, in seconds.
    """

    def __init__(self, connection: Connection, codec: Codec, *, source: str, timeout_s: float) -> None:
        self._connection = connection
        self._codec = codec
        self._source = source
        self._timeout_s = timeout_s
        self._producer: Any = None
        self._published: set[type[Event]] = set()

    async def start(self) -> None:
        """Connect.

        Raises
        ------
        Unavailable
            If no broker answers in time, or the stack's schema registry does not.
        ConfigurationError
            If that registry does not have this release's schemas.
        """
        if self._connection.registry is not None:
            await asyncio.to_thread(self._codec.schemas)  # so that no event waits for it later
        producer = AIOKafkaProducer(
            **self._connection.aiokafka(),
            acks="all",
            enable_idempotence=True,
            max_request_size=_MAX_REQUEST,
            request_timeout_ms=int(self._timeout_s * 1000),
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await producer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await producer.stop()
            raise self._unavailable("cannot be reached", error) from error
        self._producer = producer
        await asyncio.to_thread(self._publish_schemas)

    async def stop(self) -> None:
        """Send what is queued, within the time allowed, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        await close_producer(producer, self._timeout_s)

    def with_meta(self, event: Event, **fields: Any) -> Event:
        """Event with metadata: its own, or fresh ones for a root event."""
        if event.has_meta:
            return event
        identity = root_identity(event)
        fields.setdefault("correlation_id", identity)
        return event.with_meta(
            Meta(
                id=identity,
                type=type(event).type_name(),
                source=fields.pop("source", self._source),
                time_us=time.time_ns() // 1000,
                tenant=event.tenant,
                **fields,
            )
        )

    def encode(self, event: Event, topic: Topic | None = None) -> Record:
        """Record of an event that has metadata, checked against its topic.

        Raises
        ------
        WrongEventType, InvalidEvent, TooLarge, ConfigurationError
            If the topic does not carry it, a field does not fit, or it is over the topic's limit.
        """
        where = topic or topic_of(event)
        record = self._codec.record(where, event)
        if type(event) not in self._published and self._publish_schemas():
            self._published.add(type(event))
        size = record_size(record)
        if size > where.max_bytes:
            raise TooLarge(
                f"{type(event).__name__} has {size} bytes, {where.name} takes at most {where.max_bytes}; "
                "put large content into the object store and send its reference"
            )
        return record

    async def send(self, record: Record) -> Awaitable[Origin]:
        """Queue a record; await what is returned for the acknowledgement. Order of a key is the order of the calls."""
        if self._producer is None:
            raise ConfigurationError("this client is closed, or was never opened: use `async with Millrace(...)`")
        try:
            async with asyncio.timeout(self._timeout_s):
                future = await self._producer.send(
                    record.topic, record.value, key=record.key, headers=record.headers, partition=record.partition
                )
        except (KafkaError, TimeoutError) as error:
            raise self._unavailable(f"takes nothing for {record.topic}", error) from error
        return self._acknowledged(future, record.topic)

    async def produce(self, record: Record) -> Origin:
        """Send one record and wait until it is acknowledged.

        Raises
        ------
        Unavailable
            If it is not acknowledged in time; it may be written all the same, and writing it again is harmless.
        """
        return await (await self.send(record))

    async def partitions(self, topic: str) -> int:
        """Number of partitions of a topic.

        Raises
        ------
        Unavailable
            If the broker does not say.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return len(await self._producer.partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise self._unavailable(f"says nothing about {topic}", error) from error

    async def ping(self) -> None:
        """Ask the broker for the metadata that the producer keeps.

        Raises
        ------
        Unavailable
            If it does not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                answered = await self._producer.client.force_metadata_update()
        except (KafkaError, TimeoutError, OSError) as error:
            raise self._unavailable("does not answer", error) from error
        if not answered:
            raise self._unavailable("does not answer", TimeoutError("no metadata"))

    async def _acknowledged(self, future: asyncio.Future[Any], topic: str) -> Origin:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await asyncio.shield(future)
        except TimeoutError as error:
            future.add_done_callback(_consume)
            raise self._unavailable(
                f"did not acknowledge a record for {topic} within {self._timeout_s:g} s "
                "(writing it again is harmless, its id stays the same)",
                error,
            ) from error
        except KafkaError as error:
            raise self._unavailable(f"refused a record for {topic}", error) from error
        return Origin(found.topic, found.partition, found.offset)

    def _publish_schemas(self) -> bool:
        """Share the schemas that are written beside the objects, so that readers of another release can follow.

        An app may have no access to the folder; then its readers need its schema lock. A registry has them already.
        """
        if self._connection.registry is not None:
            return True
        folder = self._connection.objects_folder
        if folder is None or not folder.is_dir():
            return False
        with contextlib.suppress(OSError):
            schema_folder.publish(folder, self._codec)
        return True

    def _unavailable(self, what: str, error: BaseException) -> Unavailable:
        detail = str(error) or type(error).__name__
        return Unavailable(
            f"the broker at {self._connection.bootstrap} {what} ({detail}); is it running? "
            "see `python -m infra status` and `millrace doctor`"
        )


def topic_of(event: Event) -> Topic:
    """The one topic of Millrace's catalogue that carries an event's type.

    Raises
    ------
    WrongEventType
        If none does: an event of your own needs its topic named.
    """
    found = [topic for topic in CATALOGUE.values() if type(event) in topic.events]
    if len(found) != 1:
        raise WrongEventType(
            f"no topic of the catalogue carries {type(event).__name__}; name yours: produce(event, topic)"
        )
    return found[0]


def root_identity(event: Event) -> str:
    """Id of an event that nothing caused: derived where a repetition must be the same event, else random."""
    if isinstance(event, SourceChanged):
        return ids.root_id(event.source, event.tenant, event.document, event.source_epoch, event.version)
    if isinstance(event, AclChanged):
        return ids.derived("acl", event.tenant, event.document, event.version)
    if isinstance(event, QueryCancelled):
        return ids.derived("cancelled", event.tenant, event.correlation)
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def record_size(record: Record) -> int:
    """Bytes a record takes in the log, close enough to keep to a limit."""
    return len(record.key) + len(record.value) + sum(len(k) + len(v) + 4 for k, v in record.headers) + _OVERHEAD


def checked_version(version: int) -> int:
    """Refuse versions that no order can hold."""
    if version < 1:
        raise InvalidEvent(f"version {version} is not allowed; versions start at 1 and grow")
    return version


def _consume(future: asyncio.Future[Any]) -> None:
    """Look at a late failure, so that the event loop does not report it as never retrieved."""
    if not future.cancelled():
        future.exception()
