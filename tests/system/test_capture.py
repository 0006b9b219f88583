"""Rows of a real Postgres become documents through real Debezium and Kafka, whatever is killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import string
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from streams.sources.cdc import CaptureMapping, TableMapping
from streams.stores.objects import ContentStore
from tests.capture_chain import Chain, Seen, Watching

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(240)]

NOTES = TableMapping(content=("body",), title="title", groups_column="readers", label_columns={"state": "state"})


@pytest.fixture
def mapping(capture_chain: Chain) -> Iterator[CaptureMapping]:
    """A table of this test's own, with three rows that are there before anything is captured."""
    name = f"shop_{secrets.token_hex(4)}"
    with capture_chain.database() as database:
        database.execute(f"CREATE SCHEMA {name}")
        database.execute(
            f"CREATE TABLE {name}.notes (id int PRIMARY KEY, title text, body text, readers text[], state text)"
        )
        for i in range(3):
            database.execute(
                f"INSERT INTO {name}.notes VALUES (%s, %s, %s, %s, 'old')", [i, f"Note {i}", f"It says {i}.", ["staff"]]
            )
    found = CaptureMapping(name=name, tenant=name, tables={f"{name}.notes": NOTES})
    yield found
    capture_chain.connect.rest.delete(f"millrace_{name}_0")


def _expected(capture_chain: Chain, name: str) -> dict[str, tuple[str, tuple[str, ...], str]]:
    with capture_chain.database() as database:
        rows = database.execute(f"SELECT id, title, body, readers, state FROM {name}.notes")
    return {
        f"notes/{i}": (f"# {title}\n\n{body or ''}", tuple(sorted(readers or ())), state or "")
        for i, title, body, readers, state in rows
    }


def _found(seen: Seen, objects: ContentStore) -> dict[str, tuple[str, tuple[str, ...], str]]:
    texts, readers, documents = seen.texts(objects), seen.readers(), seen.documents()
    return {name: (texts[name], readers.get(name, ()), documents[name].labels.get("state", "")) for name in documents}


class _Told:
    """Waits until the documents are the rows."""

    def __init__(self, capture_chain: Chain, mapping: CaptureMapping, watching: Watching, folder: Path) -> None:
        self._chain = capture_chain
        self._name = mapping.name
        self._watching = watching
        self._objects = ContentStore(folder / "objects", flush=False)

    async def same(self, timeout_s: float = 60.0) -> Seen:
        wanted = await asyncio.to_thread(_expected, self._chain, self._name)
        try:
            async with asyncio.timeout(timeout_s):
                while _found(seen := await self._watching.read(), self._objects) != wanted:
                    pass
        except TimeoutError:
            assert _found(self._watching.seen, self._objects) == wanted
        return seen

    async def until(self, condition: Callable[[Seen], bool], timeout_s: float = 60.0) -> Seen:
        async with asyncio.timeout(timeout_s):
            while not condition(seen := await self._watching.read()):
                pass
        return seen


async def test_rows_that_are_there_and_every_change_become_documents(
    capture_chain: Chain, mapping: CaptureMapping, tmp_path: Path
) -> None:
    await asyncio.to_thread(capture_chain.capture, mapping)
    table = f"{mapping.name}.notes"
    async with capture_chain.agent(mapping, tmp_path), Watching(capture_chain.bootstrap, mapping) as watching:
        told = _Told(capture_chain, mapping, watching, tmp_path)
        seen = await told.same()
        assert set(seen.documents()) == {"notes/0", "notes/1", "notes/2"}
        large = "".join(Random(7).choices(string.ascii_letters, k=300_000))  # stored apart, by reference in the log
        with capture_chain.database() as database:
            database.execute(f"INSERT INTO {table} VALUES (3, 'New', %s, '{{staff,boss}}', NULL)", [large])
            database.execute(f"UPDATE {table} SET title = 'Newer' WHERE id = 3")  # its large text is not sent again
            database.execute(f"UPDATE {table} SET readers = '{{boss}}' WHERE id = 0")
            database.execute(f"UPDATE {table} SET id = 10 WHERE id = 1")
            database.execute(f"DELETE FROM {table} WHERE id = 2")
            with database.transaction():
                for word in ("first", "second", "third"):
                    database.execute(f"INSERT INTO {table} VALUES (4, 'Again', %s, NULL, NULL)", [word])
                    if word != "third":
                        database.execute(f"DELETE FROM {table} WHERE id = 4")
        seen = await told.same()
        assert set(seen.documents()) == {"notes/0", "notes/3", "notes/4", "notes/10"}
        assert seen.readers()["notes/4"] == ()
        assert seen.documents()["notes/3"].content is not None
        assert [row for row in seen.rows if row.op == "none"], "Debezium sent no tombstone"
        assert not seen.letters
        with capture_chain.database() as database:
            database.execute(f"ALTER TABLE {table} ADD COLUMN author text")
            database.execute(f"INSERT INTO {table} VALUES (5, 'Wider', 'One more column.', '{{*}}', 'new', 'Ann')")
        await told.same()
        with capture_chain.database() as database:
            database.execute(f"ALTER TABLE {table} DROP COLUMN state")
            database.execute(f"UPDATE {table} SET title = 'Lost' WHERE id = 5")
            database.execute(f"TRUNCATE {table}")
        seen = await told.until(lambda seen: len(seen.letters) == 2)
        messages = " and ".join(letter["mr-error-message"].decode() for letter in seen.letters)
        assert "has no column 'state' any more" in messages
        assert "was truncated" in messages


async def test_a_killed_connect_repeats_changes_and_the_outcome_is_the_same(
    capture_chain: Chain, mapping: CaptureMapping, tmp_path: Path
) -> None:
    stop = threading.Event()

    def write() -> None:
        random = Random(11)
        with capture_chain.database() as database:
            while not stop.wait(0.02):
                i = random.randrange(1, 6)  # row 0 rests: what changes while a row is read is left to its change
                statement = f"INSERT INTO {mapping.name}.notes VALUES (%s, 'Note', %s, '{{staff}}', NULL) "
                statement += "ON CONFLICT (id) DO UPDATE SET body = EXCLUDED.body"
                database.execute(statement, [i, str(random.random())])
                if random.random() < 0.2:
                    database.execute(f"DELETE FROM {mapping.name}.notes WHERE id = %s", [i])

    writer = threading.Thread(target=write)
    writer.start()  # so that the first reading of the table stands among its changes
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(writer.join)
        stack.callback(stop.set)
        await asyncio.to_thread(capture_chain.capture, mapping)
        await stack.enter_async_context(capture_chain.agent(mapping, tmp_path))
        watching = await stack.enter_async_context(Watching(capture_chain.bootstrap, mapping))
        told = _Told(capture_chain, mapping, watching, tmp_path)
        try:
            await told.until(lambda seen: any(row.read for row in seen.rows))
            for _ in range(2):
                n = len(watching.seen.rows)
                await told.until(lambda seen, n=n: len(seen.rows) > n + 100)  # type: ignore[misc]
                await asyncio.to_thread(capture_chain.connect.kill)
                await asyncio.to_thread(capture_chain.connect.start)
        finally:
            stop.set()
            writer.join()
        seen = await told.same()
    at = [(row.key, row.position) for row in seen.rows if row.op != "none"]
    assert len(set(at)) < len(at), "nothing was repeated, so this run shows nothing"
    # Without the order of positions the repetition would show: documents went back to what they had been.
    last: dict[str, tuple[int, int, int]] = {}
    went_back = 0
    for change in seen.changes:
        went_back += change.order < last.get(change.document, change.order)
        last[change.document] = change.order
    assert went_back > 0
    assert len({change.meta.id for change in seen.changes}) < len(seen.changes)
    assert len({(change.document, change.order) for change in seen.changes}) == len({c.meta.id for c in seen.changes})
    assert not seen.letters


async def test_a_restarted_database_loses_no_change(
    capture_chain: Chain, mapping: CaptureMapping, tmp_path: Path
) -> None:
    await asyncio.to_thread(capture_chain.capture, mapping)
    async with capture_chain.agent(mapping, tmp_path), Watching(capture_chain.bootstrap, mapping) as watching:
        told = _Told(capture_chain, mapping, watching, tmp_path)
        await told.same()
        for end in (capture_chain.postgres.stop, capture_chain.postgres.kill):
            with capture_chain.database() as database:
                database.execute(f"UPDATE {mapping.name}.notes SET title = 'before ' || title")
            await asyncio.to_thread(end)
            await asyncio.to_thread(capture_chain.postgres.start)
            with capture_chain.database() as database:
                database.execute(f"UPDATE {mapping.name}.notes SET title = 'after ' || title")
                database.execute(
                    f"DELETE FROM {mapping.name}.notes WHERE id = (SELECT max(id) FROM {mapping.name}.notes)"
                )
            await told.same(90.0)


async def test_starting_again_reads_only_what_is_new(
    capture_chain: Chain, mapping: CaptureMapping, tmp_path: Path
) -> None:
    await asyncio.to_thread(capture_chain.capture, mapping)
    with capture_chain.database() as database:
        database.execute(f"CREATE TABLE {mapping.name}.pages (id int PRIMARY KEY, body text)")
        database.execute(f"INSERT INTO {mapping.name}.pages VALUES (1, 'A page.')")
    wider = CaptureMapping(
        name=mapping.name,
        tenant=mapping.tenant,
        tables={**mapping.tables, f"{mapping.name}.pages": TableMapping(content="body")},
    )
    async with Watching(capture_chain.bootstrap, mapping) as first:
        await _Told(capture_chain, mapping, first, tmp_path).until(lambda seen: len(seen.rows) == 3)
    await asyncio.to_thread(capture_chain.capture, wider)
    async with capture_chain.agent(wider, tmp_path), Watching(capture_chain.bootstrap, wider) as watching:
        told = _Told(capture_chain, wider, watching, tmp_path)
        seen = await told.until(lambda seen: "pages/1" in seen.documents())
        assert sorted(row.key for row in seen.rows if row.table.endswith(".notes")) == [
            f'{{"id":{i}}}' for i in range(3)
        ]
