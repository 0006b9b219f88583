import asyncio
import logging
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millrace.errors import Unavailable
from millrace.rows import ChunkRow
from streams.stores import lance
from streams.stores.lance import LanceVectorStore, table_prefix
from streams.stores.lance_table import LanceTable, _dense_query
from tests.conditions import until
from tests.streams.stores.vector_store_contract import DIM, NASTY_TENANTS, VectorStoreContract, assert_same, chunk, ids


class Crash(BaseException):
    """What ends the process between two calls: nothing handles it."""


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Callable[..., LanceVectorStore]]:
    opened: list[LanceVectorStore] = []

    def open_one(**options: Any) -> LanceVectorStore:
        opened.append(LanceVectorStore(tmp_path / "vectors", dim=DIM, **options))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


class TestLanceVectorStore(VectorStoreContract):
    """The embedded adapter."""


async def maintain_until(store: LanceVectorStore, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await store.maintain("t")
            await asyncio.sleep(0.005)  # twice the time replaced versions are kept, and more


def files_in(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*") if path.is_file())


def test_table_names_are_safe_bounded_and_distinct() -> None:
    names = [table_prefix(tenant) for tenant in NASTY_TENANTS]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) < 80
        assert name.isascii()
        assert all(letter.islower() or letter.isdigit() or letter in "-_" for letter in name)


async def test_a_disk_without_room_is_an_outage_and_what_was_refused_comes_in_later(
    open_store: Callable[..., LanceVectorStore],
) -> None:
    store, rows = open_store(), [chunk(n) for n in range(20)]
    await store.upsert(rows[:1])
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, usual[1]))  # a write beyond fails, as on a full disk
    try:
        with pytest.raises(Unavailable, match=r"cannot grow.*stores\.vectors"):
            await store.upsert(rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert await store.count("t") == 1
    await store.upsert(rows)
    assert await store.existing("t", ids(rows)) == set(ids(rows))


async def test_a_crash_between_the_two_steps_of_a_move_leaves_the_row_in_both_tables(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    row = chunk(1)
    await store.upsert([row])

    async def crash(_self: LanceTable, _ids: Any) -> None:
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(LanceTable, "delete", crash)
        with pytest.raises(Crash):
            await store.archive("t", [row.chunk_id])
    again = open_store()
    assert (await again.count("t"), await again.count("t", archived=True)) == (1, 1)
    found = await again.candidates("t", vector=row.vector, text=row.text, k=5, archived=True)
    assert ids(found) == [row.chunk_id]
    await again.archive("t", [row.chunk_id])
    assert (await again.count("t"), await again.count("t", archived=True)) == (0, 1)


async def test_rows_fetched_before_come_from_memory(
    open_store: Callable[..., LanceVectorStore], tmp_path: Path
) -> None:
    store = open_store()
    rows = [chunk(i) for i in range(5)]
    await store.upsert(rows)
    await store.fetch("t", ids(rows))
    (tmp_path / "vectors").rename(tmp_path / "elsewhere")
    for found, written in zip(await store.fetch("t", ids(rows)), rows, strict=True):
        assert_same(found, written)
    (tmp_path / "elsewhere").rename(tmp_path / "vectors")


async def test_candidates_bring_the_rows_that_are_in_memory(open_store: Callable[..., LanceVectorStore]) -> None:
    store = open_store()
    rows = [chunk(i) for i in range(2)]
    await store.upsert(rows)
    await store.fetch("t", [rows[0].chunk_id])
    found = await store.candidates("t", vector=rows[0].vector, text="", k=5)
    assert {c.chunk_id: c.row is not None for c in found} == {rows[0].chunk_id: True, rows[1].chunk_id: False}
    store.forget("t", [rows[0].chunk_id])
    assert all(c.row is None for c in await store.candidates("t", vector=rows[0].vector, text="", k=5))


async def test_rows_in_memory_cannot_be_changed_by_who_gets_them(open_store: Callable[..., LanceVectorStore]) -> None:
    store = open_store()
    await store.upsert([chunk(1)])
    row = (await store.fetch("t", [chunk(1).chunk_id]))[0]
    for array in (row.vector, row.sentence_vectors):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


async def test_many_small_writes_leave_few_files(open_store: Callable[..., LanceVectorStore], tmp_path: Path) -> None:
    store = open_store(keep_versions_s=0.001)
    counts = []
    for i in range(400):
        await store.upsert([chunk(i, sentences=0)])
        if i % 100 == 99:
            await store.maintain("t", force=True)
            counts.append(files_in(tmp_path))
    assert await store.count("t") == 400
    assert max(counts) < 150
    assert counts[-1] <= 2 * counts[0]


async def test_maintenance_starts_by_itself_after_enough_writes(
    open_store: Callable[..., LanceVectorStore], tmp_path: Path
) -> None:
    maintained, untouched = open_store(keep_versions_s=0.001), tmp_path / "vectors"
    for i in range(3 * lance.MIN_TAIL_COMMITS):
        await maintained.upsert([chunk(i, sentences=0)])
    await maintained.close()
    # Each commit leaves three files, so without maintenance there would be more than 500.
    assert files_in(untouched) < 2 * 3 * lance.MIN_TAIL_COMMITS


async def test_maintenance_is_done_only_when_due(open_store: Callable[..., LanceVectorStore]) -> None:
    store = open_store()
    await store.upsert([chunk(1)])
    assert not await store.maintain("t")
    assert await store.maintain("t", force=True)
    assert not await store.maintain("t")


async def test_replaced_files_leave_the_disk_without_further_writes(
    open_store: Callable[..., LanceVectorStore], tmp_path: Path
) -> None:
    store = open_store(keep_versions_s=0.001)
    for i in range(30):
        await store.upsert([chunk(i, sentences=0)])
    await store.maintain("t", force=True)
    await maintain_until(store, lambda: files_in(tmp_path) < 30)


@pytest.mark.parametrize("archived", [False, True])
async def test_texts_and_vectors_of_deleted_rows_leave_the_disk_without_further_writes(
    open_store: Callable[..., LanceVectorStore], tmp_path: Path, archived: bool
) -> None:
    def left() -> list[Path]:
        marks = (b"xylophonesecret", secret.vector.tobytes())
        return [p for p in tmp_path.rglob("*") if p.is_file() and any(mark in p.read_bytes() for mark in marks)]

    writer = open_store(keep_versions_s=0.001)
    rows, secret = [chunk(i, sentences=0) for i in range(300)], chunk(777, text="xylophonesecret and more")
    await writer.upsert([*rows, secret])
    if archived:
        await writer.archive("t", ids([*rows, secret]))
    await writer.maintain("t", force=True)
    await writer.delete("t", [secret.chunk_id])
    await writer.close()
    assert left()
    store = open_store(keep_versions_s=0.001)  # another process does the rest
    await maintain_until(store, lambda: not left())
    assert sorted([c.chunk_id async for c in store.scan("t", archived=True)]) == sorted(ids(rows))


async def test_during_maintenance_new_rows_are_written_and_moves_and_deletes_wait(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    compacting, release = asyncio.Event(), asyncio.Event()

    async def hold(_self: LanceTable, **_options: Any) -> None:
        compacting.set()
        await release.wait()

    monkeypatch.setattr(LanceTable, "compact", hold)
    store = open_store()
    rows = [chunk(i) for i in range(4)]
    await store.upsert(rows)
    maintenance = asyncio.create_task(store.maintain("t", force=True))
    await asyncio.wait_for(compacting.wait(), timeout=20)
    waiting = [
        asyncio.create_task(store.archive("t", [rows[0].chunk_id])),
        asyncio.create_task(store.delete("t", [rows[1].chunk_id])),
    ]
    for i in range(10, 15):
        await asyncio.wait_for(store.upsert([chunk(i)]), timeout=20)
    assert not any(task.done() for task in waiting)
    assert await store.count("t") == 9
    release.set()
    await asyncio.gather(maintenance, *waiting)
    assert (await store.count("t"), await store.count("t", archived=True)) == (7, 1)


async def test_moves_that_wait_for_the_tables_are_made_together(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    inserted: list[int] = []
    insert = LanceTable.insert

    async def counting(table: LanceTable, rows: Sequence[ChunkRow]) -> int:
        inserted.append(len(rows))
        return await insert(table, rows)

    store = open_store()
    rows = [chunk(i) for i in range(5)]
    await store.upsert(rows)
    monkeypatch.setattr(LanceTable, "insert", counting)
    pair = await store._tenant("t")
    async with pair.files:
        moves = [asyncio.create_task(store.archive("t", [row.chunk_id])) for row in rows]
        await until(lambda: sum(len(ids) for ids, _ in pair.moves.values()) == len(rows))
        moves[0].cancel()  # who gives up takes nothing from the others
        await asyncio.wait(moves[:1])
    await asyncio.gather(*moves[1:])
    assert inserted == [5]
    assert (await store.count("t"), await store.count("t", archived=True)) == (0, 5)
    await store.restore("t", [rows[0].chunk_id])
    assert (await store.count("t"), await store.count("t", archived=True)) == (1, 4)


async def test_closing_waits_for_a_move_that_its_asker_gave_up(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()
    delete = LanceTable.delete

    async def hold(table: LanceTable, chunk_ids: Sequence[str]) -> None:
        begun.set()
        await release.wait()
        await delete(table, chunk_ids)

    store = open_store()
    row = chunk(1)
    await store.upsert([row])
    monkeypatch.setattr(LanceTable, "delete", hold)
    move = asyncio.create_task(store.archive("t", [row.chunk_id]))
    await asyncio.wait_for(begun.wait(), 20)
    move.cancel()
    await asyncio.wait([move])
    closing = asyncio.create_task(store.close())
    release.set()
    await closing
    again = open_store()
    assert (await again.count("t"), await again.count("t", archived=True)) == (0, 1)


async def test_failed_maintenance_is_logged_and_writes_go_on(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_self: LanceTable, **_options: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(LanceTable, "compact", fail)
    store = open_store()
    with caplog.at_level(logging.ERROR):
        await store.upsert([chunk(i, sentences=0) for i in range(lance.MIN_TAIL_ROWS)])
        await store.close()
    assert "no space left" in caplog.text
    await store.upsert([chunk(9_999)])
    assert await store.count("t") == lance.MIN_TAIL_ROWS + 1


async def test_a_large_tenant_gets_an_approximate_index_that_exact_search_goes_around(
    open_store: Callable[..., LanceVectorStore],
) -> None:
    store = open_store(ann_rows=1_000)
    rows = [chunk(i, sentences=0) for i in range(2_000)]
    await store.upsert(rows)
    await store.maintain("t", force=True)
    table = (await store._tenant("t")).live._table
    assert table is not None
    assert "ANN" in await _dense_query(table, rows[0].vector, 5, None, exact=False).explain_plan()
    assert "ANN" not in await _dense_query(table, rows[0].vector, 5, None, exact=True).explain_plan()
    late = chunk(5_000, sentences=0)
    await store.upsert([late])
    matrix = np.stack([row.vector for row in (*rows, late)])
    every = [*rows, late]
    for query in (rows[7].vector, late.vector):
        best = {every[i].chunk_id for i in np.argsort(-matrix @ query)[:20]}
        exact = ids(await store.candidates("t", vector=query, text="", k=20, exact=True))
        near = ids(await store.candidates("t", vector=query, text="", k=20))
        assert set(exact) == best
        assert len(best & set(near)) >= 16


async def test_indexes_that_a_crash_left_out_are_made_at_the_next_write(
    open_store: Callable[..., LanceVectorStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_self: LanceTable, _table: Any) -> None:
        raise Crash

    with monkeypatch.context() as broken:
        broken.setattr(LanceTable, "_create_indexes", crash)
        with pytest.raises(Crash):
            await open_store().upsert([chunk(1)])
    store = open_store()
    await store.upsert([chunk(1)])
    names = {index.name for index in await (await store._tenant("t")).live._table.list_indices()}  # type: ignore[union-attr]
    assert names == {"chunk_id_idx", "document_idx", "text_idx"}


WRITER = """
import asyncio, sys
from pathlib import Path
sys.path[:0] = {path!r}
from streams.stores.lance import LanceVectorStore
from tests.streams.stores.vector_store_contract import DIM, chunk
async def main():
    store = LanceVectorStore(Path({folder!r}), dim=DIM, keep_versions_s=5)
    for i in range(0, 100, 5):
        await store.upsert([chunk(i + j, sentences=0) for j in range(5)])
        if i % 25 == 0:
            await store.maintain("t", force=True)
    await store.close()
asyncio.run(main())
"""


async def test_processes_that_write_the_same_rows_leave_each_once_while_another_reads(
    open_store: Callable[..., LanceVectorStore], tmp_path: Path
) -> None:
    program = WRITER.format(path=[str(Path(__file__).parents[3])], folder=str(tmp_path / "vectors"))
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=subprocess.PIPE) for _ in range(2)
    ]
    reader, seen = open_store(), 0
    waiting = asyncio.gather(*(writer.communicate() for writer in writers))
    while not waiting.done():
        found = len(await reader.candidates("t", vector=chunk(1).vector, text="number1", k=200))
        assert found >= seen
        seen = found
        await asyncio.wait([waiting], timeout=0.05)
    assert [writer.returncode for writer in writers] == [0, 0], await waiting
    rows = [c.chunk_id async for c in reader.scan("t")]
    assert len(rows) == len(set(rows)) == 100
