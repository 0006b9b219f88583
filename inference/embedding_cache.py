"""Vectors that were computed before, by tenant, model and content hash, in one SQLite file.

A cache: it may be deleted at any time, and one that cannot be read is started anew. Values are opaque bytes; who puts
them says what is in them. Nothing is shared between tenants, so that no tenant can learn what another one stores.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from millrace.errors import Unavailable

T = TypeVar("T")
_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embedding (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    model TEXT NOT NULL,
    hash TEXT NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (tenant, model, hash)
);
"""
_HASHES_PER_QUERY = 500
_ROWS_PER_PRUNE = 200


class EmbeddingCache:
    """Remember encoded vectors, at most so many bytes of them; the oldest go first.

    Several processes may share a file.

    Parameters
    ----------
    path : Path
        The file; its folder is created when missing.
    max_bytes : int, default 1 GiB
        Size of the data in the file. Space of what was dropped is used again, the file does not shrink.
    """

    def __init__(self, path: Path, *, max_bytes: int = 2**30) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedding-cache")
        self._connection = self._thread.submit(self._open).result()

    async def get_many(self, tenant: str, model: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """Return what is known of the hashes, by hash.

        Raises
        ------
        Unavailable
            If the file cannot be used for now: its disk is full, or fails.
        """
        return await self._in_thread(self._get_many, tenant, model, list(dict.fromkeys(hashes)))

    async def put_many(self, tenant: str, model: str, values: Mapping[str, bytes]) -> None:
        """Remember values by hash; one that is known already is left as it is; errors as of `get_many`."""
        if values:
            await self._in_thread(self._put_many, tenant, model, dict(values))

    async def delete_tenant(self, tenant: str) -> None:
        """Forget everything of a tenant; the bytes are overwritten in the file."""
        await self._in_thread(self._delete_tenant, tenant)

    def close(self) -> None:
        """Close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"the embedding cache {self._path} cannot be used ({error}); free space on its disk, or name a folder "
                "on another one by the setting `stores.state`"
            ) from error

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._connect()
        except sqlite3.OperationalError:  # locked, or no space: not the file's fault
            raise
        except sqlite3.DatabaseError:
            _log.warning("the embedding cache %s is damaged and is started anew", self._path)
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA secure_delete = ON")
            connection.executescript(_SCHEMA)
            connection.execute("SELECT id FROM embedding LIMIT 1").fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _get_many(self, tenant: str, model: str, hashes: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for start in range(0, len(hashes), _HASHES_PER_QUERY):
            part = hashes[start : start + _HASHES_PER_QUERY]
            marks = ",".join("?" * len(part))
            found.update(
                self._connection.execute(
                    f"SELECT hash, value FROM embedding WHERE tenant = ? AND model = ? AND hash IN ({marks})",  # noqa: S608
                    (tenant, model, *part),
                )
            )
        return found

    def _put_many(self, tenant: str, model: str, values: Mapping[str, bytes]) -> None:
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO embedding (tenant, model, hash, value) VALUES (?, ?, ?, ?)",
                [(tenant, model, content_hash, value) for content_hash, value in values.items()],
            )
        while self._used_bytes() > self._max_bytes and self._prune():
            pass

    def _delete_tenant(self, tenant: str) -> None:
        with self._transaction() as connection:
            connection.execute("DELETE FROM embedding WHERE tenant = ?", (tenant,))
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _used_bytes(self) -> int:
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _prune(self) -> int:
        with self._transaction() as connection:
            oldest = "SELECT id FROM embedding ORDER BY id LIMIT ?"
            return connection.execute(
                f"DELETE FROM embedding WHERE id IN ({oldest})",  # noqa: S608  # a constant
                (_ROWS_PER_PRUNE,),
            ).rowcount

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
