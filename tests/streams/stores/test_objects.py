import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from millrace.errors import InputRejected, ObjectMissing, ObjectTampered, TooLarge, Unavailable
from streams.stores.objects import ContentStore


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "content")


def stored_file(folder: Path, ref: str) -> Path:
    digest = ref.removeprefix("sha256:")
    return folder / "content" / "objects" / digest[:2] / digest[2:4] / digest


@pytest.mark.parametrize("data", [b"", b"text", os.urandom(300_000)], ids=["empty", "text", "large"])
async def test_what_was_put_is_got_under_its_digest(store: ContentStore, data: bytes) -> None:
    ref = await store.put(data)
    assert ref == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert await store.get(ref) == data


def test_the_sync_client_sees_what_the_async_one_wrote(store: ContentStore, tmp_path: Path) -> None:
    ref = asyncio.run(store.put(b"one"))
    assert store.get_sync(ref) == b"one"
    assert ContentStore(tmp_path / "content").get_sync(store.put_sync(b"two")) == b"two"


async def test_putting_twice_is_putting_once(store: ContentStore, tmp_path: Path) -> None:
    refs = await asyncio.gather(*(store.put(b"same") for _ in range(8)))
    assert len(set(refs)) == 1
    file = stored_file(tmp_path, refs[0])
    before = file.stat().st_ino
    await store.put(b"same")
    assert file.stat().st_ino == before
    assert [path for path in (tmp_path / "content").rglob("*") if path.is_file()] == [file]


async def test_a_tampered_object_is_refused(store: ContentStore, tmp_path: Path) -> None:
    ref = await store.put(b"what the document says")
    stored_file(tmp_path, ref).write_bytes(b"what someone else says")
    with pytest.raises(ObjectTampered, match=ref):
        await store.get(ref)


async def test_a_damaged_object_is_repaired_by_putting_it_again(store: ContentStore, tmp_path: Path) -> None:
    ref = await store.put(b"content")
    stored_file(tmp_path, ref).write_bytes(b"")
    assert await store.put(b"content") == ref
    assert await store.get(ref) == b"content"


async def test_a_missing_object_is_named(store: ContentStore) -> None:
    ref = f"sha256:{'0' * 64}"
    with pytest.raises(ObjectMissing, match=ref):
        await store.get(ref)


async def test_a_deleted_object_is_gone_and_deleting_it_again_is_harmless(store: ContentStore) -> None:
    ref = await store.put(b"secret")
    await store.delete(ref)
    await store.delete(ref)
    with pytest.raises(ObjectMissing):
        await store.get(ref)


async def test_an_object_over_the_callers_limit_is_refused_before_it_is_read(store: ContentStore) -> None:
    ref = await store.put(b"x" * 101)
    with pytest.raises(TooLarge, match="101 bytes, at most 100"):
        await store.get(ref, max_bytes=100)
    assert len(await store.get(ref, max_bytes=101)) == 101


@pytest.mark.parametrize(
    "ref",
    ["", "sha256:", f"sha256:{'0' * 63}", f"sha256:{'A' * 64}", "sha256:../../etc/passwd", f"sha256:{'0' * 64}\n"],
)
async def test_what_is_no_reference_is_rejected(store: ContentStore, ref: str) -> None:
    for use in (store.get, store.delete):
        with pytest.raises(InputRejected, match="no object reference"):
            await use(ref)


async def test_an_object_is_flushed_to_disk_with_every_folder_above_it(
    store: ContentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush = os.fsync

    def spy(descriptor: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    file = stored_file(tmp_path, await store.put(b"durable"))
    assert flushed == [str(path) for path in (file, *list(file.parents)[:4])]
    assert flushed[-1] == str(tmp_path / "content")


async def test_a_folder_that_cannot_be_written_is_unavailable_not_missing(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "content" / "objects").write_bytes(b"a file where the folder should be")
    with pytest.raises(Unavailable, match="cannot write"):
        await store.put(b"data")


def test_a_bucket_works_like_a_folder() -> None:
    store = ContentStore("memory:///")
    assert isinstance(store._store, MemoryStore)
    ref = store.put_sync(b"data")
    assert store.get_sync(ref) == b"data"
    store.delete_sync(ref)
    with pytest.raises(ObjectMissing):
        store.get_sync(ref)


def test_names_of_objects_fan_out(store: ContentStore, tmp_path: Path) -> None:
    refs = [store.put_sync(str(i).encode()) for i in range(20)]
    assert all(stored_file(tmp_path, ref).is_file() for ref in refs)
