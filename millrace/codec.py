"""Turn events into Kafka records and back: Avro with the Confluent framing, CloudEvents in headers.

A value is ``0x00``, the schema id (4 bytes, big endian) and the Avro body. Ids derive from the fingerprint, unless a
registry numbers the schemas (`millrace.registered`).
"""

import datetime as dt
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Protocol

import msgspec
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from millrace.errors import (
    ContractError,
    InvalidEvent,
    TenantMismatch,
    UndecodableRecord,
    UnknownSchema,
    WrongEventType,
)
from millrace.event import E, Event, Meta, Origin, attach
from millrace.schema import avro_schema, fingerprint, schema_id
from millrace.schema_lock import released
from millrace.topics import CATALOGUE, Topic

Headers = Sequence[tuple[str, bytes]]
Ids = Callable[[type[Event], Topic | None], int]
"""Gives the id that a registry has for an event's current schema; the topic is None where only the event is known."""
_HEAD = 5


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is handed to a producer. ``partition`` is None where the key decides."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    partition: int | None = None


class ConsumedRecord(Protocol):
    """What is read of a consumed record: the shape of `millrace.reader.RawRecord` and aiokafka's ``ConsumerRecord``."""

    @property
    def topic(self) -> str:
        """Where it stands."""

    @property
    def partition(self) -> int:
        """Its partition."""

    @property
    def offset(self) -> int:
        """Its offset."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its bytes."""

    @property
    def headers(self) -> Headers:
        """Its headers."""


class Codec:
    """Encode and decode events of known classes.

    Parameters
    ----------
    events : iterable of type, optional
        Event classes; defaults to all of Millrace's catalogue. More can be added with `register`.
    ids : callable, optional
        Gives schema ids where a registry numbers them, when one is needed; by default they derive from the fingerprint.
    writers : callable, optional
        ``writers(schema_id)`` gives the Avro schema of an id that is not current (lock or registry), or None;
        defaults to the committed lock.
    """

    def __init__(
        self,
        events: Iterable[type[Event]] | None = None,
        *,
        ids: Ids | None = None,
        writers: Callable[[int], dict[str, Any] | None] | None = None,
    ) -> None:
        self._ids = ids
        self._writers = writers or released().writer
        self._encoders: dict[type[Event], Callable[[Event], bytes]] = {}
        self._decoders: dict[int, tuple[type[Event], Any, Any]] = {}
        self._by_head: dict[bytes, tuple[type[Event], Any, Any]] = {}  # the same, by the first bytes of a value
        self._classes: dict[str, type[Event]] = {}
        self._numbers: dict[type[Event], int] = {}
        for event in events if events is not None else _catalogue_events():
            if ids is None:
                self.register(event)
            else:
                self._classes[event.type_name()] = event

    def register(self, event: type[Event], topic: Topic | None = None) -> int:
        """Add an event class; returns its schema id.

        Parameters
        ----------
        event : type
            The class.
        topic : Topic, optional
            Carries it; a registry needs it for an event outside Millrace's catalogue.

        Raises
        ------
        ConfigurationError
            If a registry numbers the schemas and does not have this one.
        Unavailable
            If that registry does not answer.
        """
        if event in self._encoders:
            return self._numbers[event]
        schema = avro_schema(event)
        number = self._numbers[event] = schema_id(schema) if self._ids is None else self._ids(event, topic)
        parsed = parse_schema(schema)
        self._decoders[number] = (event, parsed, None)
        self._classes[event.type_name()] = event
        self._encoders[event] = _encoder(event, parsed, b"\x00" + number.to_bytes(4, "big"))
        return number

    def schemas(self) -> dict[int, dict[str, Any]]:
        """Avro schema of each known class, by the id it is written with; errors as of `register`."""
        for event in list(self._classes.values()):
            self.register(event)
        return {number: avro_schema(event) for number, (event, _, reader) in self._decoders.items() if reader is None}

    def encode(self, event: Event) -> bytes:
        """Framed Avro of an event's body.

        Raises
        ------
        InvalidEvent
            If a field does not fit its schema.
        """
        encoder = self._encoders.get(type(event))
        if encoder is None:
            self.register(type(event))
            encoder = self._encoders[type(event)]
        try:
            return encoder(event)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            message = f"{type(event).__name__} does not fit its schema: {error}"
            raise InvalidEvent(message) from error

    def decode(self, value: bytes | None) -> Event:
        """Event of a framed value, without metadata.

        Raises
        ------
        UndecodableRecord, UnknownSchema, InvalidEvent
            See `millrace.errors`.
        Unavailable
            The id was never met, and the registry that would know it does not answer; try again later.
        """
        known = self._by_head.get(value[:_HEAD]) if value is not None else None
        if value is None or known is None:
            value, known = self._identify(value)
        event, writer, reader = known
        body = io.BytesIO(value)
        body.seek(_HEAD)
        try:
            plain = schemaless_reader(body, writer, reader)
        except Exception as error:  # fastavro raises many kinds, EOFError and IndexError among them
            number = int.from_bytes(value[1:_HEAD], "big")
            message = f"the Avro body of a {event.__name__} (schema id {number}) is broken: {type(error).__name__}"
            raise UndecodableRecord(message) from error
        if body.tell() != len(value):
            message = f"{len(value) - body.tell()} bytes follow the Avro body of a {event.__name__}; expected none"
            raise UndecodableRecord(message)
        try:
            return msgspec.convert(plain, event)
        except msgspec.ValidationError as error:
            message = f"{event.__name__} breaks its declaration: {error}"
            raise InvalidEvent(message) from error

    def _identify(self, value: bytes | None) -> tuple[bytes, tuple[type[Event], Any, Any]]:
        """Decoder of a value whose first bytes were not met before."""
        if value is None or len(value) < _HEAD or value[0] != 0:
            found = "no value" if value is None else f"{len(value)} bytes starting {value[:1].hex() or 'nowhere'}"
            message = f"not an Avro record: expected magic byte 00 and a schema id, found {found}"
            raise UndecodableRecord(message)
        head = bytes(value[:_HEAD])
        number = int.from_bytes(head[1:], "big")
        known = self._by_head[head] = self._decoders.get(number) or self._learn(number)
        return value, known

    def unmet(self, values: Iterable[bytes | None]) -> set[bytes]:
        """First bytes of values whose schema was not met yet: `meet` them in a thread, for somebody may be asked."""
        return {value[:_HEAD] for value in values if value is not None} - self._by_head.keys()

    def meet(self, heads: Iterable[bytes]) -> None:
        """Learn the schemas of values by their first bytes, where anybody knows them; Unavailable as of `decode`."""
        for head in heads:
            with suppress(ContractError):
                self._identify(head)

    def _learn(self, number: int) -> tuple[type[Event], Any, Any]:
        """Find the writer schema of an older or newer version and pair it with our reader schema."""
        schema = self._writers(number)
        name = f"{schema.get('namespace', '')}.{schema['name']}" if schema else ""
        event = self._classes.get(name)
        if schema is None or event is None:
            message = (
                f"schema id {number} is in neither lock nor registry; the producer is newer than this reader "
                "or writes another contract: upgrade, or add its lock"
            )
            raise UnknownSchema(message)
        ours = avro_schema(event)
        reader = None if fingerprint(schema) == fingerprint(ours) else parse_schema(ours)
        known = self._decoders[number] = (event, parse_schema(schema), reader)
        return known

    def record(self, topic: Topic, event: Event) -> Record:
        """Record of an event that carries metadata, ready for a producer.

        Raises
        ------
        WrongEventType
            If the topic does not carry the event's type.
        """
        if type(event) not in topic.events:
            message = f"{type(event).__name__} cannot go to {topic.name}, which carries {_names(topic)}"
            raise WrongEventType(message)
        if type(event) not in self._encoders:
            self.register(type(event), topic)
        meta = event.meta
        return Record(
            topic=topic.name,
            key=topic.key(event).encode(),
            value=self.encode(event),
            headers=headers_of(meta),
            partition=meta.reply_partition if topic.reply and meta.reply_partition >= 0 else None,
        )

    def read(self, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers, origin: Origin) -> Event:
        """Event of a consumed record, with metadata, after the checks every reader owes.

        Raises
        ------
        ContractError
            Undecodable, unknown or foreign type, missing headers, or key, header and body of different tenants.
        MillraceError
            What else a topic's own `read` raises.
        """
        if topic.read is not None:
            return topic.read(key, value, headers, origin)
        return self.admit(topic, self.decode(value), key, headers, origin)

    def admit(self, topic: Topic, event: E, key: bytes | None, headers: Headers, origin: Origin) -> E:
        """Check a decoded event against its record's topic, key and headers, and attach its metadata.

        For readers that decode by themselves; `read` is `decode` and this.

        Raises
        ------
        ContractError
            Foreign type, missing headers, or key, header and body of different tenants.
        """
        if type(event) not in topic.events:
            message = f"{type(event).__name__} came in {topic.name}, which carries {_names(topic)}"
            raise WrongEventType(message)
        meta = meta_of(headers, origin)
        if event.tenant != meta.tenant or key is None or key != topic.key(event).encode():
            message = (
                f"{type(event).__name__} at {origin}: key, ce_tenant and body disagree "
                f"(header {meta.tenant!r}, body {event.tenant!r}, key {key!r}); all must name one tenant and entity"
            )
            raise TenantMismatch(message)
        return attach(event, meta)


def headers_of(meta: Meta) -> list[tuple[str, bytes]]:
    """Record headers of an event's metadata; empty ones are left out."""
    found = [
        ("ce_specversion", b"1.0"),
        ("ce_id", meta.id.encode()),
        ("ce_type", meta.type.encode()),
        ("ce_source", meta.source.encode()),
        ("ce_time", _rfc3339(meta.time_us)),
        ("ce_tenant", meta.tenant.encode()),
        ("content-type", b"application/avro"),
    ]
    for name, text in (
        ("ce_subject", meta.subject),
        ("ce_correlationid", meta.correlation_id),
        ("ce_causationid", meta.causation_id),
        ("traceparent", meta.traceparent),
        ("tracestate", meta.tracestate),
        ("reply-to", meta.reply_to),
    ):
        if text:
            found.append((name, text.encode()))
    if meta.reply_partition >= 0:
        found.append(("reply-partition", str(meta.reply_partition).encode()))
    if meta.deadline_ms:
        found.append(("deadline", str(meta.deadline_ms).encode()))
    return found


def meta_of(headers: Headers, origin: Origin | None) -> Meta:
    """Metadata of a record's headers.

    Raises
    ------
    ContractError
        If a required one is missing or malformed.
    """
    found = dict(headers)
    get = found.get
    try:
        return Meta(
            id=found["ce_id"].decode(),
            type=found["ce_type"].decode(),
            source=found["ce_source"].decode(),
            time_us=_microseconds(found["ce_time"]),
            tenant=found["ce_tenant"].decode(),
            subject=get("ce_subject", b"").decode(),
            correlation_id=get("ce_correlationid", b"").decode(),
            causation_id=get("ce_causationid", b"").decode(),
            traceparent=get("traceparent", b"").decode(),
            tracestate=get("tracestate", b"").decode(),
            reply_to=get("reply-to", b"").decode(),
            reply_partition=int(get("reply-partition", b"-1")),
            deadline_ms=int(get("deadline", b"0")),
            origin=origin,
        )
    except KeyError as error:
        message = f"the record at {origin} has no {error.args[0]} header; produce it with a Millrace client"
        raise ContractError(message) from error
    except (ValueError, TypeError) as error:
        message = f"a header of the record at {origin} is malformed: {error}"
        raise ContractError(message) from error


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def _rfc3339(time_us: int) -> bytes:
    seconds, us = divmod(time_us, 1_000_000)
    return b"%s.%06dZ" % (_second(seconds), us) if us else b"%sZ" % _second(seconds)


@lru_cache(maxsize=1024)  # formatting takes longer than all other headers, and events come many to a second
def _second(seconds: int) -> bytes:
    return (_EPOCH + dt.timedelta(seconds=seconds)).replace(tzinfo=None).isoformat().encode()


def _microseconds(text: bytes) -> int:
    return (dt.datetime.fromisoformat(text.decode()) - _EPOCH) // _MICROSECOND


def _encoder(event: type[Event], parsed: Any, head: bytes) -> Callable[[Event], bytes]:
    nested = any(_is_nested(info.type) for info in msgspec.structs.fields(event))

    def plain(body: Event) -> Any:
        return msgspec.to_builtins(body, builtin_types=(bytes,)) if nested else msgspec.structs.asdict(body)

    def encode(body: Event) -> bytes:
        out = io.BytesIO()
        out.write(head)
        schemaless_writer(out, parsed, plain(body))
        return out.getvalue()

    return encode


def _is_nested(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    return any(_is_nested(arg) for arg in getattr(kind, "__args__", ()) if arg is not Ellipsis)


def _catalogue_events() -> list[type[Event]]:
    return list(dict.fromkeys(event for topic in CATALOGUE.values() for event in topic.events))


def _names(topic: Topic) -> str:
    return ", ".join(event.__name__ for event in topic.events)
