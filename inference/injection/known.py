"""Outcomes of scans of documents, kept on disk by tenant, rules and text, so that a restart scans nothing again."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Final

import msgspec

from inference.embedding_cache import EmbeddingCache
from millrace.findings import Scan

RULES: Final = "1"
"""Generation of the rules: raise it when they change, and all is scanned anew."""
_MAX_BYTES: Final = 256 * 2**20
_IN_MEMORY: Final = 10_000


class KnownScans:
    """Remembers scans in a file, and the latest in memory as well.

    Parameters
    ----------
    path : Path
        The file, of this process alone or shared; it may be deleted at any time.
    rules : str
        Generation of the rules; outcomes of other generations are not found.
    """

    def __init__(self, path: Path, *, rules: str = RULES) -> None:
        self._kept = EmbeddingCache(path, max_bytes=_MAX_BYTES)
        self._rules = f"scan@{rules}"
        self._latest: OrderedDict[tuple[str, str], Scan] = OrderedDict()

    async def get(self, tenant: str, ref: str) -> Scan | None:
        """Outcome for the text of an object, if it was scanned by these rules.

        Raises
        ------
        Unavailable
            If the file cannot be used for now.
        """
        scan = self._latest.get((tenant, ref))
        if scan is None:
            found = await self._kept.get_many(tenant, self._rules, [ref])
            if ref not in found:
                return None
            scan = msgspec.msgpack.decode(found[ref], type=Scan)
            self._remember(tenant, ref, scan)
        return scan

    async def put(self, tenant: str, ref: str, scan: Scan) -> None:
        """Remember an outcome; errors as of `get`."""
        self._remember(tenant, ref, scan)
        await self._kept.put_many(tenant, self._rules, {ref: msgspec.msgpack.encode(scan)})

    def close(self) -> None:
        """Close the file."""
        self._kept.close()

    def _remember(self, tenant: str, ref: str, scan: Scan) -> None:
        self._latest[tenant, ref] = scan
        while len(self._latest) > _IN_MEMORY:
            self._latest.popitem(last=False)
