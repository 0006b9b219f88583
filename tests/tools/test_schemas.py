"""The schema gate: files in step with the code, and no change that old or new readers cannot follow."""

from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import pytest

from millrace import Event, errors
from millrace.errors import ConfigurationError
from millrace.schema import avro_schema, fingerprint, render, schema_id
from millrace.schema_lock import SchemaLock, released
from millrace.topics import CATALOGUE
from tools import schemas


def test_committed_schemas_and_lock_are_what_the_classes_say() -> None:
    assert schemas.main([]) == 0


def test_a_changed_file_is_noticed_and_written_again(tmp_path: Path) -> None:
    assert schemas.main(["--write"], tmp_path) == 0
    assert schemas.main([], tmp_path) == 0
    path = tmp_path / "millrace.corpus.AclChanged.avsc"
    path.write_text(path.read_text().replace("nobody", "anybody"))
    assert schemas.main([], tmp_path) == 1
    assert schemas.main(["--write"], tmp_path) == 0
    assert schemas.main([], tmp_path) == 0


def test_every_field_is_documented() -> None:
    for topic in CATALOGUE.values():
        for event in topic.events:
            schema = avro_schema(event)
            assert schema["doc"]
            missing = [
                field["name"] for field in schema["fields"] if not field.get("doc") and field["name"] != "tenant"
            ]
            assert not missing, f"{event.__name__}: {missing}"


def _noted(**fields: Any) -> type[Event]:
    declared = [(name, *rest) for name, rest in fields.items()]
    body = {"namespace": "tests", "__doc__": "A note."}
    return cast(
        "type[Event]", msgspec.defstruct("Noted", declared, bases=(Event,), namespace=body, frozen=True, kw_only=True)
    )


BEFORE = {"text": (Annotated[str, "The note."],), "stars": (Annotated[int, "How good."], 3)}


@pytest.mark.parametrize(
    "after",
    [
        BEFORE | {"mood": (str, "calm")},
        BEFORE | {"mood": (str | None, None)},
        {"text": BEFORE["text"]},
        {"text": (Annotated[str, "Said better."],), "stars": BEFORE["stars"]},
    ],
    ids=["default added", "null added", "defaulted removed", "documentation"],
)
def test_a_compatible_change_becomes_a_new_version(after: dict[str, Any], tmp_path: Path) -> None:
    lock = _released(_noted(**BEFORE), tmp_path)
    grown, files = schemas.evolve(lock, [_noted(**after)])
    assert files["tests.Noted.avsc"]
    changed = fingerprint(avro_schema(_noted(**after))) != fingerprint(avro_schema(_noted(**BEFORE)))
    assert len(grown.events["tests.Noted"]) == (2 if changed else 1)


@pytest.mark.parametrize(
    "after",
    [
        BEFORE | {"mood": (str,)},
        {"stars": BEFORE["stars"]},
        BEFORE | {"text": (int,)},
        {"words": BEFORE["text"], "stars": BEFORE["stars"]},
        BEFORE | {"stars": (str, "three")},
    ],
    ids=["no default", "required removed", "type changed", "renamed", "default of another type"],
)
def test_a_change_that_readers_cannot_follow_is_refused(after: dict[str, Any], tmp_path: Path) -> None:
    lock = _released(_noted(**BEFORE), tmp_path)
    with pytest.raises(errors.IncompatibleSchema, match=r"tests\.Noted"):
        schemas.evolve(lock, [_noted(**after)])


def test_compatibility_is_transitive(tmp_path: Path) -> None:
    """Version 3 fits version 2 but not version 1, which is still on the log."""
    first = _noted(text=(str,), stars=(int, 3))
    second = _noted(text=(str,))
    third = _noted(text=(str,), stars=(str, "three"))
    lock = _released(first, tmp_path)
    lock, files = schemas.evolve(lock, [second])
    _write(tmp_path, lock, files)
    with pytest.raises(errors.IncompatibleSchema):
        schemas.evolve(SchemaLock.load(tmp_path), [third])


def test_superseded_versions_stay_readable(tmp_path: Path) -> None:
    before, after = _noted(**BEFORE), _noted(**BEFORE, mood=(str, "calm"))
    lock, files = schemas.evolve(_released(before, tmp_path), [after])
    _write(tmp_path, lock, files)
    old = SchemaLock.load(tmp_path).writer(schema_id(avro_schema(before)))
    assert old is not None
    assert fingerprint(old) == fingerprint(avro_schema(before))


def test_a_file_that_is_not_the_version_of_the_lock_is_not_kept_as_it(tmp_path: Path) -> None:
    """As when the lock was taken back to an earlier commit, and the file beside it was not."""
    before, after, later = _noted(**BEFORE), _noted(**BEFORE, mood=(str, "calm")), _noted(**BEFORE, mood=(str, "wild"))
    lock = _released(before, tmp_path)
    (tmp_path / "tests.Noted.avsc").write_text(render(avro_schema(after)))
    with pytest.raises(errors.IncompatibleSchema, match="restore the file"):
        schemas.evolve(lock, [later])
    lock, files = schemas.evolve(_released(before, tmp_path), [after])
    _write(tmp_path, lock, files)
    (tmp_path / lock.events["tests.Noted"][0].file).write_text(render(avro_schema(after)))
    with pytest.raises(errors.IncompatibleSchema, match="restore the file"):
        schemas.evolve(SchemaLock.load(tmp_path), [after])


def test_the_lock_knows_every_current_id() -> None:
    for topic in CATALOGUE.values():
        for event in topic.events:
            assert released().writer(schema_id(avro_schema(event))) == avro_schema(event)


def test_a_broken_or_newer_lock_is_refused(tmp_path: Path) -> None:
    for text in ("{", "{}", '{"format": 99, "events": {}}'):
        (tmp_path / "lock.json").write_text(text)
        with pytest.raises(ConfigurationError, match=r"lock\.json"):
            SchemaLock.load(tmp_path)


def test_a_type_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Noted\.text"):
        avro_schema(_noted(text=(set[str],)))


def _released(event: type[Event], folder: Path) -> SchemaLock:
    lock, files = schemas.evolve(SchemaLock.load(folder), [event])
    _write(folder, lock, files)
    return SchemaLock.load(folder)


def _write(folder: Path, lock: SchemaLock, files: dict[str, str]) -> None:
    for name, text in (files | {"lock.json": schemas.lock_text(lock)}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
