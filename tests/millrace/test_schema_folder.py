"""Schemas shared beside the objects: a reader follows a newer writer, and trusts no file by its name alone."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from millrace import Event, errors, schema_folder
from millrace.codec import Codec
from millrace.schema import avro_schema, schema_id


def noted(*, newer: bool) -> Any:
    fields: list[Any] = [("text", Annotated[str, "The note."])]
    fields += [("stars", Annotated[int, "How good."], 3)] if newer else []
    body = {"namespace": "tests", "__doc__": "A note."}
    return msgspec.defstruct("Noted", fields, bases=(Event,), namespace=body, frozen=True, kw_only=True)


def test_a_reader_follows_a_newer_writer_through_the_folder(tmp_path: Path) -> None:
    old, new = noted(newer=False), noted(newer=True)
    writer = Codec([new])
    value = writer.encode(new(tenant="t", text="hi"))
    reader = Codec([old], writers=schema_folder.writers(tmp_path))
    with pytest.raises(errors.UnknownSchema):
        reader.decode(value)
    assert schema_folder.publish(tmp_path, writer) == 1
    assert schema_folder.publish(tmp_path, writer) == 0
    assert reader.decode(value) == old(tenant="t", text="hi")


@pytest.mark.parametrize("text", ["", "{", "[]", '"string"', '{"type": "record", "name": "X"}', "other"])
def test_a_file_that_does_not_have_its_id_is_not_used(tmp_path: Path, text: str) -> None:
    new = noted(newer=True)
    number = schema_id(avro_schema(new))
    (tmp_path / "schemas").mkdir()
    other = Codec([noted(newer=False)])
    schema_folder.publish(tmp_path / "other", other)
    content = next((tmp_path / "other" / "schemas").glob("*.avsc")).read_text() if text == "other" else text
    (tmp_path / "schemas" / f"{number}.avsc").write_text(content)
    assert schema_folder.writers(tmp_path)(number) is None
