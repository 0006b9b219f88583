"""Laws about object stores as a source, on a folder and in memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import MemoryStore, ObjectStore

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, Unavailable
from millrace.ingest.buckets import BucketSource, open_store
from millrace.ingest.memory import Memory
from millrace.ingest.opening import Plan
from millrace.ingest.run import Ingestion, Report
from millrace.ingest.source import Document
from millrace.ingest.walk import Rules
from tests.millrace.workers import indexing

OBJECTS = {
    "a.md": b"# A",
    "guide/b.txt": b"Beta",
    "guide/c.pdf": b"%PDF-\xff",
    "d.md": b"D",
    "e.md": b"E",
    "f.md": b"F",
}


@pytest.fixture
async def store() -> MemoryStore:
    found = MemoryStore()
    for key, content in OBJECTS.items():
        await obstore.put_async(found, key, content)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "bucket"
    for key, content in OBJECTS.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def source(store: ObjectStore, memory: Path | None = None, **rules: Any) -> BucketSource:
    return BucketSource(store, Memory(memory, "t", "bucket"), name="bucket", rules=Rules(**rules), prefix="kb")


async def ingest(connection: Connection, tenant: str, found: BucketSource | str, **plan: Any) -> Report:
    made = Plan(paths=(found,) if isinstance(found, str) else (), tenant=tenant, wait=True, **plan)
    async with Millrace(connection) as client:
        return await Ingestion(client, made, sources=None if isinstance(found, str) else [found]).run()


async def states(found: BucketSource, digests: dict[str, str]) -> dict[str, str]:
    return {d.id: d.state async for d in found.documents(lambda name: digests.get(name, ""))}


async def test_objects_become_documents_by_their_key_and_a_second_run_sends_nothing(
    embedded: Connection, tenant: str, store: MemoryStore, tmp_path: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        first = await ingest(embedded, tenant, source(store, tmp_path))
        second = await ingest(embedded, tenant, source(store, tmp_path))
    assert (first.n_sent, second.n_sent, second.n_unchanged) == (6, 0, 6)
    assert sorted(c.document for c in worker.seen) == sorted(f"kb/{key}" for key in OBJECTS)
    assert {c.document: c.media_type for c in worker.seen}["kb/guide/c.pdf"] == "application/pdf"
    assert {c.source for c in worker.seen} == {"bucket"}


async def test_an_object_is_read_again_only_if_its_etag_changed_or_the_log_holds_something_else(
    store: MemoryStore, tmp_path: Path
) -> None:
    found = source(store, tmp_path)
    documents: list[Document] = [d async for d in found.documents(lambda _: "")]
    await found.commit()
    digests = {name: seen.sha256 for name, seen in Memory(tmp_path, "t", "bucket").seen.items()}
    assert set(digests) == {document.id for document in documents}
    await obstore.put_async(store, "a.md", b"# A")  # written again: another ETag
    await obstore.put_async(store, "d.md", b"other")
    again = await states(source(store, tmp_path), digests | {"kb/e.md": "of another content"})
    assert {name for name, state in again.items() if state == "present"} == {"kb/a.md", "kb/d.md", "kb/e.md"}


async def test_with_sync_documents_of_objects_that_are_gone_are_deleted(
    embedded: Connection, tenant: str, store: MemoryStore, tmp_path: Path
) -> None:
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, source(store, tmp_path))
        await obstore.delete_async(store, "a.md")
        kept = await ingest(embedded, tenant, source(store, tmp_path))
        synced = await ingest(embedded, tenant, source(store, tmp_path), sync=True)
    assert (kept.n_deleted, synced.n_deleted) == (0, 1)
    assert [c.document for c in worker.seen if c.op == "delete"] == ["kb/a.md"]


async def test_what_cannot_be_taken_is_reported_or_left_alone(store: MemoryStore) -> None:
    for key, content in {"bad.txt": b"\xff\xfe", "big.md": b"x" * 100, ".git/x.md": b"x", "image.png": b"x"}.items():
        await obstore.put_async(store, key, content)
    found = source(store, max_bytes=50, exclude=("guide/", "d.md"))
    assert set(await states(found, {})) == {"kb/a.md", "kb/e.md", "kb/f.md"}
    assert found.passed_over == {".png": 1}
    assert [(s.id, s.reason) for s in found.skipped] == [("kb/bad.txt", "undecodable"), ("kb/big.md", "too_large")]


async def test_a_folder_by_its_url_is_read_without_links_that_lead_out(
    embedded: Connection, tenant: str, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.md").write_text("outside")
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    with indexing(embedded, tenant) as worker:
        first = await ingest(embedded, tenant, f"file://{folder}", memory=tmp_path / "memory")
        (folder / "d.md").write_text("edited")
        os.utime(folder / "a.md")
        second = await ingest(embedded, tenant, f"file://{folder}", memory=tmp_path / "memory")
    assert [(s.id, s.reason) for s in first.skipped] == [("link.md", "outside")]
    assert (first.n_sent, second.n_sent, second.n_unchanged) == (6, 1, 5)
    assert {c.source for c in worker.seen} == {"bucket"}


async def test_one_bad_name_does_not_end_the_listing_of_a_folder(folder: Path) -> None:
    (folder / "self.md").symlink_to("self.md")
    (folder / "line\nbreak.md").write_text("x")
    (folder / "guide" / "up").symlink_to(folder)
    (folder / "x.json").write_text("{}")
    (folder / ".millraceignore").write_text("a.md")
    found = source(open_store(f"file://{folder}"))
    assert set(await states(found, {})) == {f"kb/{key}" for key in OBJECTS}
    assert {(s.id, s.reason) for s in found.skipped} == {
        ("kb/self.md", "unreadable"),
        ("kb/line\nbreak.md", "unreadable"),
    }
    assert found.passed_over == {".json": 1}
    (folder / "d.md").unlink()
    assert await found.lost({"kb/d.md", "kb/e.md", "kb/self.md", "other/d.md"}) == {"kb/d.md"}


def test_a_url_that_names_no_store_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputRejected, match="credentials"):
        open_store("s3://")


async def test_a_store_that_does_not_answer_is_unavailable_and_deletes_nothing(
    embedded: Connection, tenant: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with indexing(embedded, tenant) as worker:
        await ingest(embedded, tenant, f"file://{folder}", source="kb")
        with pytest.raises(Unavailable, match="cannot be listed"):
            await ingest(embedded, tenant, "s3://bucket/kb", source="kb", sync=True, confirmed=True)
    assert {c.op for c in worker.seen} == {"upsert"}
