"""Laws about ingest: only changes travel, versions come from the log, nothing leaves the folder or is lost."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected
from millrace.event import Event
from millrace.events.corpus import SourceChanged
from millrace.ingest.folder import FolderSource
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from millrace.ingest.walk import Rules
from millrace.objects import ObjectFolder
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


async def groups(connection: Connection, tenant: str, document: str) -> tuple[str, ...] | None:
    async with Millrace(connection, tenant=tenant) as client:
        return (await client.document(document)).groups


async def test_a_second_run_over_the_same_folder_sends_nothing(stack: Connection, tenant: str, folder: Path) -> None:
    with indexing(stack, tenant) as worker:
        first = await ingest(stack, tenant, folder)
        second = await ingest(stack, tenant, folder)
    assert (first.n_found, first.n_sent, first.counts(), first.failed) == (3, 3, {"indexed": 3}, False)
    assert (second.n_sent, second.n_unchanged, second.receipts) == (0, 3, [])
    changes = {change.document: change for change in worker.seen}
    assert set(changes) == {"a.md", "guide/b.txt", "big.md"}
    assert (changes["a.md"].text, changes["a.md"].content) == ("# A\n\nAlpha.\n", None)
    assert changes["big.md"].text is None
    assert changes["big.md"].content.startswith("sha256:")
    assert {(change.acl_version, change.source) for change in worker.seen} == {(1, "docs")}
    assert changes["guide/b.txt"].media_type == "text/plain"


async def test_an_edited_file_becomes_the_next_version(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, folder)
        (folder / "a.md").write_text("# A\n\nAleph.\n")
        again = await ingest(embedded, tenant, folder)
    assert [(o.receipt.document, o.version) for o in again.outcomes] == [("a.md", 2)]
    assert worker.seen[-1].acl_version == 1


async def test_other_labels_are_a_change_and_other_groups_are_not(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, folder)
        access = await ingest(embedded, tenant, folder, groups=("staff",))
        labels = await ingest(embedded, tenant, folder, labels={"team": "hr"})
    assert (access.n_sent, access.n_access, access.counts()) == (0, 3, {"access": 3})
    assert (labels.n_sent, labels.n_access) == (3, 0)
    assert {change.version for change in worker.seen[3:]} == {2}
    assert await groups(embedded, tenant, "a.md") == ("staff",)


async def test_everyone_may_read_new_documents_but_revoked_access_stays_revoked(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder)
        assert await groups(embedded, tenant, "a.md") == ("*",)
        async with Millrace(embedded, tenant=tenant) as client:
            await client.set_acl("a.md", ["board"])
        (folder / "a.md").write_text("new")
        report = await ingest(embedded, tenant, folder)
    assert (report.n_sent, await groups(embedded, tenant, "a.md")) == (1, ("board",))


async def test_a_failed_document_is_sent_again(embedded: Connection, tenant: str, folder: Path) -> None:
    def behaviour(change: SourceChanged) -> Iterable[Event]:
        return [settled(change, "failed", "unavailable") if change.version == 1 else indexed(change)]

    with indexing(embedded, tenant, behaviour):
        first = await ingest(embedded, tenant, folder)
        second = await ingest(embedded, tenant, folder)
    assert (first.failed, first.counts(), second.counts()) == (True, {"failed": 3}, {"indexed": 3})


def rejecting(reason: str) -> Callable[[SourceChanged], Iterable[Event]]:
    """Rejects what says so, and indexes the rest."""

    def behaviour(change: SourceChanged) -> Iterable[Event]:
        return [settled(change, "rejected", reason, "it cannot be") if change.text == "bad" else indexed(change)]

    return behaviour


async def test_a_rejected_document_is_told_of_again_and_not_sent_again(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    (folder / "bad.md").write_text("bad")
    with indexing(embedded, tenant, rejecting("broken")) as worker:
        first = await ingest(embedded, tenant, folder)
        (folder / "a.md").write_text("edited")
        second = await ingest(embedded, tenant, folder)
        retried = await ingest(embedded, tenant, folder, retry=True)
        (folder / "bad.md").write_text("good")
        mended = await ingest(embedded, tenant, folder)
    assert (first.counts(), first.still_rejected) == ({"indexed": 3, "rejected": 1}, [])
    assert (second.n_sent, second.n_unchanged, second.failed) == (1, 3, True)
    (outcome,) = second.still_rejected
    assert (outcome.receipt.document, outcome.version, outcome.reason, outcome.message) == (
        *("bad.md", 1, "broken", "it cannot be"),
    )
    assert (retried.n_sent, retried.counts(), retried.still_rejected) == (1, {"rejected": 1}, [])
    assert (mended.counts(), mended.failed) == ({"indexed": 1}, False)
    assert [change.version for change in worker.seen if change.document == "bad.md"] == [1, 2, 3]


@pytest.mark.parametrize("reason", ["erased", "object_tampered"])
async def test_what_was_rejected_for_content_that_is_gone_is_sent_again(
    embedded: Connection, tenant: str, folder: Path, reason: str
) -> None:
    (folder / "bad.md").write_text("bad")
    with indexing(embedded, tenant, rejecting(reason)):
        await ingest(embedded, tenant, folder)
        second = await ingest(embedded, tenant, folder)
    assert (second.n_sent, second.counts()) == (1, {"rejected": 1})


async def test_what_cannot_be_read_is_reported_and_the_rest_is_sent(
    embedded: Connection, tenant: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("outside")
    (folder / "latin1.md").write_bytes("Zürich".encode("latin-1"))
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "inner.md").symlink_to(folder / "a.md")
    (folder / "loop").symlink_to(folder)
    (folder / "dangling.md").symlink_to(folder / "nothing.md")
    (folder / "huge.md").write_text("x" * 50_000)
    (folder / os.fsdecode(b"b\xffd.md")).write_text("name")
    os.mkfifo(folder / "pipe.md")
    with indexing(embedded, tenant) as worker:
        report = await ingest(embedded, tenant, folder, labels={}, rules=Rules(max_bytes=40_000))
    assert {(skipped.id, skipped.reason) for skipped in report.skipped} == {
        ("latin1.md", "undecodable"),
        ("link.md", "outside"),
        ("dangling.md", "unreadable"),
        ("huge.md", "too_large"),
        ("b?d.md", "name"),
    }
    assert {change.document for change in worker.seen} == {"a.md", "guide/b.txt", "big.md", "inner.md"}
    assert report.failed


async def test_files_that_a_parser_reads_are_sent_byte_for_byte(
    embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    files = {
        "book.xlsx": b"PK\x03\x04\xff\x00",
        "latin.html": "<p>Zürich</p>".encode("latin-1"),
        "rows.csv": "Stadt;Größe\n".encode("utf-16"),
        "plain.pdf": b"%PDF-1.7 of ASCII alone",
    }
    folder = tmp_path / "formats"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    with indexing(embedded, tenant) as worker:
        report = await ingest(embedded, tenant, folder)
    objects = ObjectFolder(Path(embedded.objects))
    sent = {
        change.document: (change.text or "").encode() if change.content is None else await objects.get(change.content)
        for change in worker.seen
    }
    assert (sent, report.skipped) == (files, [])
    assert {change.n_bytes for change in worker.seen} == {len(data) for data in files.values()}


async def test_bytes_without_an_object_folder_are_reported_and_the_rest_is_sent(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    (folder / "book.xlsx").write_bytes(b"PK\x03\x04\xff\x00")
    without = msgspec.structs.replace(embedded, objects="")
    with indexing(embedded, tenant) as worker:
        report = await ingest(without, tenant, folder)
    assert [(skipped.id, skipped.reason) for skipped in report.skipped] == [("book.xlsx", "rejected")]
    assert "MILLRACE_OBJECTS" in report.skipped[0].message
    assert {change.document for change in worker.seen} == {"a.md", "guide/b.txt", "big.md"}
    assert report.failed


async def test_sync_deletes_what_is_gone_and_nothing_else(embedded: Connection, tenant: str, folder: Path) -> None:
    for n in range(10):
        (folder / f"{n}.md").write_text(f"page {n}")
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder)
        async with Millrace(embedded, tenant=tenant) as client:
            await client.wait(await client.put_document("elsewhere.md", "of another source"), 20)
        (folder / "0.md").unlink()
        (folder / ".millraceignore").write_text("1.md\n")
        kept = await ingest(embedded, tenant, folder)
        synced = await ingest(embedded, tenant, folder, sync=True)
        async with Millrace(embedded, tenant=tenant) as client:
            found = {name: (await client.document(name)).exists for name in ("0.md", "1.md", "2.md", "elsewhere.md")}
    assert (kept.n_deleted, synced.n_deleted, synced.counts()) == (0, 1, {"deleted": 1})
    assert found == {"0.md": False, "1.md": True, "2.md": True, "elsewhere.md": True}


class Returning(FolderSource):
    """A folder whose files all seem to be gone when it is asked, and are there when it is read."""

    async def lost(self, documents: Collection[str]) -> set[str]:
        return set(documents)


async def test_what_a_run_found_it_never_deletes(embedded: Connection, tenant: str, folder: Path) -> None:
    plan = Plan(paths=(), tenant=tenant, sync=True, confirmed=True, wait=True)
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, folder)
        (folder / "a.md").unlink()
        async with Millrace(embedded) as client:
            await Ingestion(client, plan, sources=[Returning(folder, Rules())]).run()
    assert [(change.document, change.op) for change in worker.seen[3:]] == [("a.md", "delete")]


async def test_sync_of_an_emptied_folder_needs_a_confirmation(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, folder)
        for file in ("a.md", "big.md"):
            (folder / file).unlink()
        (folder / "new.md").write_text("new")
        with pytest.raises(InputRejected, match=r"delete 2 of 3 documents .* --yes\. Nothing was sent"):
            await ingest(embedded, tenant, folder, sync=True)
        assert len(worker.seen) == 3
        confirmed = await ingest(embedded, tenant, folder, sync=True, confirmed=True)
    assert (confirmed.n_deleted, confirmed.n_sent) == (2, 1)


async def test_sync_takes_folders_only(embedded: Connection, tenant: str, folder: Path) -> None:
    with pytest.raises(InputRejected, match="folders, not files"):
        await ingest(embedded, tenant, folder / "a.md", sync=True)


async def test_another_sources_document_is_not_overwritten(
    embedded: Connection, tenant: str, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.md").write_text("not the same")
    with indexing(embedded, tenant):
        await ingest(embedded, tenant, folder)
        clash = await ingest(embedded, tenant, other)
        apart = await ingest(embedded, tenant, other, prefix="other")
        taken = await ingest(embedded, tenant, other, source="docs")
    assert [(skipped.id, skipped.reason) for skipped in clash.skipped] == [("a.md", "conflict")]
    assert [o.receipt.document for o in apart.outcomes] == ["other/a.md"]
    assert [(o.receipt.document, o.version) for o in taken.outcomes] == [("a.md", 2)]


async def test_it_sends_no_more_than_the_log_can_hold_until_workers_come(
    embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    docs = tmp_path / "many"
    docs.mkdir()
    for n in range(60):
        (docs / f"{n}.md").write_text(f"page {n} " * 20)
    waiting = asyncio.Event()
    report = Report()

    def progress(now: Report, waiting_for: str) -> None:
        nonlocal report
        report = now
        if "waiting for workers" in waiting_for:
            waiting.set()

    async with Millrace(embedded) as client:
        ingestion = Ingestion(client, Plan(paths=(docs,), tenant=tenant), progress, max_bytes=4000, patience_s=0.2)
        running = asyncio.create_task(ingestion.run())
        async with asyncio.timeout(20):
            await waiting.wait()
        sent = len(report.receipts)
        assert 0 < sent < 60
        assert not running.done()
        # What was sent before the workers came is still in the log; they start at its beginning.
        with indexing(embedded, tenant, start="beginning"):
            async with asyncio.timeout(30):
                found = await running
            assert {outcome.outcome for outcome in await client.wait(found.receipts, 20)} == {"indexed"}
    assert (found.n_sent, len({receipt.document for receipt in found.receipts})) == (60, 60)


async def test_a_run_that_was_broken_off_is_waited_for_by_the_next(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    sent = await ingest(embedded, tenant, folder, wait=False)
    looked = threading.Event()  # the worker begins only when all three were found without an outcome

    def late(change: SourceChanged) -> list[Event]:
        assert looked.wait(30)
        return [indexed(change)]

    def progress(report: Report, _: str) -> None:
        if report.n_unchanged == 3:
            looked.set()

    with indexing(embedded, tenant, late, start="beginning") as worker:
        async with Millrace(embedded) as client:
            waited = await Ingestion(client, Plan(paths=(folder,), tenant=tenant, wait=True), progress).run()
    assert (sent.n_sent, waited.n_sent, waited.n_unchanged, waited.counts()) == (3, 0, 3, {"indexed": 3})
    assert len(worker.seen) == 3


async def test_a_path_that_does_not_exist_sends_nothing(embedded: Connection, tenant: str, folder: Path) -> None:
    with pytest.raises(InputRejected, match="does not exist"):
        await ingest(embedded, tenant, folder, folder / "nowhere")
