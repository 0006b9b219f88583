"""The adapter of the vector store port on Weaviate: a tenant each, live rows in one collection, archived in another.

It does what `streams.stores.lance` does. What a row says never changes, so moving it between the collections is write,
then delete: a crash in between leaves it in both, never in none. Writes of a tenant are ordered within this process;
between processes the chunk id, which is the object's id, keeps rows unique. An instance belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Final

import numpy as np

from millrace.concurrency import map_at_once
from millrace.rows import Candidate, ChunkRow, ScannedChunk
from streams.stores.collection_names import collection_names
from streams.stores.queries import TENANTS_AT_ONCE, chunked
from streams.stores.row_bytes import check_vectors
from streams.stores.row_cache import RowCache
from streams.stores.tenant_names import safe_name
from streams.stores.weaviate.collection import MAX_RESULTS, WeaviateRows
from streams.stores.weaviate.connection import Address, Connection

_READABLE_CHARS: Final = 23  # with the digest 64, which is as long as a tenant's name may be


class WeaviateVectorStore:
    """Chunk rows by tenant, with dense and full-text candidates.

    Parameters
    ----------
    address : Address
        The server.
    dim : int
        Length of the vectors.
    api_key : str
        Who we are. A key that may only read serves everything but writes; what was never written it finds empty.
    collection : str, default "Millrace"
        Start of the names of the two collections, an upper case letter first; stacks that share a server have one each.
    cache_bytes : int, default 256 MiB
        Memory for rows that were fetched before.
    query_timeout_s, write_timeout_s : float
        How long a read and a write may take, in seconds.
    replicas : int, default 1
        Copies of each row in a cluster; counts when the collections are created.
    """

    def __init__(
        self,
        address: Address,
        *,
        dim: int,
        api_key: str = "",
        collection: str = "Millrace",
        cache_bytes: int = 256 * 2**20,
        query_timeout_s: float = 30.0,
        write_timeout_s: float = 60.0,
        replicas: int = 1,
    ) -> None:
        self._connection = Connection(
            address, api_key=api_key, query_timeout_s=query_timeout_s, write_timeout_s=write_timeout_s
        )
        self._dim = dim
        self._collection = collection
        self._replicas = replicas
        self._cache = RowCache(cache_bytes)
        self._tenants: dict[str, _Tenant] = {}

    async def open(self) -> None:
        """See that the server is there and lets us in; without it, the first call finds out.

        Raises
        ------
        ConfigurationError
            If the server refuses the API key.
        Unavailable
            If it does not answer.
        """
        await self._connection.open()

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """Write rows; the same id again overwrites itself.

        Raises
        ------
        ValueError
            If a row's vectors have another length than the index.
        Unavailable
            If the server is away or could not take some rows; those it took are not sent again.
        InputRejected
            If it can never take some rows.
        """
        by_tenant: dict[str, dict[str, ChunkRow]] = {}
        for row in rows:
            by_tenant.setdefault(row.tenant, {})[row.chunk_id] = row
        check_vectors(rows, self._dim)

        async def write(name: str) -> None:
            pair = self._tenant(name)
            async with pair.writing:
                await pair.live.insert(list(by_tenant[name].values()))

        await map_at_once(write, by_tenant, TENANTS_AT_ONCE)

    async def existing(self, tenant: str, chunk_ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are stored, live or archived."""
        pair = self._tenant(tenant)
        wanted = set(chunk_ids)
        found = await pair.live.ids(sorted(wanted))
        return found | await pair.archive.ids(sorted(wanted - found))

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """Return all ids stored for a document, live or archived, whether a version lists them or not."""
        pair = self._tenant(tenant)
        return await pair.live.ids_of(document) | await pair.archive.ids_of(document)

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """Read rows, live or archived, in the order asked for; missing ones are left out.

        Rows fetched before come from memory.
        """
        pair = self._tenant(tenant)
        return await self._cache.fetch(tenant, chunk_ids, (pair.live.select, pair.archive.select))

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
            How many from each of the two searches, at most 10,000.
        documents : collection of str, optional
            Search these documents only, all of their rows; an empty collection finds nothing.
        exact : bool
            Compare every vector instead of walking the graph.
        archived : bool
            Search the archive as well.

        Returns
        -------
        list of Candidate
            At most 2 k, or 4 k with the archive; each search's hits best first, ``row`` set where it is in memory.
        """
        if k <= 0 or (documents is not None and not documents):
            return []
        k = min(k, MAX_RESULTS)
        pair = self._tenant(tenant)
        query = np.ascontiguousarray(vector, dtype=np.float32)
        parts = [None] if documents is None else list(chunked(documents, 10_000))
        searches = [
            search
            for rows in ((pair.live, pair.archive) if archived else (pair.live,))
            for part in parts
            for search in (rows.dense(query, k, part, exact=exact), rows.lexical(text, k, part))
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
        pair = self._tenant(tenant)
        await _move(pair, pair.live, pair.archive, chunk_ids)

    async def restore(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Move archived rows back among the live ones; ids that are not archived are ignored."""
        pair = self._tenant(tenant)
        await _move(pair, pair.archive, pair.live, chunk_ids)

    async def delete(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Remove rows from both collections and from memory; ids that are not there are ignored.

        Searches find them no more at once; their bytes leave the server's disk when it compacts its segments.
        """
        ids = list(chunk_ids)
        pair = self._tenant(tenant)
        async with pair.writing:
            await pair.live.delete(ids)
            await pair.archive.delete(ids)
        self._cache.drop(tenant, ids)

    async def delete_tenant(self, tenant: str) -> None:
        """Remove a tenant's rows, files included."""
        pair = self._tenant(tenant)
        async with pair.writing:
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
        pair = self._tenant(tenant)
        for rows in (pair.live, pair.archive) if archived else (pair.live,):
            async for scanned in rows.scan(texts=texts, archived=rows is pair.archive):
                yield scanned

    async def count(self, tenant: str, *, archived: bool = False) -> int:
        """Rows among the live ones, or in the archive."""
        pair = self._tenant(tenant)
        return await (pair.archive if archived else pair.live).count()

    async def maintain(self, tenant: str, *, force: bool = False) -> bool:  # noqa: ARG002 - as the embedded store's
        """Do nothing: the server compacts its segments and mends its graph by itself."""
        await asyncio.sleep(0)  # whoever calls this in a loop leaves others their turn
        return False

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    def _tenant(self, tenant: str) -> _Tenant:
        pair = self._tenants.get(tenant)
        if pair is None:
            name = safe_name(tenant, readable_chars=_READABLE_CHARS)
            live, archive = (
                WeaviateRows(
                    self._connection,
                    collection,
                    tenant,
                    name=name,
                    dim=self._dim,
                    replicas=self._replicas,
                )
                for collection in collection_names(self._collection)
            )
            pair = self._tenants[tenant] = _Tenant(live, archive)
        return pair


class _Tenant:
    """A tenant's rows, and what orders its writes."""

    def __init__(self, live: WeaviateRows, archive: WeaviateRows) -> None:
        self.live = live
        self.archive = archive
        self.writing = asyncio.Lock()


async def _move(pair: _Tenant, source: WeaviateRows, target: WeaviateRows, chunk_ids: Iterable[str]) -> None:
    ids = sorted(set(chunk_ids))
    async with pair.writing:
        rows = await source.select(ids)
        if rows:
            await target.insert(rows)
            await source.delete(ids)
