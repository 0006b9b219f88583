"""Laws about what is kept of the log: all that was read whole, and little of what was looked up one by one."""

from __future__ import annotations

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.ingest import known
from millrace.ingest.known import KnownDocuments

NAMES = [f"{n}.md" for n in range(5)]


@pytest.mark.parametrize(("most", "kept"), [(2, NAMES[3:]), (10_000, NAMES)])
async def test_of_documents_looked_up_one_by_one_the_newest_are_kept(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch, most: int, kept: list[str]
) -> None:
    monkeypatch.setattr(known, "_LOOKED_UP", most)
    async with Millrace(embedded, tenant=tenant) as millrace:
        for name in NAMES:
            await millrace.set_acl(name, ["staff"])
        found = KnownDocuments(embedded)
        for name in NAMES:
            assert found.refresh_document(tenant, name).groups == ("staff",)
        assert [document.document for document in found.all()] == kept
        assert [document.document for document in millrace.known.all()] == kept


async def test_a_document_that_is_looked_up_again_is_among_the_newest(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LOOKED_UP", 2)
    found = KnownDocuments(embedded)
    for name in ("0.md", "1.md"):
        found.refresh_document(tenant, name)
    mine = found.refresh_document(tenant, "0.md")
    found.refresh_document(tenant, "2.md")
    assert found.get(tenant, "0.md") is mine


async def test_names_that_were_only_asked_for_are_not_kept(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LOOKED_UP", 2)
    found = KnownDocuments(embedded)
    mine = found.get(tenant, "0.md")
    assert found.get(tenant, "0.md") is mine
    for n in range(1, 3):
        found.get(tenant, f"{n}.md")
    assert found.get(tenant, "0.md") is not mine


async def test_a_log_that_was_read_whole_is_kept_whole(
    embedded: Connection, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "_LOOKED_UP", 2)
    async with Millrace(embedded, tenant=tenant) as millrace:
        for name in NAMES:
            await millrace.set_acl(name, ["staff"])
    found = KnownDocuments(embedded, tenant=tenant)
    found.refresh()
    found.refresh_document(tenant, "another.md")
    assert [document.document for document in found.all()] == NAMES
