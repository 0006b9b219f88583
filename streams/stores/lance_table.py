"""One LanceDB table of chunk rows: its schema, its indexes and what can be asked of it.

The chunk id is the table's primary key: an insert that races with another process's insert of the same id is detected
when Lance commits and is tried again, so an id is in a table at most once, whoever writes.
"""

import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from lancedb.db import AsyncConnection
from lancedb.index import FTS, BTree, IvfFlat
from lancedb.query import AsyncVectorQuery, MatchQuery
from lancedb.table import AsyncTable

from millrace.errors import Unavailable
from millrace.rows import Candidate, ChunkRow
from streams.stores.queries import chunked, query_terms
from streams.stores.row_bytes import (
    check_vectors,
    pack_sentence_vectors,
    pack_spans,
    readonly,
    unpack_sentence_vectors,
    unpack_spans,
)

MAX_TRIES = 10
FIELDS = ("chunk_id", "document", "content_hash", "text", "vector", "sentences", "sentence_vectors")
T = TypeVar("T")
_NO_ROOM = re.compile(r"os error (27|28|122)\b")  # a file too large, a full disk, a full quota, in Lance's words
_log = logging.getLogger(__name__)


class LanceTable:
    """The rows of one tenant, live or archived.

    Parameters
    ----------
    connection : AsyncConnection
        An open database that reads with a consistency interval of 0.
    name : str
        Table name, safe as a file name.
    dim : int
        Length of the vectors.
    language : str
        Language whose stemming and stop words the full-text index uses.
    """

    def __init__(self, connection: AsyncConnection, name: str, *, dim: int, language: str) -> None:
        self._connection = connection
        self._name = name
        self._dim = dim
        self._language = language
        self._table: AsyncTable | None = None
        self._indexed = False

    async def insert(self, rows: Sequence[ChunkRow]) -> int:
        """Add the rows whose chunk id is not in the table yet, in one commit.

        Returns
        -------
        int
            How many were added.
        """
        data = encode(rows, self._dim)

        async def merge() -> int:
            table = await self._open_for_writing()
            # Without the index: with it, Lance 13 misses rows that another writer adds while a third one compacts.
            merging = table.merge_insert("chunk_id").when_not_matched_insert_all().use_index(False)
            result = await merging.execute(data)
            return int(result.num_inserted_rows)

        return await self._retrying(merge)

    async def delete(self, chunk_ids: Iterable[str]) -> None:
        """Remove rows by chunk id; ids that are not there are ignored."""
        for part in chunked(chunk_ids):
            where = is_in("chunk_id", part)

            async def remove(table: AsyncTable, where: str = where) -> None:
                await table.delete(where)

            await self._query(remove)

    async def drop(self) -> None:
        """Remove the table with all its files."""
        with contextlib.suppress(ValueError):  # "was not found": already gone
            await self._connection.drop_table(self._name)
        self._table, self._indexed = None, False

    async def select(
        self, values: Iterable[str], columns: Sequence[str] = FIELDS, *, by: str = "chunk_id"
    ) -> pa.Table | None:
        """Read rows by chunk id, or by document.

        Returns
        -------
        pyarrow.Table or None
            The rows found, in no particular order; None where the table does not exist.
        """
        found = []
        for part in chunked(values):
            where = is_in(by, part)

            async def read(table: AsyncTable, where: str = where) -> pa.Table:
                return await table.query().where(where).select(list(columns)).to_arrow()

            rows = await self._query(read)
            if rows is not None:
                found.append(rows)
        return pa.concat_tables(found) if found else None

    async def dense(self, vector: np.ndarray, k: int, where: str | None, *, exact: bool) -> list[Candidate]:
        """Nearest rows by inner product, best first; rows that no index covers yet are compared as well.

        Parameters
        ----------
        vector : numpy.ndarray
            Shape (dim,), float32, L2 norm 1.
        k : int
            How many at most.
        where : str or None
            SQL condition applied before the search.
        exact : bool
            Compare every row instead of asking the approximate index.
        """

        async def run(table: AsyncTable) -> pa.Table:
            return await _dense_query(table, vector, k, where, exact=exact).to_arrow()

        return _candidates(await self._query(run))

    async def lexical(self, text: str, k: int, where: str | None) -> list[Candidate]:
        """Best rows by BM25, best first, for any text: it is split into terms, never parsed as a query language."""
        terms = query_terms(text)
        if not terms:
            return []

        match = MatchQuery(terms, "text")  # type: ignore[call-arg]  # mypy does not see pydantic's defaults

        async def run(table: AsyncTable) -> pa.Table:
            query = table.query().nearest_to_text(match).limit(k)
            query = query.where(where) if where else query
            return await query.select(["chunk_id", "document", "_score"]).to_arrow()

        return _candidates(await self._query(run))

    async def scan(self, columns: Sequence[str], rows_per_batch: int) -> AsyncIterator[pa.RecordBatch]:
        """Stream every row's columns from one snapshot of the table."""
        table = await self._open()
        if table is None:
            return
        async for batch in await table.query().select(list(columns)).to_batches(max_batch_length=rows_per_batch):
            yield batch

    async def count(self) -> int:
        """Rows in the table; 0 where it does not exist."""
        return await self._query(lambda table: table.count_rows()) or 0

    async def unindexed(self) -> int:
        """Rows that the full-text index does not cover yet; searches read them one by one."""

        async def run(table: AsyncTable) -> int:
            stats = await table.index_stats("text_idx")
            return int(stats.num_unindexed_rows) if stats else 0

        return await self._query(run) or 0

    def has_deletions(self) -> bool:
        """Say whether files still hold rows that were deleted."""
        folder = Path(self._connection.uri) / f"{self._name}.lance" / "_deletions"
        return folder.is_dir() and any(folder.iterdir())

    async def compact(self, *, keep_versions: timedelta, ann_rows: int, rewrite: bool) -> None:
        """Merge small files, bring the indexes up to date and drop versions older than ``keep_versions``.

        Lance leaves a large file as it is while few of its rows are deleted; ``rewrite`` has it written anew without
        them.
        From ``ann_rows`` rows on, the vectors get an approximate index as well. A delete that another process commits
        meanwhile wins, and nothing is compacted this time.
        """
        table = await self._open()
        if table is None:
            return
        if await table.count_rows() >= ann_rows:
            names = {index.name for index in await table.list_indices()}
            if "vector_idx" not in names:
                await table.create_index("vector", config=IvfFlat(distance_type="dot"), name="vector_idx")
        try:
            if rewrite:
                await self._move_a_row(table)
            await table.optimize(cleanup_older_than=keep_versions)
        except RuntimeError as error:
            if not _is_conflict(error):
                raise
            _log.info("another process changed files of %s during its compaction; left to the next one", self._name)

    async def _move_a_row(self, table: AsyncTable) -> None:
        """Write one row once more, in one commit: it gets a file of its own, which compaction merges with the rest."""
        row = await table.query().limit(1).select(list(FIELDS)).to_arrow()
        if row.num_rows:
            await table.merge_insert("chunk_id").when_matched_update_all().use_index(False).execute(row)

    async def _query(self, run: Callable[[AsyncTable], Awaitable[T]]) -> T | None:
        """Run a read, or return None where the table does not exist."""

        async def attempt() -> T | None:
            table = await self._open()
            return None if table is None else await run(table)

        return await self._retrying(attempt)

    async def _retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again where another process was in the way.

        It may have dropped the table or cleaned up old files, which takes a fresh handle, or have committed a move or
        a compaction of the same files first.

        Raises
        ------
        Unavailable
            If the disk has no room.
        """
        try:
            for _ in range(MAX_TRIES - 1):
                try:
                    return await attempt()
                except RuntimeError as error:
                    if "not found" in str(error).lower():
                        self._table, self._indexed = None, False
                    elif not _is_conflict(error):
                        raise
            return await attempt()
        except (OSError, RuntimeError) as error:
            if _NO_ROOM.search(str(error)) is None:
                raise
            raise Unavailable(
                f"the vector tables in {self._connection.uri} cannot grow ({str(error)[:200]}); free space on that "
                "disk, or name a folder on another one by the setting `stores.vectors`"
            ) from error

    async def _open(self) -> AsyncTable | None:
        if self._table is None:
            with contextlib.suppress(ValueError):  # "was not found"
                self._table = await self._connection.open_table(self._name)
        return self._table

    async def _open_for_writing(self) -> AsyncTable:
        table = await self._open()
        if table is None:
            table = await self._connection.create_table(self._name, schema=schema(self._dim), exist_ok=True)
            self._table = table
        if not self._indexed:
            await self._create_indexes(table)
            self._indexed = True
        return table

    async def _create_indexes(self, table: AsyncTable) -> None:
        """Create what is missing; the process that created the table may have died before it got here."""
        present = {index.name for index in await table.list_indices()}
        wanted: dict[str, tuple[str, BTree | FTS]] = {
            "chunk_id_idx": ("chunk_id", BTree()),
            "document_idx": ("document", BTree()),
            "text_idx": ("text", FTS(language=self._language)),
        }
        for name, (column, config) in wanted.items():
            if name not in present:
                await table.create_index(column, config=config, name=name)


def schema(dim: int) -> pa.Schema:
    """Arrow schema of a chunk table; spans are int32 pairs and sentence vectors float16, both as bytes."""
    key = {"lance-schema:unenforced-primary-key": "true"}
    return pa.schema(
        [
            pa.field("chunk_id", pa.string(), nullable=False, metadata=key),
            pa.field("document", pa.string(), nullable=False),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), dim), nullable=False),
            pa.field("sentences", pa.binary(), nullable=False),
            pa.field("sentence_vectors", pa.binary(), nullable=False),
        ]
    )


def encode(rows: Sequence[ChunkRow], dim: int) -> pa.Table:
    """Turn rows into an Arrow table of ``schema(dim)``.

    Raises
    ------
    ValueError
        If a vector has another length than the table's.
    """
    check_vectors(rows, dim)
    vectors = np.concatenate([row.vector for row in rows]).astype("<f4", copy=False)
    return pa.table(
        {
            "chunk_id": [row.chunk_id for row in rows],
            "document": [row.document for row in rows],
            "content_hash": [row.content_hash for row in rows],
            "text": [row.text for row in rows],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors), dim),
            "sentences": [pack_spans(row) for row in rows],
            "sentence_vectors": [pack_sentence_vectors(row) for row in rows],
        },
        schema=schema(dim),
    )


def decode(tenant: str, table: pa.Table, dim: int) -> Iterator[ChunkRow]:
    """Turn an Arrow table with all fields back into rows, in the table's order."""
    columns = {name: table.column(name).to_pylist() for name in FIELDS if name != "vector"}
    vectors = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    for i, vector in enumerate(vectors):
        yield ChunkRow(
            tenant=tenant,
            document=columns["document"][i],
            chunk_id=columns["chunk_id"][i],
            content_hash=columns["content_hash"][i],
            text=columns["text"][i],
            vector=readonly(vector.copy()),
            sentences=unpack_spans(columns["sentences"][i]),
            sentence_vectors=unpack_sentence_vectors(columns["sentence_vectors"][i], dim),
        )


def is_in(column: str, values: Iterable[str]) -> str:
    """Write the SQL condition ``column IN (...)`` with the values quoted."""
    quoted = ",".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"{column} IN ({quoted})"


def _dense_query(table: AsyncTable, vector: np.ndarray, k: int, where: str | None, *, exact: bool) -> AsyncVectorQuery:
    query = table.query().nearest_to(vector).distance_type("dot").limit(k)
    query = query.where(where) if where else query
    query = query.bypass_vector_index() if exact else query
    return query.select(["chunk_id", "document", "_distance"])


def _is_conflict(error: RuntimeError) -> bool:
    return "commit conflict" in str(error).lower()


def _candidates(found: pa.Table | None) -> list[Candidate]:
    if found is None:
        return []
    pairs: Any = zip(found.column("chunk_id").to_pylist(), found.column("document").to_pylist(), strict=True)
    return [Candidate(chunk_id=chunk_id, document=document) for chunk_id, document in pairs]
