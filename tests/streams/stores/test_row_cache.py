"""Rows that stay in memory."""

from collections.abc import Sequence
from functools import partial

from millrace.rows import ChunkRow
from streams.stores.row_cache import RowCache
from tests.streams.stores.vector_store_contract import chunk


async def test_the_row_cache_reads_only_what_it_has_not_and_asks_the_next_table_for_the_rest() -> None:
    kept, live, archived = (chunk(i) for i in range(3))
    asked: list[tuple[str, list[str]]] = []

    async def table(name: str, rows: list[ChunkRow], ids: Sequence[str]) -> list[ChunkRow]:
        asked.append((name, list(ids)))
        return rows

    cache = RowCache(2**20)
    cache.put([kept])
    wanted = [each.chunk_id for each in (archived, kept, live, archived)]
    tables = [partial(table, "live", [live]), partial(table, "archive", [archived])]
    assert await cache.fetch("t", [*wanted, "unknown"], tables) == [archived, kept, live, archived]
    assert asked == [
        ("live", [archived.chunk_id, live.chunk_id, "unknown"]),
        ("archive", [archived.chunk_id, "unknown"]),
    ]
    assert await cache.fetch("t", wanted, tables) == [archived, kept, live, archived]
    assert len(asked) == 2
    assert await cache.fetch("other", wanted[:1], [partial(table, "live", [])]) == []


def test_the_row_cache_drops_the_least_recently_used_rows_first() -> None:
    rows: list[ChunkRow] = [chunk(i) for i in range(4)]
    cache = RowCache(3 * max(row.nbytes for row in rows))
    cache.put(rows[:3])
    cache.get("t", rows[0].chunk_id)
    cache.put(rows[3:])
    assert [cache.get("t", row.chunk_id) is not None for row in rows] == [True, False, True, True]
    assert cache.nbytes == sum(rows[i].nbytes for i in (0, 2, 3))
    cache.drop_tenant("t")
    assert (len(cache), cache.nbytes) == (0, 0)
