import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.embedding_cache import EmbeddingCache
from millrace.errors import Unavailable


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[EmbeddingCache]:
    cache = EmbeddingCache(tmp_path / "folder" / "embeddings.sqlite")
    yield cache
    cache.close()


async def test_what_was_put_is_got_and_nothing_else(cache: EmbeddingCache) -> None:
    await cache.put_many("t", "m", {"aa": b"\x00\x01", "bb": b""})
    assert await cache.get_many("t", "m", ["bb", "cc", "aa", "aa"]) == {"aa": b"\x00\x01", "bb": b""}
    assert await cache.get_many("t", "m", []) == {}
    await cache.put_many("t", "m", {})


async def test_tenants_and_models_are_apart(cache: EmbeddingCache) -> None:
    await cache.put_many("t", "m", {"aa": b"1"})
    assert await cache.get_many("u", "m", ["aa"]) == {}
    assert await cache.get_many("t", "n", ["aa"]) == {}


async def test_a_known_value_is_left_as_it_is(cache: EmbeddingCache) -> None:
    await cache.put_many("t", "m", {"aa": b"first"})
    await cache.put_many("t", "m", {"aa": b"second", "bb": b"new"})
    assert await cache.get_many("t", "m", ["aa", "bb"]) == {"aa": b"first", "bb": b"new"}


async def test_thousands_of_hashes_in_one_call(cache: EmbeddingCache) -> None:
    values = {f"{i:064x}": str(i).encode() for i in range(3_000)}
    await cache.put_many("t", "m", values)
    assert await cache.get_many("t", "m", list(values)) == values


async def test_it_survives_being_closed(tmp_path: Path) -> None:
    for expected in ({}, {"aa": b"1"}):
        cache = EmbeddingCache(tmp_path / "c.sqlite")
        assert await cache.get_many("t", "m", ["aa"]) == expected
        await cache.put_many("t", "m", {"aa": b"1"})
        cache.close()


async def test_the_oldest_go_when_it_is_full(tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "c.sqlite", max_bytes=2 * 2**20)
    for start in range(0, 2_000, 100):
        await cache.put_many("t", "m", {f"{i:064x}": bytes(4_000) for i in range(start, start + 100)})
    kept = sorted(int(key, 16) for key in await cache.get_many("t", "m", [f"{i:064x}" for i in range(2_000)]))
    assert kept == list(range(kept[0], 2_000))
    assert 200 <= len(kept) <= 600
    cache.close()
    assert (tmp_path / "c.sqlite").stat().st_size < 3 * 2**20


async def test_a_disk_without_room_is_an_outage_and_no_fault_of_a_text(cache: EmbeddingCache) -> None:
    def limit(pages: int) -> None:
        cache._connection.execute(f"PRAGMA max_page_count = {pages}")

    cache._thread.submit(limit, 1).result()
    with pytest.raises(Unavailable, match=r"disk is full.*stores\.state"):
        await cache.put_many("t", "m", {"aa": bytes(100_000)})
    cache._thread.submit(limit, 1_000_000).result()
    await cache.put_many("t", "m", {"aa": b"1"})
    assert await cache.get_many("t", "m", ["aa"]) == {"aa": b"1"}


async def test_erased_bytes_are_not_left_in_the_files(cache: EmbeddingCache, tmp_path: Path) -> None:
    secret, other = b"a secret that must go" * 50, b"something to keep" * 50
    await cache.put_many("t", "m", {"aa": secret})
    await cache.put_many("t", "n", {"aa": secret})
    await cache.put_many("u", "m", {"aa": other, "bb": other})
    await cache.delete_tenant("t")
    assert await cache.get_many("t", "n", ["aa"]) == {}
    assert await cache.get_many("u", "m", ["aa"]) == {"aa": other}
    await cache.delete_tenant("u")
    assert await cache.get_many("u", "m", ["aa", "bb"]) == {}
    left = b"".join(path.read_bytes() for path in (tmp_path / "folder").iterdir())
    assert b"a secret" not in left
    assert b"something to keep" not in left


async def test_a_damaged_file_is_started_anew(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is no database, but it is long enough to be mistaken for one" * 100)
    cache = EmbeddingCache(path)
    await cache.put_many("t", "m", {"aa": b"1"})
    assert await cache.get_many("t", "m", ["aa"]) == {"aa": b"1"}
    cache.close()


async def test_two_processes_may_share_the_file(tmp_path: Path) -> None:
    caches = [EmbeddingCache(tmp_path / "c.sqlite") for _ in range(3)]
    await asyncio.gather(
        *(cache.put_many("t", "m", {f"{i}-{n}": b"x" for i in range(50)}) for n, cache in enumerate(caches))
    )
    for cache in caches:
        assert len(await cache.get_many("t", "m", [f"{i}-{n}" for i in range(50) for n in range(3)])) == 150
        cache.close()


async def test_a_failed_write_leaves_nothing_behind(cache: EmbeddingCache) -> None:
    with pytest.raises(sqlite3.Error):
        await cache.put_many("t", "m", {"aa": b"1", "bb": object()})  # type: ignore[dict-item]
    assert await cache.get_many("t", "m", ["aa"]) == {}
    await cache.put_many("t", "m", {"aa": b"2"})
    assert await cache.get_many("t", "m", ["aa"]) == {"aa": b"2"}
