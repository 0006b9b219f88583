"""What every vector store must do, as one suite: an adapter's tests inherit it and give it a factory."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pytest

from millrace.rows import ChunkRow

DIM = 16
Factory = Callable[[], Any]
NASTY_TENANTS = (
    "a",
    "A",
    "a/b",
    "a%2Fb",
    "a_b",
    "a-b",
    "..",
    ".",
    "ä",
    "a\u0308",
    "東京",
    "a b",
    "'",
    "x" * 5_000,
    "x" * 5_001,
)
NASTY_QUERIES = (
    "",
    "   ",
    "the of and",
    '"unclosed',
    "(a OR b) AND NOT c",
    "text:foo^2 +bar -baz ~ *:* ?",
    "'; DROP TABLE chunks; --",
    "\x00\x01",
    "\ud800",
    "日本語 emoji \U0001f600",
    "a" * 10_000,
    "word " * 2_000,
    " ".join(f"w{i}" for i in range(2_000)),
)

# What tokenizers and stop words would make equal, empty or nothing.
NASTY_DOCUMENTS = (
    "a",
    "A",
    " a",
    "a ",
    "a\u00a0",
    "the",
    "of and",
    "",
    " ",
    "-",
    "a-b",
    "a b",
    "a/b",
    "*",
    "?",
    "it's",
    "\u00e4",
    "a\u0308",
    "東京",
    "d" * 10_000,
    "d" * 70_000,
)


class Opened(Protocol):
    """Opens one more store over the same data, as another process would."""

    def __call__(self) -> Any: ...


def unit(seed: int, dim: int = DIM) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def chunk(
    seed: int, *, tenant: str = "t", document: str = "d", text: str | None = None, sentences: int = 2
) -> ChunkRow:
    return ChunkRow(
        tenant=tenant,
        document=document,
        chunk_id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tenant}/{document}/{seed}")),
        content_hash=f"{seed:064x}",
        text=text if text is not None else f"chunk number{seed} speaks of topic{seed % 7}",
        vector=unit(seed),
        sentences=tuple((i, i + 1) for i in range(sentences)),
        sentence_vectors=np.stack([unit(seed * 100 + i) for i in range(sentences)]).astype(np.float16)
        if sentences
        else np.zeros((0, DIM), dtype=np.float16),
    )


def ids(rows: Sequence[Any]) -> list[str]:
    return [row.chunk_id for row in rows]


def assert_same(found: ChunkRow, written: ChunkRow) -> None:
    for field in ("tenant", "document", "chunk_id", "content_hash", "text", "sentences"):
        assert getattr(found, field) == getattr(written, field)
    np.testing.assert_array_equal(found.vector, written.vector)
    np.testing.assert_array_equal(found.sentence_vectors, written.sentence_vectors)
    assert (found.vector.dtype.name, found.sentence_vectors.dtype.name) == ("float32", "float16")


class VectorStoreContract:
    """Inherit it, and provide the fixture ``open_store``: a function that opens a store over the test's own data.

    Stores opened by it are closed by the fixture. Vectors have `DIM` numbers.
    """

    async def search(self, store: Any, row: ChunkRow, **options: Any) -> list[str]:
        options = {"vector": row.vector, "text": row.text, "k": 5} | options
        return ids(await store.candidates(row.tenant, **options))

    # --- writing and reading rows

    async def test_a_row_comes_back_as_it_was_written(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(1), chunk(2, sentences=0, text='it\'s "quoted"\n\u0000 東京'), chunk(3, document="d'o/../c%")]
        await store.upsert(rows)
        for found, written in zip(await store.fetch("t", ids(rows)), rows, strict=True):
            assert_same(found, written)

    async def test_writing_a_row_again_changes_nothing(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i) for i in range(5)]
        await store.upsert(rows)
        await store.upsert([*rows, *rows, chunk(9)])
        assert await store.count("t") == 6
        assert sorted([c.chunk_id async for c in store.scan("t")]) == sorted(ids([*rows, chunk(9)]))

    async def test_rows_come_in_the_order_asked_for_and_missing_ones_are_left_out(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i) for i in range(10)]
        await store.upsert(rows)
        wanted = [rows[i].chunk_id for i in (7, 0, 3)]
        assert ids(await store.fetch("t", [wanted[0], str(uuid.UUID(int=0)), *wanted[1:]])) == wanted
        assert await store.fetch("t", []) == []

    async def test_existing_names_live_and_archived_rows_and_no_others(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i) for i in range(3)]
        await store.upsert(rows)
        await store.archive("t", [rows[0].chunk_id])
        assert await store.existing("t", [*ids(rows), str(uuid.UUID(int=0))]) == set(ids(rows))
        assert await store.existing("t", []) == set()

    async def test_all_rows_of_a_document_are_named_live_or_archived(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(1), chunk(2), chunk(3, document="d2"), chunk(4, document="it's")]
        await store.upsert(rows)
        await store.archive("t", [rows[0].chunk_id])
        assert await store.of_document("t", "d") == set(ids(rows[:2]))
        assert await store.of_document("t", "it's") == {rows[3].chunk_id}
        assert await store.of_document("t", "unknown") == set()

    async def test_documents_never_meet_whatever_their_ids_are(self, open_store: Opened) -> None:
        store = open_store()
        rows = {name: chunk(1, document=name) for name in NASTY_DOCUMENTS}
        await store.upsert(list(rows.values()))
        for name, row in rows.items():
            assert await store.of_document("t", name) == {row.chunk_id}
            assert await self.search(store, row, documents=[name]) == [row.chunk_id]
            assert (await store.fetch("t", [row.chunk_id]))[0].document == name

    async def test_all_rows_of_a_long_document_are_named(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, sentences=0) for i in range(1_100)]
        await store.upsert(rows)
        await store.archive("t", ids(rows[:550]))
        assert await store.of_document("t", "d") == set(ids(rows))
        scanned = [(c.chunk_id, c.archived) async for c in store.scan("t", archived=True)]
        assert sorted(scanned) == sorted((row.chunk_id, i < 550) for i, row in enumerate(rows))

    async def test_a_long_text_comes_back_and_is_found(self, open_store: Opened) -> None:
        store = open_store()
        row = chunk(1, text=" ".join(f"word{i}" for i in range(40_000)), sentences=500)
        await store.upsert([chunk(2), row])
        assert_same((await store.fetch("t", [row.chunk_id]))[0], row)
        assert row.chunk_id in await self.search(store, chunk(2), text="word39999", k=1)

    async def test_thousands_of_ids_are_looked_up_in_one_call(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, sentences=0) for i in range(3_000)]
        await store.upsert(rows)
        assert await store.existing("t", ids(rows)) == set(ids(rows))
        assert ids(await store.fetch("t", ids(rows))) == ids(rows)

    async def test_a_vector_of_another_length_is_refused(self, open_store: Opened) -> None:
        store = open_store()
        row = ChunkRow(**{f: getattr(chunk(1), f) for f in ChunkRow.__struct_fields__} | {"vector": unit(1, DIM + 1)})
        with pytest.raises(ValueError, match="rebuild the index"):
            await store.upsert([row])

    # --- tenants

    async def test_tenants_never_meet_whatever_their_names_are(self, open_store: Opened) -> None:
        store = open_store()
        rows = {tenant: chunk(1, tenant=tenant) for tenant in NASTY_TENANTS}
        for row in rows.values():
            await store.upsert([row])
        for tenant, row in rows.items():
            assert [c.chunk_id async for c in store.scan(tenant)] == [row.chunk_id]
            assert await self.search(store, row) == [row.chunk_id]
            assert await store.existing(tenant, ids(list(rows.values()))) == {row.chunk_id}
        await store.delete_tenant("a/b")
        assert [await store.count(tenant) for tenant in NASTY_TENANTS] == [int(t != "a/b") for t in NASTY_TENANTS]

    async def test_one_call_may_write_rows_of_several_tenants(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, tenant=f"t{i % 2}") for i in range(4)]
        await store.upsert(rows)
        assert ids(await store.fetch("t1", ids(rows))) == ids(rows[1::2])

    async def test_an_unknown_tenant_is_empty(self, open_store: Opened) -> None:
        store = open_store()
        row = chunk(1, tenant="nobody")
        assert await self.search(store, row, archived=True) == []
        assert await store.fetch("nobody", [row.chunk_id]) == []
        assert await store.count("nobody") == 0
        assert [c async for c in store.scan("nobody", archived=True)] == []
        for change in (store.archive, store.restore, store.delete):
            await change("nobody", [row.chunk_id])
        await store.delete_tenant("nobody")

    # --- search

    async def test_a_new_row_is_found_at_once_by_vector_and_by_words(self, open_store: Opened) -> None:
        store = open_store()
        await store.upsert([chunk(i) for i in range(50)])
        await store.maintain("t", force=True)
        new = chunk(1_000, text="zebra crossing")
        await store.upsert([new])
        assert await self.search(store, new, text="", k=1) == [new.chunk_id]
        far = -new.vector
        assert new.chunk_id in ids(await store.candidates("t", vector=far, text="a zebra?", k=1))

    async def test_candidates_are_the_union_of_both_searches_without_duplicates(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, text=f"word{i}") for i in range(30)]
        await store.upsert(rows)
        found = ids(await store.candidates("t", vector=rows[3].vector, text="word4 word5", k=2))
        assert len(found) == len(set(found)) <= 4
        assert {rows[3].chunk_id, rows[4].chunk_id, rows[5].chunk_id} <= set(found)

    async def test_exact_search_finds_the_true_neighbours(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, sentences=0) for i in range(400)]
        await store.upsert(rows)
        await store.maintain("t", force=True)
        query = unit(123_456)
        order = np.argsort(-np.stack([row.vector for row in rows]) @ query)[:10]
        found = ids(await store.candidates("t", vector=query, text="", k=10, exact=True))
        assert found == [rows[i].chunk_id for i in order]

    async def test_documents_restrict_before_the_search_not_after(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, document=f"d'{i}") for i in range(300)]
        await store.upsert(rows)
        worst = min(rows, key=lambda row: float(row.vector @ rows[0].vector))
        assert await self.search(store, rows[0], k=1, documents=[worst.document]) == [worst.chunk_id]
        assert await self.search(store, rows[0], documents=[]) == []
        assert await self.search(store, rows[0], documents=["elsewhere"]) == []

    async def test_thousands_of_documents_may_be_named(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, document=f"d{i}") for i in range(50)]
        await store.upsert(rows)
        documents = {f"d{i}" for i in range(12_000)} - {"d7"}
        assert rows[8].chunk_id in await self.search(store, rows[8], documents=documents)
        assert rows[7].chunk_id not in await self.search(store, rows[7], documents=documents, k=100)

    @pytest.mark.parametrize("text", NASTY_QUERIES, ids=lambda text: ascii(text[:12]))
    async def test_any_text_is_a_safe_query(self, open_store: Opened, text: str) -> None:
        store = open_store()
        row = chunk(1)
        await store.upsert([row])
        assert await self.search(store, row, text=text) == [row.chunk_id]

    # --- live and archive

    async def test_an_archived_row_is_found_only_when_the_archive_is_asked(self, open_store: Opened) -> None:
        store = open_store()
        old, new = chunk(1), chunk(2)
        await store.upsert([old, new])
        await store.archive("t", [old.chunk_id])
        assert await self.search(store, old) == [new.chunk_id]
        assert set(await self.search(store, old, archived=True)) == {old.chunk_id, new.chunk_id}
        assert (await store.count("t"), await store.count("t", archived=True)) == (1, 1)
        assert_same((await store.fetch("t", [old.chunk_id]))[0], old)
        scanned = {c.chunk_id: (c.archived, c.text) async for c in store.scan("t", texts=True, archived=True)}
        assert scanned == {old.chunk_id: (True, old.text), new.chunk_id: (False, new.text)}

    async def test_archive_and_restore_undo_each_other_and_may_be_repeated(self, open_store: Opened) -> None:
        store = open_store()
        row = chunk(1)
        await store.upsert([row])
        for change in (store.archive, store.archive, store.restore, store.restore):
            await change("t", [row.chunk_id])
        assert (await store.count("t"), await store.count("t", archived=True)) == (1, 0)
        assert_same((await store.fetch("t", [row.chunk_id]))[0], row)

    async def test_a_deleted_row_is_gone_from_both_tables_and_from_memory(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(1), chunk(2), chunk(3)]
        await store.upsert(rows)
        await store.archive("t", [rows[0].chunk_id])
        await store.fetch("t", ids(rows))
        await store.delete("t", ids(rows[:2]))
        await store.delete("t", ids(rows[:2]))
        assert ids(await store.fetch("t", ids(rows))) == [rows[2].chunk_id]
        assert await store.existing("t", ids(rows)) == {rows[2].chunk_id}
        assert await self.search(store, rows[0], archived=True) == [rows[2].chunk_id]

    async def test_a_deleted_tenant_may_come_back(self, open_store: Opened) -> None:
        store, reader = open_store(), open_store()
        await store.upsert([chunk(1), chunk(2)])
        assert await reader.count("t") == 2
        await store.delete_tenant("t")
        assert await reader.count("t") == 0
        assert await store.fetch("t", [chunk(1).chunk_id]) == []
        await store.upsert([chunk(3)])
        assert ids(await reader.fetch("t", ids([chunk(1), chunk(3)]))) == [chunk(3).chunk_id]

    # --- several at a time

    async def test_another_reader_sees_each_write_at_once(self, open_store: Opened) -> None:
        writer, reader = open_store(), open_store()
        for i in range(5):
            row = chunk(i, text=f"only{i}")
            await writer.upsert([row])
            assert await reader.existing("t", [row.chunk_id]) == {row.chunk_id}
            assert row.chunk_id in await self.search(reader, row, k=1)
        await writer.archive("t", [chunk(0).chunk_id])
        assert chunk(0).chunk_id not in await self.search(reader, chunk(0), k=50)

    async def test_writers_that_race_leave_each_row_once(self, open_store: Opened) -> None:
        stores = [open_store() for _ in range(3)]
        await stores[0].upsert([chunk(999)])
        for batch in range(4):
            rows = [chunk(batch * 20 + i) for i in range(20)]
            await asyncio.gather(*(store.upsert(rows) for store in stores))
        found = [c.chunk_id async for c in stores[0].scan("t")]
        assert len(found) == len(set(found)) == 81

    async def test_writers_that_race_beside_maintenance_leave_each_row_once(self, open_store: Opened) -> None:
        maintained, *writers = [open_store() for _ in range(3)]
        await maintained.upsert([chunk(999)])

        async def write(store: Any) -> None:
            for start in range(0, 200, 5):
                await store.upsert([chunk(start + i, sentences=0) for i in range(5)])

        async def maintain() -> None:
            while not writing.done():
                await maintained.maintain("t", force=True)

        writing = asyncio.gather(*(write(store) for store in writers))
        await asyncio.gather(writing, maintain())
        found = [c.chunk_id async for c in maintained.scan("t")]
        assert len(found) == len(set(found)) == 201

    async def test_writes_moves_deletes_reads_and_maintenance_may_overlap(self, open_store: Opened) -> None:
        store = open_store()
        rows = [chunk(i, sentences=0) for i in range(60)]
        await store.upsert(rows[:20])

        async def search() -> None:
            for i in range(20):
                assert rows[i].chunk_id in await self.search(store, rows[i], archived=True)

        await asyncio.gather(
            *(store.upsert([row]) for row in rows[20:]),
            *(store.archive("t", [row.chunk_id]) for row in rows[:10]),
            *(store.maintain("t", force=True) for _ in range(2)),
            search(),
        )
        assert (await store.count("t"), await store.count("t", archived=True)) == (50, 10)
