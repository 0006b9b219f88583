"""Registration: all that was ever released, once, and nothing that old or new readers could not follow."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from infra.registry import COMPATIBILITY, register
from infra.servers.apicurio import ApicurioServer
from millrace import Event, Topic
from millrace.errors import ConfigurationError, IncompatibleSchema
from millrace.keys import key
from millrace.registry import Registry, subject_of
from millrace.schema import avro_schema
from millrace.schema_lock import released
from millrace.topics import CATALOGUE, REPLY, SOURCE_CHANGED
from tests.registries import StartRegistry, prefix, registry_at

pytestmark = pytest.mark.timeout(180)


def noted(**added: Any) -> Any:
    """A release of an event, with what it adds."""
    fields: list[Any] = [("tenant", Annotated[str, "Tenant."]), ("text", Annotated[str, "The note."]), *added.values()]
    body = {"namespace": "tests", "__doc__": "A note."}
    return msgspec.defstruct("Noted", fields, bases=(Event,), namespace=body, frozen=True, kw_only=True)


STARS = ("stars", Annotated[int, "How good."], 3)
GRAVE = ("grave", Annotated[int, "No old reader or writer knows it, and it has no default."])


def schema_of(topic: Topic) -> dict[str, Any]:
    return avro_schema(topic.events[0])


def topic_of(event: Any, name: str) -> Topic:
    return Topic(name=name, events=(event,), key=lambda event: key(event.tenant))


def test_all_released_versions_are_registered_once_under_a_subject_for_each_topic_and_event(registry: Registry) -> None:
    first = register(registry, CATALOGUE.values(), [released()])
    again = register(registry, CATALOGUE.values(), [released()])
    assert again.ids == first.ids
    assert again.added == ()
    n_versions = sum(len(versions) for versions in released().events.values())
    assert len(first.ids) == n_versions
    subjects = set(registry.request("GET", "/subjects"))
    assert f"{SOURCE_CHANGED.name}-value" in subjects
    assert {f"{REPLY.name}-{event.type_name()}" for event in REPLY.events} <= subjects


@pytest.mark.parametrize("number", [0, 999_999, 2**31 - 1, 2**31, 2**32 - 1])
def test_an_id_that_was_never_given_is_unknown(registry: Registry, number: int) -> None:
    assert registry.schema(number) is None


def test_an_incompatible_change_is_refused_and_leaves_the_subject_as_it_was(registry: Registry) -> None:
    name = prefix()
    old, new, broken = noted(), noted(a=STARS), noted(a=STARS, b=GRAVE)
    register(registry, [topic_of(old, name)], [])
    register(registry, [topic_of(new, name)], [])
    with pytest.raises(IncompatibleSchema, match="schemas/README"):
        register(registry, [topic_of(broken, name)], [])
    assert registry.request("GET", f"/subjects/{name}-value/versions") == [1, 2]


def test_a_change_must_fit_every_version_and_not_only_the_last(registry: Registry) -> None:
    name = prefix()
    other = ("stars", Annotated[str, "A type that the first version's readers cannot follow."], "three")
    register(registry, [topic_of(noted(a=STARS), name)], [])
    register(registry, [topic_of(noted(), name)], [])
    with pytest.raises(IncompatibleSchema):
        register(registry, [topic_of(noted(a=other), name)], [])


def test_a_subject_stays_guarded_when_the_registry_as_a_whole_is_not(registry: Registry) -> None:
    name = prefix()
    registry.request("PUT", "/config", {"compatibility": COMPATIBILITY})
    register(registry, [topic_of(noted(), name)], [])
    registry.request("PUT", "/config", {"compatibility": "NONE"})
    try:
        found = registry.request("GET", f"/config/{name}-value")
    finally:
        registry.request("PUT", "/config", {"compatibility": COMPATIBILITY})
    assert found == {"compatibilityLevel": COMPATIBILITY}


def test_a_guard_that_somebody_took_away_is_set_again_before_anything_is_registered(registry: Registry) -> None:
    name = prefix()
    register(registry, [topic_of(noted(), name)], [])
    registry.request("PUT", f"/config/{name}-value", {"compatibility": "NONE"})
    registry.request("PUT", "/config", {"compatibility": "NONE"})
    with pytest.raises(IncompatibleSchema):
        register(registry, [topic_of(noted(b=GRAVE), name)], [])
    assert registry.request("GET", "/config") == {"compatibilityLevel": COMPATIBILITY}


def test_new_words_in_the_documentation_are_a_version_with_an_id_of_its_own(registry: Registry) -> None:
    topic = topic_of(noted(), prefix())
    reworded = topic_of(noted(), topic.name)
    reworded.events[0].__doc__ = "A note, in other words."
    first = register(registry, [topic], [])
    second = register(registry, [reworded], [])
    assert first.ids.keys().isdisjoint(second.ids)
    subject = subject_of(topic, topic.events[0])
    assert registry.lookup(subject, avro_schema(topic.events[0])) in first.ids.values()


def emptied(server: ApicurioServer, data: Path) -> Registry:
    """The same registry without its content."""
    server.stop()
    for path in data.iterdir():
        path.unlink()
    return registry_at(server.start().url)


@pytest.mark.slow
def test_a_registry_that_has_lost_its_content_is_refused_and_not_written_to(
    start_registry: StartRegistry, tmp_path: Path
) -> None:
    notes = tmp_path / "ids.json"
    server = start_registry()
    one, other = topic_of(noted(), "one"), topic_of(noted(a=STARS), "other")
    before = register(registry_at(server.url), [one, other], [], notes=notes, log_epoch="log")
    assert notes.stat().st_mode & 0o777 == 0o600
    empty = emptied(server, tmp_path / "registry" / "data")
    for topics in ([other, one], [one, other], [one]):
        with pytest.raises(ConfigurationError, match="restore its data, or start with a new log"):
            register(empty, topics, [], notes=notes, log_epoch="log")
    assert empty.request("GET", "/subjects") == []
    assert register(empty, [other, one], [], notes=notes, log_epoch="another log").ids != before.ids


@pytest.mark.slow
def test_an_id_of_the_log_is_never_given_to_another_schema_although_only_a_part_is_registered_anew(
    start_registry: StartRegistry, tmp_path: Path
) -> None:
    notes = tmp_path / "ids.json"
    server = start_registry()
    ours, own, next_own = topic_of(noted(), "ours"), topic_of(noted(a=STARS), "own"), topic_of(noted(b=GRAVE), "next")
    register(registry_at(server.url), [ours], [], notes=notes, log_epoch="log")
    given = register(registry_at(server.url), [ours, own], [], notes=notes, log_epoch="log")
    empty = emptied(server, tmp_path / "registry" / "data")
    assert [*register(empty, [ours, next_own], []).ids.values()] == [
        *given.ids.values()
    ]  # by someone without the notes
    with pytest.raises(ConfigurationError, match=f"id {max(given.ids.values())} .* is tests.Noted .* as tests.Noted"):
        register(empty, [ours], [], notes=notes, log_epoch="log")


def test_an_id_that_was_given_before_a_later_schema_was_refused_is_noted(registry: Registry, tmp_path: Path) -> None:
    notes, name = tmp_path / "ids.json", prefix()
    register(registry, [topic_of(noted(), f"{name}.b")], [])
    fine, broken = topic_of(noted(a=STARS), f"{name}.a"), topic_of(noted(b=GRAVE), f"{name}.b")
    with pytest.raises(IncompatibleSchema):
        register(registry, [fine, broken], [], notes=notes, log_epoch="log")
    assert list(json.loads(notes.read_text())["log"]) == [str(registry.lookup(f"{name}.a-value", schema_of(fine)))]
