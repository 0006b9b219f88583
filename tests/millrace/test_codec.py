"""The codec: what goes out comes back, and nothing else comes in."""

import contextlib
import json
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace import Event, Meta, Topic, errors, keys
from millrace.codec import Codec, headers_of, meta_of
from millrace.event import Origin, attach
from millrace.events.corpus import ChunkRef, DocumentIndexed, SourceChanged
from millrace.schema import avro_schema, schema_id
from millrace.topics import ACL_CHANGED, CATALOGUE, SOURCE_CHANGED

ORIGIN = Origin(SOURCE_CHANGED.name, 3, 7)
texts = st.text(min_size=1, max_size=40)


def meta(tenant: str, **more: object) -> Meta:
    plain = {"id": "e1", "type": "t", "source": "s", "time_us": 1_700_000_000_123_456, "tenant": tenant} | more
    return msgspec.convert(plain, Meta)


def change(tenant: str = "acme", document: str = "a/b.md", **more: object) -> SourceChanged:
    event = msgspec.convert({"tenant": tenant, "document": document, "version": 1, **more}, SourceChanged)
    return attach(event, meta(tenant))


@settings(deadline=None)
@given(tenant=texts, document=texts, text=st.none() | st.text(), labels=st.dictionaries(texts, texts, max_size=3))
def test_an_event_comes_back_as_it_went(tenant: str, document: str, text: str | None, labels: dict[str, str]) -> None:
    codec, event = Codec(), change(tenant, document, text=text, labels=labels)
    record = codec.record(SOURCE_CHANGED, event)
    back = codec.read(SOURCE_CHANGED, record.key, record.value, record.headers, ORIGIN)
    assert back == event
    assert back.meta == msgspec.structs.replace(event.meta, origin=ORIGIN)


def test_nested_records_come_back() -> None:
    event = DocumentIndexed(tenant="t", document="d", version=2, chunks=(ChunkRef("id", 0, 9, 0, 0),), objects=("o",))
    codec = Codec()
    assert codec.decode(codec.encode(event)) == event


def required_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Plain values for the fields of a struct that have no default."""
    hints = get_type_hints(struct)
    return {info.name: plain_of(hints[info.name]) for info in msgspec.structs.fields(struct) if info.required}


def plain_of(hint: Any) -> Any:
    plain = {str: "x", int: 1, float: 0.5, bool: True, bytes: b"x"}
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return required_of(hint)
    if get_origin(hint) is Literal:
        return plain_of(get_args(hint)[0]) if get_origin(get_args(hint)[0]) else get_args(hint)[0]
    return {dict: {}, tuple: (), UnionType: None}[get_origin(hint)]


@pytest.mark.parametrize("event", [e for topic in CATALOGUE.values() for e in topic.events], ids=lambda e: e.__name__)
def test_every_event_of_the_catalogue_can_be_built_from_its_defaults(event: type[Event]) -> None:
    built = msgspec.convert(required_of(event), event)
    codec = Codec()
    assert codec.decode(codec.encode(built)) == built


def test_headers_are_cloud_events() -> None:
    found = dict(
        headers_of(meta("acme", correlation_id="c", traceparent="00-1-2-01", reply_partition=3, deadline_ms=5))
    )
    assert found["ce_time"] == b"2023-11-14T22:13:20.123456Z"
    assert found["ce_specversion"] == b"1.0"
    assert found["content-type"] == b"application/avro"
    assert found["ce_correlationid"] == b"c"
    assert found["reply-partition"] == b"3"
    assert "tracestate" not in found


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, errors.UndecodableRecord),
        (b"", errors.UndecodableRecord),
        (b"{}{}{}", errors.UndecodableRecord),
        (b"\x00\x00\x00\x00\x01body", errors.UnknownSchema),
        (b"\x00" + schema_id(avro_schema(SourceChanged)).to_bytes(4, "big"), errors.UndecodableRecord),
    ],
    ids=["null", "empty", "wrong magic", "unknown id", "no body"],
)
def test_bytes_that_are_no_event_are_named_for_what_they_are(value: bytes | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        Codec().decode(value)


def test_every_truncation_and_every_trailing_byte_is_refused() -> None:
    codec = Codec()
    value = codec.encode(change(text="hello", labels={"a": "b"}))
    for n in range(len(value)):
        with pytest.raises((errors.UndecodableRecord, errors.UnknownSchema, errors.InvalidEvent)):
            codec.decode(value[:n])
    with pytest.raises(errors.UndecodableRecord):
        codec.decode(value + b"\x00")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bodies_never_raise_anything_outside_the_tree(body: bytes) -> None:
    head = b"\x00" + schema_id(avro_schema(DocumentIndexed)).to_bytes(4, "big")
    with contextlib.suppress(errors.ContractError):
        Codec().decode(head + body)


def test_a_field_outside_its_declared_values_is_refused() -> None:
    codec = Codec()
    value = codec.encode(msgspec.structs.replace(change(), op="explode"))
    with pytest.raises(errors.InvalidEvent, match="explode"):
        codec.decode(value)


def test_a_value_that_does_not_fit_its_schema_is_refused_on_the_way_out() -> None:
    with pytest.raises(errors.InvalidEvent):
        Codec().encode(msgspec.structs.replace(change(), version="one"))


def test_a_type_that_the_topic_does_not_carry_is_refused_both_ways() -> None:
    codec, event = Codec(), change()
    with pytest.raises(errors.WrongEventType):
        codec.record(ACL_CHANGED, event)
    record = codec.record(SOURCE_CHANGED, event)
    with pytest.raises(errors.WrongEventType):
        codec.read(ACL_CHANGED, record.key, record.value, record.headers, ORIGIN)


@pytest.mark.parametrize("part", ["key", "header", "body", "no key", "foreign document"])
def test_key_header_and_body_must_name_one_tenant(part: str) -> None:
    codec, event = Codec(), change()
    record = codec.record(SOURCE_CHANGED, event)
    key: bytes | None = record.key
    value, headers = record.value, record.headers
    if part == "key":
        key = keys.document_key("evil", "a/b.md").encode()
    elif part == "foreign document":
        key = keys.document_key("acme", "other").encode()
    elif part == "no key":
        key = None
    elif part == "header":
        headers = headers_of(meta("evil"))
    else:
        value = codec.encode(change("evil"))
    with pytest.raises(errors.TenantMismatch):
        codec.read(SOURCE_CHANGED, key, value, headers, ORIGIN)


def test_a_missing_or_malformed_header_is_named() -> None:
    good = headers_of(meta("acme"))
    for name in ("ce_id", "ce_type", "ce_source", "ce_time", "ce_tenant"):
        with pytest.raises(errors.ContractError, match=name):
            meta_of([header for header in good if header[0] != name], ORIGIN)
    for bad in (b"yesterday", b"2023-11-14T22:13:20", b"\xff"):
        with pytest.raises(errors.ContractError):
            meta_of([*(header for header in good if header[0] != "ce_time"), ("ce_time", bad)], ORIGIN)


class Noted(Event, frozen=True, kw_only=True):
    """A note, first version."""

    namespace = "tests"
    text: Annotated[str, "The note."]


def test_old_and_new_code_read_each_other() -> None:
    """C3: the reader resolves what another version wrote, in both directions."""

    class NotedNewer(Event, frozen=True, kw_only=True):
        """A note, second version."""

        namespace = "tests"
        text: Annotated[str, "The note."]
        stars: Annotated[int, "Added later, so it has a default."] = 3

    NotedNewer.__name__ = "Noted"
    schemas = {schema_id(avro_schema(kind)): avro_schema(kind) for kind in (Noted, NotedNewer)}
    old, new = Codec([Noted], writers=schemas.get), Codec([NotedNewer], writers=schemas.get)
    assert new.decode(old.encode(Noted(tenant="t", text="hi"))) == NotedNewer(tenant="t", text="hi", stars=3)
    assert old.decode(new.encode(NotedNewer(tenant="t", text="hi", stars=5))) == Noted(tenant="t", text="hi")
    with pytest.raises(errors.UnknownSchema):
        Codec([Noted], writers=lambda _: None).decode(new.encode(NotedNewer(tenant="t", text="hi")))


def test_an_event_without_metadata_says_so() -> None:
    with pytest.raises(AttributeError, match="no meta yet"):
        Codec().record(SOURCE_CHANGED, SourceChanged(tenant="t", document="d", version=1))


def test_copies_carry_their_metadata_and_bodies_compare_alone() -> None:
    event = change()
    assert event.replace(version=2).meta == event.meta
    assert event.with_meta(meta("acme", id="other")) == event
    assert json.loads(msgspec.json.encode(event)).get("meta") is None


def test_user_topics_are_plain_topics() -> None:
    topic = Topic(name="notes.v1", events=(Noted,), key=lambda event: keys.key(event.tenant))
    codec = Codec()
    record = codec.record(topic, attach(Noted(tenant="t", text="hi"), meta("t")))
    assert codec.read(topic, record.key, record.value, record.headers, ORIGIN) == Noted(tenant="t", text="hi")
