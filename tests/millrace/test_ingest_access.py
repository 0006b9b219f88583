"""Laws about new documents for which nobody names groups: no rename, move or copy opens what was closed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.ingest.access import Inheritance, UnclearGroups
from millrace.ingest.known import KnownDocument
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from millrace.ingest.walk import Rules
from tests.millrace.workers import indexing

HR = ("hr",)
ALL = ("*",)


def document(name: str, groups: tuple[str, ...] | None, *, deleted: bool = False, source: str = "kb") -> KnownDocument:
    digest = "" if deleted else name
    return KnownDocument(
        tenant="t", document=name, order=(0, 1), sha256=digest, source=source, groups=groups, deleted=deleted
    )


@pytest.mark.parametrize(
    ("known", "digest", "found"),
    [
        ([], "x", ALL),
        ([document("pay", HR)], "pay", HR),
        ([document("pay", HR)], "edited", HR),
        ([document("pay", HR), document("news", ALL)], "pay", HR),
        ([document("pay", HR), document("news", ALL)], "new", ALL),
        ([document("pay", HR), document("board", ("board",))], "pay", HR),
        ([document("pay", HR, deleted=True)], "new", HR),
        ([document("pay", HR), document("news", ALL, deleted=True)], "new", HR),
        ([document("pay", HR, source="other")], "pay", ALL),
        ([document("pay", ())], "pay", ()),
        ([document("pay", None)], "pay", ALL),
    ],
)
def test_a_new_document_gets_the_groups_of_what_it_comes_from(
    known: list[KnownDocument], digest: str, found: tuple[str, ...]
) -> None:
    assert Inheritance(known, ALL).groups("kb", digest) == found


def test_where_documents_do_not_agree_nothing_is_guessed() -> None:
    known = [document("pay", HR), document("board", ("board",))]
    with pytest.raises(UnclearGroups, match=r"\(board; hr\).*--groups"):
        Inheritance(known, ALL).groups("kb", "new")


def test_groups_that_some_document_of_the_source_is_for_are_not_wider() -> None:
    known = [document("pay", HR), document("plan", ("board", "staff"))]
    assert Inheritance(known, ("staff",)).groups("kb", "new") == ("staff",)
    with pytest.raises(UnclearGroups):
        Inheritance(known, ("staff", "guests")).groups("kb", "new")


async def ingest(connection: Connection, tenant: str, path: Path, **plan: Any) -> Report:
    async with Millrace(connection) as client:
        return await Ingestion(client, Plan(paths=(path,), tenant=tenant, wait=True, **plan)).run()


async def groups(connection: Connection, tenant: str, *documents: str) -> list[tuple[str, ...] | None]:
    async with Millrace(connection, tenant=tenant) as client:
        return [(await client.document(name)).groups for name in documents]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "priv"
    docs.mkdir()
    (docs / "pay.md").write_text("The bonus is 9 %.")
    return docs


@pytest.mark.parametrize("sync", [True, False])
async def test_a_renamed_file_is_for_whom_it_was_for(
    embedded: Connection, tenant: str, folder: Path, *, sync: bool
) -> None:
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder, groups=HR)
        (folder / "pay.md").rename(folder / "Pay.md")
        (folder / "new.md").write_text("new")
        report = await ingest(embedded, tenant, folder, sync=sync, confirmed=sync)
    assert await groups(embedded, tenant, "Pay.md", "new.md") == [HR, HR]
    assert (report.n_inherited, report.failed) == (2, False)


async def test_a_file_that_goes_and_comes_back_by_another_name_stays_closed(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder, groups=HR)
        (folder / "pay.md").rename(folder.parent / "elsewhere")
        await ingest(embedded, tenant, folder, sync=True, confirmed=True)
        (folder.parent / "elsewhere").rename(folder / "Pay.md")
        await ingest(embedded, tenant, folder, sync=True)
    assert await groups(embedded, tenant, "Pay.md") == [HR]


async def test_a_file_that_takes_the_place_of_a_moved_one_does_not_hide_where_that_came_from(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    (folder / "news.md").write_text("news")
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder)
        async with Millrace(embedded, tenant=tenant) as client:
            await client.wait(await client.set_acl("pay.md", HR), 20)
        (folder / "pay.md").rename(folder / "z.md")
        (folder / "pay.md").write_text("moved to z.md")
        await ingest(embedded, tenant, folder)
    assert await groups(embedded, tenant, "z.md", "pay.md", "news.md") == [HR, HR, ALL]


async def test_a_document_for_nobody_knows_whom_is_not_sent_and_the_rest_is(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    (folder / "plan.md").write_text("plan")
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder, groups=HR)
        async with Millrace(embedded, tenant=tenant) as client:
            await client.wait(await client.set_acl("plan.md", ["board"]), 20)
        (folder / "new.md").write_text("new")
        (folder / "pay.md").write_text("edited")
        report = await ingest(embedded, tenant, folder)
        told = await ingest(embedded, tenant, folder, groups=ALL, rules=Rules(include=("new.md",)))
    assert [(skipped.id, skipped.reason) for skipped in report.skipped] == [("new.md", "groups")]
    assert (report.n_sent, told.n_sent) == (1, 1)
    assert await groups(embedded, tenant, "new.md", "pay.md") == [ALL, HR]
