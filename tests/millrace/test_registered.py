"""What a registry said once is not asked again, so a reader that knows its schemas goes on without it."""

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import msgspec
import pytest

from millrace import Event, Topic, ids
from millrace.codec import Codec
from millrace.errors import ConfigurationError, Unavailable, UnknownSchema
from millrace.event import Meta, attach
from millrace.keys import key
from millrace.registered import Registered, UnmetSchema, once_met
from millrace.registry import Refused, RegistryAccess, subject_of, text_of
from millrace.schema import avro_schema
from millrace.schema_lock import released
from millrace.topics import ANSWER_PRODUCED, CATALOGUE, SOURCE_CHANGED


@dataclass
class Shelf:
    """A registry in memory: numbers what is put into it, counts what it is asked, and can be down."""

    access: RegistryAccess = field(default_factory=lambda: RegistryAccess(url="http://shelf"))
    down: Exception | None = None
    asked: list[Any] = field(default_factory=list)
    texts: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, str], int] = field(default_factory=dict)

    def put(self, topics: Iterable[Topic], *schemas: dict[str, Any]) -> None:
        for topic in topics:
            for event in topic.events:
                for schema in (*schemas, avro_schema(event)):
                    number = self.subjects.setdefault(
                        (subject_of(topic, event), text_of(schema)), 100 + len(self.subjects)
                    )
                    self.texts[number] = schema

    def schema(self, number: int) -> dict[str, Any] | None:
        self._ask(number)
        return self.texts.get(number)

    def lookup(self, subject: str, schema: dict[str, Any]) -> int | None:
        self._ask(subject)
        return self.subjects.get((subject, text_of(schema)))

    def _ask(self, what: Any) -> None:
        self.asked.append(what)
        if self.down:
            raise self.down


@dataclass
class Held(Shelf):
    """A registry that keeps whoever asks for id 7 waiting."""

    asked_for_7: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)

    def schema(self, number: int) -> dict[str, Any] | None:
        if number == 7:
            self.asked_for_7.set()
            assert self.answer.wait(10)
        return super().schema(number)


def noted(*, newer: bool) -> Any:
    fields: list[Any] = [("tenant", Annotated[str, "Tenant."]), ("text", Annotated[str, "The note."])]
    fields += [("stars", Annotated[int, "How good."], 3)] if newer else []
    body = {"namespace": "tests", "__doc__": "A note."}
    return msgspec.defstruct("Noted", fields, bases=(Event,), namespace=body, frozen=True, kw_only=True)


def topic_of(event: Any, name: str = "notes") -> Topic:
    return Topic(name=name, events=(event,), key=lambda event: key(event.tenant))


def codec_of(shelf: Shelf, *events: Any) -> tuple[Codec, Registered]:
    registered = Registered(shelf)  # type: ignore[arg-type]
    return Codec(events or None, ids=registered.id_of, writers=registered.schema), registered


def with_meta(event: Any) -> Any:
    meta = Meta(id=ids.derived("note"), type=event.type_name(), source="test", time_us=1, tenant=event.tenant)
    return attach(event, meta)


def test_a_record_carries_the_registry_s_id_and_that_is_asked_for_once() -> None:
    event, shelf = noted(newer=False), Shelf()
    shelf.put([topic_of(event)])
    codec, _ = codec_of(shelf, event)
    assert shelf.asked == []
    values = [codec.record(topic_of(event), with_meta(event(tenant="t", text=str(n)))).value for n in range(3)]
    assert {value[:5] for value in values} == {b"\x00" + (100).to_bytes(4, "big")}
    assert [codec.decode(value) for value in values] == [event(tenant="t", text=str(n)) for n in range(3)]
    assert shelf.asked == ["notes-value"]


def test_an_event_that_nobody_registered_is_refused_before_it_is_written() -> None:
    event = noted(newer=False)
    codec, _ = codec_of(Shelf(), event)
    with pytest.raises(ConfigurationError, match=r"tests\.Noted under subject 'notes-value'.*infra register"):
        codec.record(topic_of(event), with_meta(event(tenant="t", text="hi")))


def test_an_event_outside_the_catalogue_needs_its_topic() -> None:
    event = noted(newer=False)
    codec, _ = codec_of(Shelf(), event)
    with pytest.raises(ConfigurationError, match=r"codec\.register\(event, topic\)"):
        codec.encode(event(tenant="t", text="hi"))


@pytest.mark.parametrize("newer", [True, False], ids=["newer writer", "older writer"])
def test_the_schema_of_another_release_is_fetched_once(*, newer: bool) -> None:
    written, known, shelf = noted(newer=newer), noted(newer=not newer), Shelf()
    shelf.put([topic_of(written)])
    writer, _ = codec_of(shelf, written)
    values = [
        writer.record(topic_of(written), with_meta(written(tenant="t", text=text))).value for text in ("hi", "ho")
    ]
    reader, registered = codec_of(shelf, known)
    shelf.asked.clear()
    assert [reader.decode(value) for value in values] == [known(tenant="t", text=text) for text in ("hi", "ho")]
    assert shelf.asked == [100]
    shelf.down = Unavailable("down")
    assert codec_with(registered, known).decode(values[0]) == known(tenant="t", text="hi")


def codec_with(registered: Registered, event: Any) -> Codec:
    return Codec([event], ids=registered.id_of, writers=registered.schema)


def test_an_unknown_id_is_not_asked_for_record_after_record() -> None:
    event, shelf = noted(newer=False), Shelf()
    codec, _ = codec_of(shelf, event)
    for _ in range(50):
        with pytest.raises(UnknownSchema):
            codec.decode(b"\x00\x00\x00\x00\x07body")
    assert shelf.asked == [7]


@pytest.mark.parametrize("error", [Unavailable("down"), Refused(401, "not allowed")])
def test_while_the_registry_does_not_say_an_unmet_id_is_no_fault_of_the_record(error: Exception) -> None:
    event, shelf = noted(newer=False), Shelf(down=error)
    shelf.put([topic_of(event)])
    codec, _ = codec_of(shelf, event)
    value = b"\x00" + (100).to_bytes(4, "big") + b"\x02t\x04hi"
    with pytest.raises(Unavailable):
        codec.decode(value)
    shelf.down = None
    assert codec.decode(value) == event(tenant="t", text="hi")


def test_who_is_warm_reads_and_writes_the_whole_catalogue_without_the_registry() -> None:
    shelf = Shelf()
    old = [released().schema(version) for version in released().events[ANSWER_PRODUCED.events[0].type_name()][:-1]]
    shelf.put([ANSWER_PRODUCED], *old)
    shelf.put(CATALOGUE.values())
    codec, registered = codec_of(shelf)
    registered.warm()
    shelf.down, n_asked = Unavailable("down"), len(shelf.asked)
    assert len(codec.schemas()) == len({event for topic in CATALOGUE.values() for event in topic.events})
    for number in shelf.texts:
        assert registered.schema(number) is not None
    assert len(shelf.asked) == n_asked
    assert old


def test_warming_says_which_event_is_not_registered() -> None:
    shelf = Shelf()
    shelf.put(topic for topic in CATALOGUE.values() if topic is not SOURCE_CHANGED)
    _, registered = codec_of(shelf)
    with pytest.raises(ConfigurationError, match=r"SourceChanged under subject 'corpus\.source\.changed\.v1-value'"):
        registered.warm()


async def test_on_an_event_loop_an_unmet_id_is_asked_for_in_a_thread_and_then_known() -> None:
    event, shelf = noted(newer=False), Shelf()
    shelf.put([topic_of(event)])
    registered = Registered(shelf)  # type: ignore[arg-type]
    codec = Codec([event], writers=registered.known)
    value = b"\x00" + (100).to_bytes(4, "big") + b"\x02t\x04hi"
    with pytest.raises(UnmetSchema, match="100"):
        codec.decode(value)
    assert shelf.asked == []
    assert await once_met(partial(codec.decode, value)) == event(tenant="t", text="hi")
    assert codec.decode(value) == event(tenant="t", text="hi")
    with pytest.raises(UnknownSchema):
        await once_met(partial(codec.decode, b"\x00\x00\x00\x00\x07body"))
    assert shelf.asked == [100, 7]


async def test_an_unmet_id_stays_so_while_the_registry_does_not_say() -> None:
    event, shelf = noted(newer=False), Shelf(down=Unavailable("down"))
    codec = Codec([event], writers=Registered(shelf).known)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="down"):
        await once_met(partial(codec.decode, b"\x00\x00\x00\x00\x07body"))


def test_whoever_asks_for_something_holds_up_nobody_who_knows_or_asks_for_something_else() -> None:
    event, shelf = noted(newer=False), Held()
    shelf.put([topic_of(event)])
    registered = Registered(shelf)  # type: ignore[arg-type]
    registered.id_of(event, topic_of(event))
    with ThreadPoolExecutor(2) as threads:
        held = [threads.submit(registered.schema, 7) for _ in range(2)]
        assert shelf.asked_for_7.wait(10)
        try:
            assert registered.schema(100) == avro_schema(event)
            assert registered.id_of(event, topic_of(event)) == 100
            assert registered.schema(8) is None
        finally:
            shelf.answer.set()
        assert [each.result(10) for each in held] == [None, None]
    assert shelf.asked.count(7) == 1
