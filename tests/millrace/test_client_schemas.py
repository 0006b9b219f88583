"""Apps and workers of different releases read each other: an app shares the schemas that it writes."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from millrace import Event, Topic, schema_folder
from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.keys import key
from millrace.reader import LogReader, decode


@pytest.fixture
def folder(embedded: Connection) -> Path:
    """The object folder of a stack that runs."""
    found = Path(embedded.objects)
    found.mkdir()
    return found


def noted(*, newer: bool) -> Any:
    """One release of an event of the app's own."""
    fields: list[Any] = [("text", Annotated[str, "The note."])]
    fields += [("stars", Annotated[int, "How good."], 3)] if newer else []
    body = {"namespace": "tests", "__doc__": "A note."}
    return msgspec.defstruct("Noted", fields, bases=(Event,), namespace=body, frozen=True, kw_only=True)


def topic_of(event: Any, tenant: str) -> Topic:
    return Topic(name=f"app.{tenant}.v1", events=(event,), key=lambda event: key(event.tenant), group="app")


@pytest.mark.parametrize("newer", [True, False], ids=["newer writer", "older writer"])
async def test_a_worker_reads_what_an_app_of_another_release_writes(
    embedded: Connection, folder: Path, tenant: str, *, newer: bool
) -> None:
    written, known = noted(newer=newer), noted(newer=not newer)
    async with Millrace(embedded) as client:
        await client.produce(written(tenant=tenant, text="hi"), topic_of(written, tenant))
    reader = Codec([known], writers=schema_folder.writers(folder))
    with LogReader(embedded, [f"app.{tenant}.v1"]) as records:
        [found] = [decode(reader, record, topic_of(known, tenant)) for record in records]
    assert found == known(tenant=tenant, text="hi")


async def test_what_an_app_has_registered_is_shared_when_it_starts(embedded: Connection, folder: Path) -> None:
    codec = Codec([event := noted(newer=True)])
    async with Millrace(embedded, codec=codec):
        assert schema_folder.writers(folder)(codec.register(event)) is not None


async def test_an_app_that_does_not_see_the_object_folder_makes_none(
    embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    event = noted(newer=True)
    async with Millrace(embedded) as client:
        await client.produce(event(tenant=tenant, text="hi"), topic_of(event, tenant))
    assert Path(embedded.objects).parent == tmp_path
    assert not list(tmp_path.iterdir())  # noqa: ASYNC240 - a look at a small folder
