"""Chunk rows kept in memory, bounded by bytes.

A row is fixed by its content, so a cached one is never stale; only an erasure has to drop it.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from millrace.rows import ChunkRow

Table = Callable[[Sequence[str]], Awaitable[Iterable[ChunkRow]]]
"""Reads the rows that it has of so many chunk ids."""


class RowCache:
    """Least recently used rows go first.

    Parameters
    ----------
    max_bytes : int
        Memory the rows may take; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rows: OrderedDict[tuple[str, str], ChunkRow] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, tenant: str, chunk_id: str) -> ChunkRow | None:
        """Return a row and mark it as used, or None."""
        row = self._rows.get((tenant, chunk_id))
        if row is not None:
            self._rows.move_to_end((tenant, chunk_id))
        return row

    async def fetch(self, tenant: str, chunk_ids: Sequence[str], tables: Iterable[Table]) -> list[ChunkRow]:
        """Rows in the order asked for; one that is not kept comes from the first table that has it, or is left out.

        Parameters
        ----------
        tenant : str
            Whose rows.
        chunk_ids : sequence of str
            Which.
        tables : iterable of callable
            Read rows by chunk id, in any order; asked one after the other for what is still missing.
        """
        found = {chunk_id: row for chunk_id in chunk_ids if (row := self.get(tenant, chunk_id)) is not None}
        for table in tables:
            missing = [chunk_id for chunk_id in dict.fromkeys(chunk_ids) if chunk_id not in found]
            if missing:
                read = {row.chunk_id: row for row in await table(missing)}
                self.put(read.values())
                found |= read
        return [found[chunk_id] for chunk_id in chunk_ids if chunk_id in found]

    def put(self, rows: Iterable[ChunkRow]) -> None:
        """Keep rows, dropping the least recently used ones where they do not fit."""
        for row in rows:
            key = (row.tenant, row.chunk_id)
            if key not in self._rows:
                self._rows[key] = row
                self.nbytes += row.nbytes
        while self.nbytes > self._max_bytes:
            _, dropped = self._rows.popitem(last=False)
            self.nbytes -= dropped.nbytes

    def drop(self, tenant: str, chunk_ids: Iterable[str]) -> None:
        """Forget rows; ids that are not kept are ignored."""
        for chunk_id in chunk_ids:
            row = self._rows.pop((tenant, chunk_id), None)
            if row is not None:
                self.nbytes -= row.nbytes

    def drop_tenant(self, tenant: str) -> None:
        """Forget every row of a tenant."""
        self.drop(tenant, [chunk_id for owner, chunk_id in list(self._rows) if owner == tenant])
