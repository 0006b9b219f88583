"""Chunk rows kept in memory, bounded by bytes.

A row is fixed by its content, so a cached one is never stale; only an erasure has to drop it.
"""

from collections import OrderedDict
from collections.abc import Iterable

from millrace.rows import ChunkRow


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
