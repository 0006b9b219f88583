"""The embedded vector store: LanceDB on local disk, two tables a tenant.

Live rows are searched by every question, archived ones (superseded versions) only by questions as of an earlier time.
What a row says never changes, so moving it between the tables is insert, then delete: a crash in between leaves it in
both, never in none. Writes of a tenant are ordered within this process; between processes the primary key keeps rows
unique, and every read starts from the newest commit. An instance belongs to one event loop.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import lancedb
import numpy as np
from lancedb.db import AsyncConnection

from millrace.concurrency import map_at_once
from millrace.rows import Candidate, ChunkRow, ScannedChunk
from streams.stores.lance_table import LanceTable, decode, is_in
from streams.stores.queries import TENANTS_AT_ONCE, chunked
from streams.stores.row_cache import RowCache
from streams.stores.tenant_names import safe_name

_log = logging.getLogger(__name__)

MIN_TAIL_ROWS = 256
MAX_TAIL_ROWS = 1_000
MIN_TAIL_COMMITS = 64


class LanceVectorStore:
    """Chunk rows by tenant, with dense and full-text candidates.

    Parameters
    ----------
    folder : Path
        Where the tables live; created when missing.
    dim : int
        Length of the vectors.
    language : str, default "English"
        Stemming and stop words of the full-text index. It splits at white space and punctuation, so text in languages
        written without spaces is found by its vectors alone.
    cache_bytes : int, default 256 MiB
        Memory for rows that were fetched before, and as much again for Lance's own caches of indexes and of files,
        whose defaults take gigabytes.
    ann_rows : int, default 100_000
        From how many rows on a tenant gets an approximate vector index; below, every row is compared.
    keep_versions_s : float, default 30
        How long a replaced version stays on disk for readers that are still in it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        language: str = "English",
        cache_bytes: int = 256 * 2**20,
        ann_rows: int = 100_000,
        keep_versions_s: float = 30.0,
    ) -> None:
        self._folder = folder.resolve()
        self._dim = dim
        self._language = language
        self._ann_rows = ann_rows
        self._keep_versions = timedelta(seconds=keep_versions_s)
        self._cache = RowCache(cache_bytes)
        self._session = lancedb.Session(cache_bytes * 3 // 4, cache_bytes // 4)
        self._connection: AsyncConnection | None = None
        self._tenants: dict[str, _Tenant] = {}

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """Write rows that are not live yet, in one commit a tenant; a row written before is left as it is.

        Raises
        ------
        ValueError
            If a row's vectors have another length than the index.
        """
        by_tenant: dict[str, dict[str, ChunkRow]] = {}
        for row in rows:
            by_tenant.setdefault(row.tenant, {})[row.chunk_id] = row
        await map_at_once(lambda name: self._insert(name, list(by_tenant[name].values())), by_tenant, TENANTS_AT_ONCE)

    async def existing(self, tenant: str, chunk_ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are on disk, live or archived."""
        pair = await self._tenant(tenant)
        wanted = set(chunk_ids)
        found: set[str] = set()
        for table in (pair.live, pair.archive):
            rows = await table.select(sorted(wanted - found), ["chunk_id"])
            if rows is not None:
                found.update(rows.column("chunk_id").to_pylist())
        return found

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """Return all ids on disk for a document, live or archived, whether a version lists them or not."""
        pair = await self._tenant(tenant)
        found: set[str] = set()
        for table in (pair.live, pair.archive):
            rows = await table.select([document], ["chunk_id"], by="document")
            if rows is not None:
                found.update(rows.column("chunk_id").to_pylist())
        return found

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """Read rows, live or archived, in the order asked for; missing ones are left out.

        Rows fetched before come from memory.
        """
        pair = await self._tenant(tenant)
        tables = [partial(self._rows, tenant, table) for table in (pair.live, pair.archive)]
        return await self._cache.fetch(tenant, chunk_ids, tables)

    async def _rows(self, tenant: str, table: LanceTable, chunk_ids: Sequence[str]) -> Iterable[ChunkRow]:
        rows = await table.select(chunk_ids)
        return () if rows is None else decode(tenant, rows, self._dim)

    async def candidates(
        self,
        tenant: str,
        *,
        vector: np.ndarray,
        text: str,
        k: int,
        documents: Collection[str] | None = None,
        exact: bool = False,
        archived: bool = False,
    ) -> list[Candidate]:
        """Union of the k nearest rows and the k best by full text, without duplicates.

        Parameters
        ----------
        tenant : str
            Whose rows to search.
        vector : numpy.ndarray
            Shape (dim,), float32, L2 norm 1.
        text : str
            Any text; it may be empty, long or full of operators.
        k : int
            How many from each of the two searches.
        documents : collection of str, optional
            Search these documents only; an empty collection finds nothing.
        exact : bool
            Compare every vector instead of asking the approximate index.
        archived : bool
            Search the archive as well.

        Returns
        -------
        list of Candidate
            At most 2 k, or 4 k with the archive; each search's hits best first, ``row`` set where it is in memory.
        """
        if k <= 0 or (documents is not None and not documents):
            return []
        pair = await self._tenant(tenant)
        query = np.ascontiguousarray(vector, dtype=np.float32)
        filters = [None] if documents is None else [is_in("document", part) for part in chunked(documents, 10_000)]
        searches = [
            search
            for table in ((pair.live, pair.archive) if archived else (pair.live,))
            for where in filters
            for search in (table.dense(query, k, where, exact=exact), table.lexical(text, k, where))
        ]
        found: dict[str, Candidate] = {}
        for hits in await asyncio.gather(*searches):
            for hit in hits:
                if hit.chunk_id not in found:
                    row = self._cache.get(tenant, hit.chunk_id)
                    found[hit.chunk_id] = Candidate(chunk_id=hit.chunk_id, document=hit.document, row=row)
        return list(found.values())

    async def archive(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Move live rows to the archive; ids that are not live are ignored."""
        pair = await self._tenant(tenant)
        await self._moved(tenant, pair, pair.live, pair.archive, chunk_ids)

    async def restore(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Move archived rows back among the live ones; ids that are not archived are ignored."""
        pair = await self._tenant(tenant)
        await self._moved(tenant, pair, pair.archive, pair.live, chunk_ids)

    async def delete(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Remove rows from both tables and from memory; ids that are not there are ignored.

        Searches find them no more at once; for when their bytes leave the disk see `maintain`.
        """
        ids = list(chunk_ids)
        pair = await self._tenant(tenant)
        async with pair.files, pair.writing:
            await pair.live.delete(ids)
            await pair.archive.delete(ids)
        self._cache.drop(tenant, ids)
        pair.tail_commits += 1

    async def delete_tenant(self, tenant: str) -> None:
        """Remove a tenant's tables, files included."""
        pair = await self._tenant(tenant)
        async with pair.files, pair.writing:
            await pair.live.drop()
            await pair.archive.drop()
        self._cache.drop_tenant(tenant)

    def forget(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Drop rows from this process's memory, for an erasure that another process carried out."""
        self._cache.drop(tenant, chunk_ids)

    async def scan(self, tenant: str, *, texts: bool = False, archived: bool = False) -> AsyncIterator[ScannedChunk]:
        """Read every row's id, for statistics and for checks against the log.

        Parameters
        ----------
        tenant : str
            Whose rows.
        texts : bool
            Read the texts as well.
        archived : bool
            Read the archive after the live rows.
        """
        pair = await self._tenant(tenant)
        columns = ["chunk_id", "document", *(["text"] if texts else [])]
        for table in (pair.live, pair.archive) if archived else (pair.live,):
            async for batch in table.scan(columns, rows_per_batch=512):
                for row in batch.to_pylist():
                    yield ScannedChunk(**row, archived=table is pair.archive)

    async def count(self, tenant: str, *, archived: bool = False) -> int:
        """Rows among the live ones, or in the archive."""
        pair = await self._tenant(tenant)
        return await (pair.archive if archived else pair.live).count()

    async def maintain(self, tenant: str, *, force: bool = False) -> bool:
        """Merge files, bring indexes up to date and drop old versions and deleted rows from disk, when there is need.

        ``upsert`` starts it in the background by itself after enough writes. Call it every so often all the same: only
        then do texts and vectors of deleted rows leave the disk, within three calls that lie ``keep_versions_s`` apart
        (their ids may stay in Lance's own records). Writes of new rows go on meanwhile; moves and deletes wait.

        Returns
        -------
        bool
            Whether there was anything to do.
        """
        pair = await self._tenant(tenant)
        async with pair.files:
            waiting = pair.cleanup_at is not None
            over = pair.cleanup_at is not None and time.monotonic() >= pair.cleanup_at
            rewrite = force or (not waiting and any(table.has_deletions() for table in (pair.live, pair.archive)))
            if not (rewrite or over or await self._is_due(pair)):
                return False
            rows, commits = pair.tail_rows, pair.tail_commits
            for table in (pair.live, pair.archive):
                await table.compact(
                    keep_versions=self._keep_versions,
                    ann_rows=self._ann_rows,
                    rewrite=rewrite and table.has_deletions(),
                )
            pair.tail_rows -= rows
            pair.tail_commits -= commits
            # What was replaced now can be removed when its time is over; then there is nothing more to do.
            pair.cleanup_at = None if over else time.monotonic() + self._keep_versions.total_seconds()
        return True

    async def close(self) -> None:
        """Wait for background maintenance and let go of the files."""
        running = [pair.maintenance for pair in self._tenants.values() if pair.maintenance is not None]
        running += [task for pair in self._tenants.values() for task in pair.moving]
        await asyncio.gather(*running, return_exceptions=True)
        self._tenants.clear()
        if self._connection is not None:
            self._connection.close()  # type: ignore[no-untyped-call]
            self._connection = None

    async def _insert(self, name: str, rows: Sequence[ChunkRow]) -> None:
        tenant = await self._tenant(name)
        async with tenant.writing:
            added = await tenant.live.insert(rows)
        tenant.tail_rows += added
        tenant.tail_commits += 1
        if tenant.maintenance is None and await self._is_due(tenant):
            tenant.maintenance = asyncio.create_task(self._maintain_in_background(name, tenant))

    async def _moved(
        self, tenant: str, pair: "_Tenant", source: LanceTable, target: LanceTable, chunk_ids: Iterable[str]
    ) -> None:
        """Have rows moved with those of all who wait for the tables meanwhile: many cost as much as one."""
        if source not in pair.moves:
            task = asyncio.create_task(self._move(tenant, pair, source, target))
            pair.moves[source] = set(), task
            pair.moving.add(task)
            task.add_done_callback(pair.moving.discard)
        ids, task = pair.moves[source]
        ids.update(chunk_ids)
        await asyncio.shield(task)

    async def _move(self, tenant: str, pair: "_Tenant", source: LanceTable, target: LanceTable) -> None:
        async with pair.files, pair.writing:
            chunk_ids, _ = pair.moves.pop(source)  # who comes from now on waits for the next one
            ids = sorted(chunk_ids)
            rows = await source.select(ids)
            if rows is None or rows.num_rows == 0:
                return
            await target.insert(list(decode(tenant, rows, self._dim)))
            await source.delete(ids)
        pair.tail_commits += 1

    async def _is_due(self, pair: "_Tenant") -> bool:
        if pair.tail_rows < MIN_TAIL_ROWS and pair.tail_commits < MIN_TAIL_COMMITS:
            return False
        rows = await pair.live.count()
        # Compaction rewrites the table, a search reads the unindexed tail row by row: the tail may grow with the table
        # up to where it costs a search some 30 ms.
        max_rows = min(MAX_TAIL_ROWS, max(MIN_TAIL_ROWS, rows // 32))
        return pair.tail_rows >= max_rows or pair.tail_commits >= max(MIN_TAIL_COMMITS, rows // 500)

    async def _maintain_in_background(self, name: str, pair: "_Tenant") -> None:
        try:
            await self.maintain(name)
        except Exception:  # noqa: BLE001  # the writes that started it have succeeded
            _log.exception("maintenance of the vector index of tenant %r failed; tried again after more writes", name)
        finally:
            pair.maintenance = None

    async def _tenant(self, name: str) -> "_Tenant":
        pair = self._tenants.get(name)
        if pair is None:
            if self._connection is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._connection = await lancedb.connect_async(
                    self._folder, read_consistency_interval=timedelta(seconds=0), session=self._session
                )
            connection, prefix = self._connection, table_prefix(name)
            live, archive = (
                LanceTable(connection, f"{prefix}-{part}", dim=self._dim, language=self._language)
                for part in ("live", "archive")
            )
            pair = self._tenants.setdefault(name, _Tenant(live, archive))
            pair.tail_rows = await live.unindexed()
        return pair


class _Tenant:
    """A tenant's tables, and what was written since they were last maintained.

    ``files`` keeps deletes and compaction apart (Lance refuses one of two that meet), ``writing`` orders the writes;
    who needs both takes ``files`` first.
    """

    def __init__(self, live: LanceTable, archive: LanceTable) -> None:
        self.live = live
        self.archive = archive
        self.files = asyncio.Lock()
        self.writing = asyncio.Lock()
        self.tail_rows = 0
        self.tail_commits = 0
        self.cleanup_at: float | None = None
        self.maintenance: asyncio.Task[None] | None = None
        self.moves: dict[LanceTable, tuple[set[str], asyncio.Task[None]]] = {}
        self.moving: set[asyncio.Task[None]] = set()


def table_prefix(tenant: str) -> str:
    """Name a tenant's tables, safe and of bounded length as a file name."""
    return safe_name(tenant, readable_chars=24)
