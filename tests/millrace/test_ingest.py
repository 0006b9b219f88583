"""Laws about ingest: only changes travel, versions come from the log, nothing leaves the folder or is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected
from millrace.ingest.run import Ingestion, Plan, Report
from tests.millrace.workers import indexed, indexing, settled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    (docs / "guide").mkdir(parents=True)
    (docs / "a.md").write_text("# A\n\nAlpha.\n")
    (docs / "guide" / "b.txt").write_text("Beta.\n")
    (docs / "big.md").write_text("# Big\n\n" + "words " * 2000)
    return docs


async def ingest(connection: Connection, tenant: str, *paths: Path, **plan: Any) -> Report:
    async with Millrace(connection) as client:
        return await Ingestion(client, Plan(paths=paths, tenant=tenant, **{"wait": True, **plan})).run()


async def test_a_second_run_over_the_same_folder_sends_nothing(stack: Connection, tenant: str, folder: Path) -> None:
    with indexing(stack, tenant) as worker:
        first = await ingest(stack, tenant, folder)
        second = await ingest(stack, tenant, folder)
    assert (first.n_files, first.n_sent, first.counts()) == (3, 3, {"indexed": 3})
    assert (second.n_sent, second.n_unchanged) == (0, 3)
    changes = {change.document: change for change in worker.seen}
    assert set(changes) == {"a.md", "guide/b.txt", "big.md"}
    assert (changes["a.md"].text, changes["a.md"].content) == ("# A\n\nAlpha.\n", None)
    assert changes["big.md"].text is None
    assert changes["big.md"].content.startswith("sha256:")
    assert {change.acl_version for change in worker.seen} == {1}


async def test_an_edited_file_becomes_the_next_version(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, folder)
        (folder / "a.md").write_text("# A\n\nAleph.\n")
        again = await ingest(embedded, tenant, folder)
    assert [(o.receipt.document, o.version) for o in again.outcomes] == [("a.md", 2)]
    assert worker.seen[-1].acl_version == 1
