"""Laws about tables as a source, on a SQLite file: only changes travel, and nothing is missed."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, Unavailable
from millrace.event import Event
from millrace.events.corpus import SourceChanged
from millrace.ingest.memory import Memory
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from millrace.ingest.source import Document
from millrace.ingest.tables import OVERLAP, Columns, TableSource
from tests.millrace.workers import indexed, indexing, settled

START = dt.datetime(2026, 11, 21, 10, tzinfo=dt.UTC).replace(tzinfo=None)
COLUMNS = {"cursor": "updated_at", "content": "body", "title": "title", "deleted": "gone"}
NOTES = sa.Table(
    "notes",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("title", sa.String),
    sa.Column("body", sa.Text),
    sa.Column("updated_at", sa.DateTime),
    sa.Column("gone", sa.Boolean, default=False),
)


class Notes:
    """A table of notes, each an hour younger than the one before."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._engine = sa.create_engine(self.url)
        NOTES.metadata.create_all(self._engine)
        self._clock = START

    def write(self, number: int, body: str, *, at: dt.datetime | None = None, gone: bool = False) -> None:
        self._clock += dt.timedelta(hours=1)
        row = {"title": f"Note {number}", "body": body, "updated_at": at or self._clock, "gone": gone}
        with self._engine.begin() as connection:
            if not connection.execute(NOTES.update().where(NOTES.c.id == number).values(**row)).rowcount:
                connection.execute(NOTES.insert().values(id=number, **row))

    def remove(self, number: int) -> None:
        with self._engine.begin() as connection:
            connection.execute(NOTES.delete().where(NOTES.c.id == number))

    def close(self) -> None:
        self._engine.dispose()


@pytest.fixture
def notes(tmp_path: Path) -> Iterable[Notes]:
    found = Notes(tmp_path / "shop.db")
    for number in range(1, 7):
        found.write(number, f"# Note {number}")
    yield found
    found.close()


async def ingest(connection: Connection, tenant: str, notes: Notes, memory: Path | None, **plan: Any) -> Report:
    made = {"wait": True, "table": "notes", "columns": COLUMNS, "memory": memory, **plan}
    async with Millrace(connection) as client:
        return await Ingestion(client, Plan(paths=(notes.url,), tenant=tenant, **made)).run()


def changes(seen: Iterable[SourceChanged]) -> list[tuple[str, int, str]]:
    return [(change.document, change.version, change.op) for change in seen]


async def test_rows_become_documents_and_a_second_run_sends_only_what_changed(
    embedded: Connection, tenant: str, notes: Notes, tmp_path: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        first = await ingest(embedded, tenant, notes, tmp_path / "memory")
        second = await ingest(embedded, tenant, notes, tmp_path / "memory")
        notes.write(2, "# Note 2, edited")
        notes.write(7, "# Note 7")
        third = await ingest(embedded, tenant, notes, tmp_path / "memory")
    assert (first.n_found, first.n_sent, second.n_sent) == (6, 6, 0)
    assert second.n_found == 1  # the newest row, because others may have its time
    assert (third.n_found, third.n_sent) == (3, 2)
    first_note = next(change for change in worker.seen if change.document == "notes/1")
    assert (first_note.text, first_note.source) == ("# Note 1", "shop.notes")
    assert sorted(changes(worker.seen[6:])) == [("notes/2", 2, "upsert"), ("notes/7", 1, "upsert")]


async def test_a_row_that_is_marked_as_deleted_deletes_its_document_and_may_come_back(
    embedded: Connection, tenant: str, notes: Notes, tmp_path: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, notes, tmp_path / "memory")
        notes.write(3, "# Note 3", gone=True)
        notes.write(9, "never seen", gone=True)
        for _ in range(2):
            await ingest(embedded, tenant, notes, tmp_path / "memory")
        notes.write(3, "# Note 3")
        await ingest(embedded, tenant, notes, tmp_path / "memory")
    assert changes(worker.seen[6:]) == [("notes/3", 2, "delete"), ("notes/3", 3, "upsert")]


async def test_with_sync_documents_of_rows_that_are_gone_are_deleted(
    embedded: Connection, tenant: str, notes: Notes, tmp_path: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, notes, tmp_path / "memory")
        notes.remove(4)
        kept = await ingest(embedded, tenant, notes, tmp_path / "memory")
        synced = await ingest(embedded, tenant, notes, tmp_path / "memory", sync=True)
        after = await ingest(embedded, tenant, notes, tmp_path / "memory")
    assert (kept.n_deleted, synced.n_deleted) == (0, 1)
    assert changes(worker.seen[6:]) == [("notes/4", 2, "delete")]
    assert after.n_found == 1


async def test_a_rejected_row_is_not_sent_again_and_does_not_hold_the_cursor_up(
    embedded: Connection, tenant: str, notes: Notes, tmp_path: Path
) -> None:
    def rejects(change: SourceChanged) -> Iterable[Event]:
        return [settled(change, "rejected", "binary") if change.document == "notes/2" else indexed(change)]

    with indexing(embedded, tenant, rejects) as worker:
        await ingest(embedded, tenant, notes, tmp_path / "memory")
        after = await ingest(embedded, tenant, notes, tmp_path / "memory")
        retried = await ingest(embedded, tenant, notes, tmp_path / "memory", retry=True)
    assert (after.n_found, after.n_sent, retried.n_sent) == (1, 0, 1)
    assert changes(worker.seen[6:]) == [("notes/2", 2, "upsert")]


async def test_a_cursor_that_the_log_does_not_bear_out_is_not_used(
    embedded: Connection, tenant: str, notes: Notes, tmp_path: Path
) -> None:
    """A log that was begun anew, another tenant, or a document that failed: the whole table is read."""

    def fails_at_first(change: SourceChanged) -> Iterable[Event]:
        fails = change.document == "notes/2" and change.version == 1
        return [settled(change, "failed", "unavailable") if fails else indexed(change)]

    with indexing(embedded, tenant, fails_at_first) as worker:
        await ingest(embedded, tenant, notes, tmp_path / "memory")
        repaired = await ingest(embedded, tenant, notes, tmp_path / "memory")
        after = await ingest(embedded, tenant, notes, tmp_path / "memory")
    assert (repaired.n_found, repaired.n_sent, after.n_found) == (6, 1, 1)
    assert changes(worker.seen[6:]) == [("notes/2", 2, "upsert")]


async def test_without_a_memory_the_log_alone_says_what_changed(
    embedded: Connection, tenant: str, notes: Notes
) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, notes, None)
        again = await ingest(embedded, tenant, notes, None)
    assert (again.n_found, again.n_unchanged, len(worker.seen)) == (6, 6, 6)


async def read(
    notes: Notes,
    memory: Memory,
    held: Callable[[str], str],
    *,
    max_bytes: int = 1000,
    table: str = "notes",
    **columns: Any,
) -> list[Document]:
    source = TableSource(
        notes.url, table, Columns(**({"cursor": "updated_at"} | columns)), memory, name="s", max_bytes=max_bytes
    )
    try:
        found = [document async for document in source.documents(held)]
        await source.commit()
        assert not source.skipped or max_bytes < 1000
        return found
    finally:
        await source.close()


async def test_a_row_that_was_committed_late_with_an_earlier_time_is_found(notes: Notes) -> None:
    memory = Memory(None, "t", "s")
    newest = START + dt.timedelta(hours=6)

    def held(name: str) -> str:
        return memory.seen[name].sha256 if name in memory.seen else ""

    assert len(await read(notes, memory, held)) == 6
    notes.write(7, "late", at=newest - OVERLAP / 2)
    notes.write(8, "at the same time", at=newest)
    assert {document.id for document in await read(notes, memory, held)} == {"notes/6", "notes/7", "notes/8"}


async def test_a_row_without_a_time_is_not_lost(notes: Notes) -> None:
    with sa.create_engine(notes.url).begin() as connection:
        connection.execute(NOTES.insert().values(id=99, body="x", updated_at=None))
    connection.engine.dispose()
    assert "notes/99" in {document.id for document in await read(notes, Memory(None, "t", "s"), lambda _: "")}


@pytest.mark.parametrize("cursor", ["id", "title", ""])
async def test_a_cursor_may_be_a_number_or_text_and_need_not_be(notes: Notes, cursor: str) -> None:
    memory = Memory(None, "t", "s")

    def held(name: str) -> str:
        return memory.seen[name].sha256 if name in memory.seen else ""

    await read(notes, memory, held, cursor=cursor)
    notes.write(7, "new")
    again = await read(notes, memory, held, cursor=cursor)
    assert len(again) == (2 if cursor else 7)


async def test_the_title_is_the_heading_above_the_text_unless_the_text_begins_with_it(notes: Notes) -> None:
    notes.write(1, "Body.")
    found = await read(notes, Memory(None, "t", "s"), lambda _: "", content="body", title="title")
    assert {document.id: document.content for document in found if document.id < "notes/3"} == {
        "notes/1": b"# Note 1\n\nBody.",
        "notes/2": b"# Note 2",
    }


async def test_without_a_content_column_a_document_is_the_row(notes: Notes) -> None:
    (document, *_) = await read(notes, Memory(None, "t", "s"), lambda _: "", deleted="gone")
    assert document.media_type == "application/x-ndjson"
    assert json.loads(document.content or b"") == {"id": 1, "title": "Note 1", "body": "# Note 1"}


async def test_several_columns_may_name_a_row_and_slashes_in_them_are_no_slashes(notes: Notes) -> None:
    notes.write(1, "a/b%")
    found = await read(notes, Memory(None, "t", "s"), lambda _: "", key=("id", "body"))
    assert "notes/1/a%2Fb%25" in {document.id for document in found}


async def test_a_row_that_is_too_large_is_reported_and_the_rest_is_sent(notes: Notes) -> None:
    notes.write(3, "x" * 900)
    found = await read(notes, Memory(None, "t", "s"), lambda _: "", content="body", max_bytes=500)
    assert len(found) == 5


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("nothing", {}, "the database has: notes"),
        ("notes", {"cursor": "changed"}, "no column 'changed'; it has: id, title"),
        ("notes", {"content": "text"}, "no column 'text'"),
    ],
)
async def test_a_table_or_column_that_is_not_there_is_named_beside_those_that_are(
    notes: Notes, table: str, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputRejected, match=message):
        await read(notes, Memory(None, "t", "s"), lambda _: "", table=table, **columns)


async def test_a_table_without_a_key_is_refused_with_a_remedy(tmp_path: Path) -> None:
    found = Notes(tmp_path / "x.db")
    with sa.create_engine(found.url).begin() as connection:
        connection.execute(sa.text("create table keyless (a integer)"))
    connection.engine.dispose()
    with pytest.raises(InputRejected, match="--column key="):
        await read(found, Memory(None, "t", "s"), lambda _: "", table="keyless", cursor="")
    found.close()


async def test_a_database_that_cannot_be_opened_is_unavailable_and_its_password_is_not_told(tmp_path: Path) -> None:
    (tmp_path / "such.db").write_bytes(b"this is no database, but long enough to be taken for one" * 20)
    with pytest.raises(Unavailable) as caught:
        TableSource(f"sqlite:///{tmp_path}/such.db", "notes", Columns(), Memory(None, "t", "s"), name="s", max_bytes=1)
    assert "is the database running" in str(caught.value)
    with pytest.raises(InputRejected) as refused:
        TableSource("nosuch://ada:secret@host/db", "t", Columns(), Memory(None, "t", "s"), name="s", max_bytes=1)
    assert "secret" not in str(refused.value)


async def test_a_database_without_a_table_is_refused(embedded: Connection, tenant: str, notes: Notes) -> None:
    with pytest.raises(InputRejected, match="--table"):
        await ingest(embedded, tenant, notes, None, table="")
