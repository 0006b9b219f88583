"""The rows of one tenant in one of the two collections, written and read in bounded requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
from weaviate import WeaviateAsyncClient
from weaviate.classes.query import Filter
from weaviate.exceptions import WeaviateInsertManyAllFailedError

from millrace.concurrency import map_at_once
from millrace.errors import Unavailable
from millrace.rows import Candidate, ChunkRow, ScannedChunk
from streams.stores.queries import chunked, query_terms
from streams.stores.weaviate import schema
from streams.stores.weaviate.connection import Connection
from streams.stores.weaviate.failures import Missing, meaning_of, rows_error
from streams.stores.weaviate.objects import batches, decode, encode

T = TypeVar("T")

MAX_RESULTS: Final = 10_000
"""Hits a server gives at most, unless its operator allows more."""
FETCH_ROWS: Final = 500
SCAN_ROWS: Final = 512
AT_ONCE: Final = 2
SINGLE_AT_ONCE: Final = 8
TRIES: Final = 4
RETRY_S: Final = 0.1


class WeaviateRows:
    """The rows of one tenant, live or archived.

    Parameters
    ----------
    connection : Connection
        The server.
    collection : str
        Name of the collection; created with the first row.
    tenant : str
        Whose rows they are.
    name : str
        What the server calls the tenant.
    dim : int
        Length of the vectors.
    replicas : int
        Copies of each row in a cluster.
    """

    def __init__(
        self, connection: Connection, collection: str, tenant: str, *, name: str, dim: int, replicas: int
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._tenant = tenant
        self._name = name
        self._dim = dim
        self._replicas = replicas
        self._prepared = False
        self._handle: Any = None
        self._in_doubt: set[str] = set()  # rows of writes that have not ended well

    async def insert(self, rows: Sequence[ChunkRow]) -> None:
        """Write rows, whether they are there or not, and see that each is found and outlives a kill of the server.

        A server that is killed in the middle of a write may keep a row and have lost its places in the indexes, or the
        ways to it in the graph, and it leaves both alone when the same row is written again. So rows of a write that
        failed are removed before they are written again, and rows that are not found after a write as well.

        Raises
        ------
        Unavailable
            If the server is away, or could not take some rows for now.
        InputRejected
            If it can never take some rows.
        """
        if not rows:
            return
        if not self._prepared:
            await self._prepare()
        ids = [row.chunk_id for row in rows]
        again = [chunk_id for chunk_id in ids if chunk_id in self._in_doubt]
        self._in_doubt.update(ids)
        await self._remove(again)
        kept = await self.ids(ids)
        await self._write(rows)
        lost = await self._unfound(rows)
        kept -= {row.chunk_id for row in lost}
        lost += await self._unreached([row for row in rows if row.chunk_id in kept])
        if lost:
            await self._remove([row.chunk_id for row in lost])
            await self._write(lost)
            if await self._unfound(lost):
                raise Unavailable(
                    f"Weaviate at {self._connection.address} took {len(lost)} rows and does not find them, first chunk "
                    f"{lost[0].chunk_id}; it must index at once (ASYNC_INDEXING=false), else look at its log"
                )
        self._in_doubt.difference_update(ids)

    async def delete(self, chunk_ids: Iterable[str]) -> None:
        """Remove rows by chunk id; ids that are not there are ignored.

        Raises
        ------
        Unavailable
            If the server is away, or left some rows.
        """
        for part in chunked(chunk_ids):
            condition = Filter.by_id().contains_any(part)

            async def remove(client: WeaviateAsyncClient, condition: Any = condition) -> int:
                # Without details: a server that fails to delete fails to answer the question for them, too.
                result = await self._in(client).data.delete_many(where=condition)
                return int(max(result.failed, result.matches - result.successful))

            left = await self._unless_missing(self._connection.write("deletions", remove), 0)
            if left:
                raise Unavailable(
                    f"Weaviate at {self._connection.address} left {left} or more of {len(part)} rows that were to be "
                    "deleted; look at its memory, its disk and its log"
                )

    async def drop(self) -> None:
        """Remove the tenant with all its files."""

        async def remove(client: WeaviateAsyncClient) -> None:
            await client.collections.use(self._collection).tenants.remove([self._name])

        self._prepared = False
        await self._unless_missing(self._connection.write("a deletion", remove), None)

    async def ids(self, chunk_ids: Iterable[str]) -> set[str]:
        """Return those of the ids that are there."""
        found: set[str] = set()
        for part in chunked(chunk_ids):
            condition, n = Filter.by_id().contains_any(part), len(part)

            async def read(client: WeaviateAsyncClient, condition: Any = condition, n: int = n) -> set[str]:
                query = self._in(client).query
                result = await query.fetch_objects(filters=condition, limit=n, return_properties=False)
                return {str(each.uuid) for each in result.objects}

            found |= await self._unless_missing(self._connection.read("ids", read), set())
        return found

    async def ids_of(self, document: str) -> set[str]:
        """Return the ids of all rows of a document."""
        condition = Filter.by_property("document_key").equal(schema.document_key(document))

        async def read(client: WeaviateAsyncClient) -> set[str]:
            query = self._in(client).query
            result = await query.fetch_objects(filters=condition, limit=MAX_RESULTS, return_properties=False)
            return {str(each.uuid) for each in result.objects}

        found = await self._unless_missing(self._connection.read("a document's ids", read), set())
        if len(found) < MAX_RESULTS:
            return found
        # A server pages through a filter only up to here, and through everything only without one.
        return {each.chunk_id async for each in self.scan(texts=False, archived=False) if each.document == document}

    async def select(self, chunk_ids: Iterable[str]) -> list[ChunkRow]:
        """Read rows by chunk id, in no particular order."""
        return [
            row for part in chunked(chunk_ids, FETCH_ROWS) for row in await self._unless_missing(self._rows(part), [])
        ]

    async def dense(
        self, vector: np.ndarray, k: int, documents: Sequence[str] | None, *, exact: bool
    ) -> list[Candidate]:
        """Nearest rows by inner product, best first.

        Parameters
        ----------
        vector : numpy.ndarray
            Shape (dim,), float32, L2 norm 1.
        k : int
            How many at most.
        documents : sequence of str or None
            Compare every row of these, instead of walking the graph.
        exact : bool
            Compare every row.
        """
        condition = _of_documents(documents)
        if condition is None and exact:  # a filter that leaves every row has them all compared
            condition = Filter.by_property("document_key").not_equal("00000000-0000-0000-0000-000000000000")

        return await self._unless_missing(self._nearest(vector, k, condition), [])

    async def lexical(self, text: str, k: int, documents: Sequence[str] | None) -> list[Candidate]:
        """Best rows by BM25, best first, for any text."""
        terms = query_terms(text)
        if not terms:
            return []
        condition = _of_documents(documents)

        async def read(client: WeaviateAsyncClient) -> list[Candidate]:
            result = await self._in(client).query.bm25(
                terms, query_properties=["text"], limit=k, filters=condition, return_properties=["document"]
            )
            return _candidates(result.objects)

        return await self._unless_missing(self._connection.read("words", read), [])

    async def scan(self, *, texts: bool, archived: bool) -> AsyncIterator[ScannedChunk]:
        """Read every row's id, in the order of ids."""
        properties = ["document", *(["text"] if texts else [])]
        after = None
        while True:

            async def read(client: WeaviateAsyncClient, after: Any = after) -> list[Any]:
                result = await self._in(client).query.fetch_objects(
                    limit=SCAN_ROWS, after=after, return_properties=properties
                )
                return list(result.objects)

            objects = await self._unless_missing(self._connection.read("all rows", read), [])
            for each in objects:
                text = each.properties["text"] if texts else None
                yield ScannedChunk(
                    chunk_id=str(each.uuid), document=each.properties["document"], archived=archived, text=text
                )
            if not objects:
                return
            after = objects[-1].uuid

    async def count(self) -> int:
        """Rows of the tenant."""

        async def read(client: WeaviateAsyncClient) -> int:
            return (await self._in(client).aggregate.over_all(total_count=True)).total_count or 0

        return await self._unless_missing(self._connection.read("a count", read), 0)

    async def _write(self, rows: Sequence[ChunkRow]) -> None:
        await map_at_once(self._insert_part, batches(rows), AT_ONCE)
        # 1.39 answers before it has handed what it wrote into the vector index to the system, and does so with the
        # next write, which may be one that changes nothing.
        await self._insert_part(rows[-1:])

    async def _unfound(self, rows: Sequence[ChunkRow]) -> list[ChunkRow]:
        """Return those of the rows that a search by vector, within their documents, does not find."""
        found: set[str] = set()
        for part in (rows[start : start + FETCH_ROWS] for start in range(0, len(rows), FETCH_ROWS)):
            documents = sorted({row.document for row in part})
            condition = Filter.by_id().contains_any([row.chunk_id for row in part]) & _of_documents(documents)
            found |= {each.chunk_id for each in await self._nearest(part[0].vector, len(part), condition)}
        return [row for row in rows if row.chunk_id not in found]

    async def _unreached(self, rows: Sequence[ChunkRow]) -> list[ChunkRow]:
        """Return those of the rows that the graph does not lead to, though they are in it."""

        async def is_reached(row: ChunkRow) -> bool:
            nearest = await self._nearest(row.vector, 1, None)
            if [each.chunk_id for each in nearest] == [row.chunk_id]:
                return True
            others = await self._rows([each.chunk_id for each in nearest]) if nearest else []
            return any(np.array_equal(other.vector, row.vector) for other in others)  # as near as itself

        reached = await map_at_once(is_reached, rows, SINGLE_AT_ONCE)
        return [row for row, found in zip(rows, reached, strict=True) if not found]

    async def _remove(self, chunk_ids: Sequence[str]) -> None:
        """Remove objects one by one, which does not depend on any index."""

        async def remove(chunk_id: str) -> None:
            call = self._connection.write("a deletion", lambda client: self._in(client).data.delete_by_id(chunk_id))
            await self._unless_missing(call, None)

        await map_at_once(remove, chunk_ids, SINGLE_AT_ONCE)

    async def _insert_part(self, rows: Sequence[ChunkRow]) -> None:
        waiting = list(rows)
        for attempt in range(TRIES):
            failed = await self._send(waiting)
            if not failed:
                return
            meanings = {meaning_of(message) for message in failed.values()}
            if attempt == TRIES - 1 or meanings & {"poison", "unknown"}:
                raise rows_error(waiting, failed, str(self._connection.address))
            if "missing" in meanings:
                await self._prepare()
            waiting = [waiting[place] for place in sorted(failed)]
            await asyncio.sleep(RETRY_S * 2**attempt)

    async def _send(self, rows: Sequence[ChunkRow]) -> Mapping[int, str]:
        """Write rows in one request; gives, by place in `rows`, what the server said of those it did not take.

        Where a shard takes nothing at all (its disk is full, or it cannot be loaded), 1.39 tells of the first row alone
        and passes the others off as written. So where it tells of any, the rest is looked up.
        """
        objects = [encode(row) for row in rows]

        async def send(client: WeaviateAsyncClient) -> Mapping[int, str]:
            try:
                result = await self._in(client).data.insert_many(objects)
            except WeaviateInsertManyAllFailedError as error:
                return dict.fromkeys(range(len(rows)), str(error))
            return {place: error.message for place, error in result.errors.items()}

        try:
            failed = await self._connection.write("rows", send)
        except Missing as error:  # another process has removed the tenant since
            return dict.fromkeys(range(len(rows)), str(error))
        if not failed or len(failed) == len(rows):
            return failed
        written = await self.ids(row.chunk_id for place, row in enumerate(rows) if place not in failed)
        said = next(iter(failed.values()))
        untold = {place: said for place, row in enumerate(rows) if place not in failed and row.chunk_id not in written}
        return {**failed, **untold}

    async def _prepare(self) -> None:
        """See that the collection and the tenant are there, and that the collection is as we need it."""

        async def prepare(client: WeaviateAsyncClient) -> None:
            await schema.create(client, self._collection, self._replicas)
            collection = client.collections.use(self._collection)
            schema.check(self._collection, await collection.config.get())
            await collection.tenants.create([self._name])

        await self._connection.write("a tenant", prepare)
        self._prepared = True

    async def _rows(self, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        async def read(client: WeaviateAsyncClient) -> list[ChunkRow]:
            result = await self._in(client).query.fetch_objects(
                filters=Filter.by_id().contains_any(chunk_ids),
                limit=len(chunk_ids),
                include_vector=True,
                return_properties=list(schema.ROW_PROPERTIES),
            )
            return [decode(self._tenant, each, self._dim) for each in result.objects]

        return await self._connection.read("rows", read)

    async def _nearest(self, vector: np.ndarray, k: int, condition: Any) -> list[Candidate]:
        async def read(client: WeaviateAsyncClient) -> list[Candidate]:
            result = await self._in(client).query.near_vector(
                vector.tolist(),
                target_vector=schema.VECTOR,
                limit=k,
                filters=condition,
                return_properties=["document"],
            )
            return _candidates(result.objects)

        return await self._connection.read("neighbours", read)

    def _in(self, client: WeaviateAsyncClient) -> Any:
        """The tenant's part of the collection; made once, because making it takes as long as a small call."""
        if self._handle is None:
            self._handle = client.collections.use(self._collection).with_tenant(self._name)
        return self._handle

    @staticmethod
    async def _unless_missing(call: Awaitable[T], otherwise: T) -> T:
        try:
            return await call
        except Missing:
            return otherwise


def _of_documents(documents: Sequence[str] | None) -> Any:
    if documents is None:
        return None
    return Filter.by_property("document_key").contains_any([schema.document_key(each) for each in documents])


def _candidates(objects: Sequence[Any]) -> list[Candidate]:
    return [Candidate(chunk_id=str(each.uuid), document=each.properties["document"]) for each in objects]
