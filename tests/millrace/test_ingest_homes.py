"""Laws about sources that are named after their folder: another folder of that name is not taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from tests.millrace.workers import indexing


def make(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "a.md").write_text(text)
    return folder


async def ingest(connection: Connection, tenant: str, state: Path, *paths: Path, **plan: Any) -> Report:
    async with Millrace(connection) as client:
        return await Ingestion(client, Plan(paths=paths, tenant=tenant, wait=True, memory=state, **plan)).run()


async def test_a_second_folder_of_the_same_name_replaces_nothing(
    embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    state, one, two = tmp_path / "state", make(tmp_path / "1" / "docs", "one"), make(tmp_path / "2" / "docs", "two")
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, state, one)
        for paths in ((two,), (two / "a.md",)):
            with pytest.raises(InputRejected, match=rf"'docs' is {one} so far.*--source NAME --prefix NAME"):
                await ingest(embedded, tenant, state, *paths)
        again = await ingest(embedded, tenant, state, one)
        prefixed = await ingest(embedded, tenant, state, two, prefix="2")
        apart = await ingest(embedded, tenant, state, two, source="two", prefix="two")
        one_source = await ingest(embedded, tenant, state, two, source="docs")
    assert (again.n_unchanged, prefixed.n_sent, apart.n_sent, one_source.n_sent) == (1, 1, 1, 1)
    assert [(change.document, change.text) for change in worker.seen] == [
        *(("a.md", "one"), ("2/a.md", "two"), ("two/a.md", "two"), ("a.md", "two")),
    ]


async def test_a_folder_that_was_moved_is_the_same_source(embedded: Connection, tenant: str, tmp_path: Path) -> None:
    state, one = tmp_path / "state", make(tmp_path / "1" / "docs", "one")
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, state, one)
        (tmp_path / "2").mkdir()
        moved = one.rename(tmp_path / "2" / "docs")
        first = await ingest(embedded, tenant, state, moved)
        make(one, "another")
        second = await ingest(embedded, tenant, state, moved)
        with pytest.raises(InputRejected, match="another folder"):
            await ingest(embedded, tenant, state, one)
    assert (first.n_unchanged, second.n_unchanged) == (1, 1)


async def test_folders_of_one_call_may_share_a_name(embedded: Connection, tenant: str, tmp_path: Path) -> None:
    state, one, two = tmp_path / "state", make(tmp_path / "1" / "docs", "one"), make(tmp_path / "2" / "docs", "two")
    (two / "a.md").rename(two / "b.md")
    with indexing(embedded, tenant):
        both = await ingest(embedded, tenant, state, one, two)
        each = [await ingest(embedded, tenant, state, folder) for folder in (one, two)]
    assert (both.n_sent, [report.n_unchanged for report in each]) == (2, [1, 1])


async def test_a_note_that_cannot_be_kept_fails_no_run(embedded: Connection, tenant: str, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    one = make(tmp_path / "1" / "docs", "one")
    with indexing(embedded, tenant):
        report = await ingest(embedded, tenant, tmp_path / "state", one)
    assert (report.n_sent, report.failed) == (1, False)
