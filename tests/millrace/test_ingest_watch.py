"""Laws about watching: what happens when files are edited, moved, touched, or written while they are read."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, MillraceError
from millrace.event import Event
from millrace.events.corpus import SourceChanged
from millrace.ingest.folder import FolderSource
from millrace.ingest.opening import Plan
from millrace.ingest.run import Report
from millrace.ingest.source import Document
from millrace.ingest.walk import Rules
from millrace.ingest.watch import Watch
from tests.conditions import until
from tests.millrace.workers import ScriptedWorker, indexed, indexing, settled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    (docs / "guide").mkdir(parents=True)
    for n in range(8):
        (docs / f"{n}.md").write_text(f"page {n}")
    (docs / "guide" / "b.txt").write_text("Beta.\n")
    return docs


class Watching:
    """A watch in the background, and what it did so far."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.errors: list[MillraceError] = []
        self._changed = asyncio.Event()

    def told(self, report: Report) -> None:
        self.reports.append(report)
        self._changed.set()

    def failed(self, error: MillraceError) -> None:
        self.errors.append(error)
        self._changed.set()

    def ended(self, _: asyncio.Task[None]) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def rounds(self, n: int) -> None:
        """Until so many more rounds have ended, one of which began after this call."""
        wanted = len(self.reports) + n
        await self.until(lambda: len(self.reports) >= wanted)

    @property
    def sent(self) -> list[tuple[str, str]]:
        return [(o.receipt.document, o.outcome) for report in self.reports for o in report.outcomes]


@contextlib.asynccontextmanager
async def watching(
    connection: Connection,
    tenant: str,
    folder: Path,
    *,
    n: int = 9,
    quiet_s: float = 0.3,
    every_s: float = 0.5,
    **plan: Any,
) -> AsyncIterator[Watching]:
    found = Watching()
    made = Plan(paths=(folder,), tenant=tenant, wait=True, goes_on=True, quiet_s=quiet_s, **plan)
    async with Millrace(connection) as client:
        task = asyncio.create_task(Watch(client, made, found.told, found.failed, every_s=every_s).run())
        task.add_done_callback(found.ended)
        try:
            await found.until(lambda: task.done() or len(found.sent) == n)
            yield found
        finally:
            if not task.done():
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def exists(connection: Connection, tenant: str, *documents: str) -> list[bool]:
    async with Millrace(connection, tenant=tenant) as client:
        return [(await client.document(document)).exists for document in documents]


def versions(worker: ScriptedWorker, document: str) -> list[tuple[int, str]]:
    return [(change.version, change.op) for change in worker.seen if change.document == document]


async def test_an_edit_is_sent_when_it_happens_and_not_at_the_next_look(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, every_s=3600) as watch:
            (folder / "0.md").write_text("edited")
            (folder / "new").mkdir()
            (folder / "new" / "c.md").write_text("a file of a folder that was not there")
            await watch.until(lambda: {("0.md", "indexed"), ("new/c.md", "indexed")} <= set(watch.sent[9:]))
    assert versions(worker, "0.md") == [(1, "upsert"), (2, "upsert")]
    assert versions(worker, "new/c.md") == [(1, "upsert")]


async def test_a_touched_file_is_not_sent_again(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder) as watch:
            for n in range(8):
                (folder / f"{n}.md").touch()
            (folder / "1.md").write_text("page 1")
            await watch.rounds(4)
    assert len(worker.seen) == 9


async def test_a_rejected_file_is_not_sent_in_every_round(embedded: Connection, tenant: str, folder: Path) -> None:
    def rejects(change: SourceChanged) -> list[Event]:
        return [settled(change, "rejected", "broken") if change.document == "0.md" else indexed(change)]

    with indexing(embedded, tenant, rejects) as worker:
        async with watching(embedded, tenant, folder) as watch:
            (folder / "1.md").write_text("edited")
            await watch.until(lambda: ("1.md", "indexed") in watch.sent[9:])
            await watch.rounds(2)
            assert [outcome.receipt.document for outcome in watch.reports[-1].still_rejected] == ["0.md"]
        async with watching(embedded, tenant, folder, n=1, retry=True) as watch:
            await watch.rounds(3)
    assert versions(worker, "0.md") == [(1, "upsert"), (2, "upsert")]


async def test_with_sync_a_renamed_file_is_a_new_document_and_its_old_one_goes(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True) as watch:
            (folder / "0.md").rename(folder / "guide" / "moved.md")
            await watch.until(lambda: ("0.md", "deleted") in watch.sent)
    assert [(c.document, c.op) for c in worker.seen[9:]] == [("guide/moved.md", "upsert"), ("0.md", "delete")]


async def test_without_sync_the_document_of_a_renamed_file_stays(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder) as watch:
            (folder / "0.md").rename(folder / "Zero.MD")
            await watch.until(lambda: ("Zero.MD", "indexed") in watch.sent)
            await watch.rounds(3)
    assert [(c.document, c.op) for c in worker.seen[9:]] == [("Zero.MD", "upsert")]
    assert await exists(embedded, tenant, "0.md") == [True]


async def test_another_case_is_another_document(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True) as watch:
            (folder / "guide" / "b.txt").rename(folder / "guide" / "B.txt")
            await watch.until(lambda: ("guide/b.txt", "deleted") in watch.sent)
    assert [(c.document, c.op) for c in worker.seen[9:]] == [("guide/B.txt", "upsert"), ("guide/b.txt", "delete")]


async def test_a_moved_folder_is_moved_file_by_file(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True) as watch:
            (folder / "guide").rename(folder / "handbook")
            await watch.until(lambda: ("guide/b.txt", "deleted") in watch.sent)
    assert [c.document for c in worker.seen[9:]] == ["handbook/b.txt", "guide/b.txt"]


async def test_a_file_that_is_replaced_is_never_deleted(embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True, quiet_s=2.0, every_s=0.2) as watch:
            (folder / "0.md").rename(folder / "0.md~")  # as some editors do: the name is free for a moment
            await watch.rounds(2)
            (folder / "0.md").write_text("saved anew")
            await watch.until(lambda: watch.sent[9:] == [("0.md", "indexed")])
    assert versions(worker, "0.md") == [(1, "upsert"), (2, "upsert")]


async def test_an_emptied_folder_deletes_nothing_until_it_is_confirmed_and_edits_go_on(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True) as watch:
            for n in range(1, 8):
                (folder / f"{n}.md").unlink()
            (folder / "0.md").write_text("edited")
            await watch.until(lambda: any(s.reason == "unconfirmed" for s in watch.reports[-1].skipped))
            await watch.until(lambda: ("0.md", "indexed") in watch.sent[9:])
        assert {change.op for change in worker.seen} == {"upsert"}
        async with watching(embedded, tenant, folder, n=7, sync=True, confirmed=True):
            pass
        assert {c.document for c in worker.seen if c.op == "delete"} == {f"{n}.md" for n in range(1, 8)}


async def test_a_folder_that_vanishes_is_no_reason_to_delete_or_to_end(
    embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        async with watching(embedded, tenant, folder, sync=True, confirmed=True) as watch:
            elsewhere = shutil.move(folder, folder.parent / "unmounted")
            await watch.until(lambda: len(watch.errors) > 1)
            shutil.move(elsewhere, folder)
            (folder / "0.md").write_text("edited")
            await watch.until(lambda: ("0.md", "indexed") in watch.sent[9:])
    assert {change.op for change in worker.seen} == {"upsert"}


async def test_a_folder_that_never_was_ends_the_watch(embedded: Connection, tenant: str, folder: Path) -> None:
    with pytest.raises(InputRejected, match="does not exist"):
        async with watching(embedded, tenant, folder / "nowhere"):
            pass


async def read(source: FolderSource, digests: dict[str, str]) -> dict[str, Document]:
    return {d.id: d async for d in source.documents(lambda name: digests.get(name, ""))}


async def test_a_file_that_is_being_written_is_put_off_until_it_rests(folder: Path) -> None:
    source = FolderSource(folder, Rules(), quiet_s=60, patience_s=3600)
    for name in os.listdir(folder):  # noqa: PTH208 - names alone
        os.utime(folder / name, (1_700_000_000, 1_700_000_000))
    (folder / "1.md").write_text("page 1, growing")
    found = await read(source, {})
    assert "1.md" not in found
    assert "0.md" in found
    assert source.put_off == {"1.md", "guide/b.txt"}
    assert source.is_restless
    os.utime(folder / "1.md", (1_700_000_000, 1_700_000_000))
    assert (await read(source, {}))["1.md"].content == b"page 1, growing"


async def test_a_file_that_never_rests_is_taken_in_the_end(folder: Path) -> None:
    (folder / "1.md").write_text("page 1, growing")
    source = FolderSource(folder, Rules(), quiet_s=3600, patience_s=0)
    assert (await read(source, {}))["1.md"].content == b"page 1, growing"


async def test_a_time_of_the_future_puts_nothing_off(folder: Path) -> None:
    os.utime(folder / "1.md", (4_000_000_000, 4_000_000_000))
    source = FolderSource(folder, Rules(), quiet_s=3600, patience_s=3600)
    assert "1.md" in await read(source, {})


async def test_a_file_that_grows_while_it_is_read_is_not_sent_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    log = docs / "log.txt"
    log.write_bytes(b"line\n")

    class Growing(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            with log.open("ab") as writer:
                writer.write(b"line\n")
            return super().read(size) or b""

    source = FolderSource(docs, Rules())
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", Growing)
        found = await read(source, {})
    assert not found
    assert [(skipped.id, skipped.reason) for skipped in source.skipped] == [("log.txt", "changing")]
    assert (await read(source, {}))["log.txt"].content == b"line\n" * 4


async def test_a_file_that_was_not_touched_is_not_read_again(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text("one")
    source = FolderSource(docs, Rules())
    digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"

    async def state() -> str:
        return (await read(source, {"a.md": digest}))["a.md"].state

    def age_ns() -> int:
        return time.time_ns() - (docs / "a.md").stat().st_ctime_ns

    # A file written within a time stamp's width may have been written twice, so it is read until it is older.
    assert [await state(), await state(), age_ns() < 2_000_000_000] == ["present", "present", True]
    await until(lambda: age_ns() > 2_000_000_000)
    assert [await state(), await state()] == ["present", "unchanged"]
    (docs / "a.md").write_text("two")  # the same size
    assert await state() == "present"
    assert (await read(source, {}))["a.md"].content == b"two"
