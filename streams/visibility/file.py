"""The visibility table's file: SQLite, with every row under a checksum.

It holds what was folded and how far, in one transaction, so that a start is the file plus the tail of the log. It is a
view: where it cannot be trusted it is put aside and folded again.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from millrace.errors import ConfigurationError
from millrace.events.corpus import Order
from streams.visibility.fold import Access, Version

log = logging.getLogger(__name__)

FORMAT: Final = 2
Row = tuple[Any, ...]
_SCHEMA: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE positions(topic TEXT, partition INTEGER, next INTEGER, horizon INTEGER, checksum INTEGER,
    PRIMARY KEY(topic, partition)) WITHOUT ROWID;
CREATE TABLE documents(id INTEGER PRIMARY KEY, tenant TEXT, name TEXT, checksum INTEGER);
CREATE TABLE versions(id INTEGER PRIMARY KEY, doc INTEGER, event BLOB, offset INTEGER, partition INTEGER,
    source_epoch INTEGER, version INTEGER, generation INTEGER, deleted INTEGER, acl_version INTEGER, n_chunks INTEGER,
    labels TEXT, record BLOB, checksum INTEGER);
CREATE TABLE accesses(id INTEGER PRIMARY KEY, doc INTEGER, event BLOB, offset INTEGER, partition INTEGER,
    version INTEGER, groups TEXT, record BLOB, checksum INTEGER);
CREATE TABLE settled(doc INTEGER PRIMARY KEY, source_epoch INTEGER, version INTEGER, generation INTEGER,
    outcome TEXT, reason TEXT, checksum INTEGER);
CREATE TABLE ended(doc INTEGER, kind TEXT, event BLOB, row INTEGER, ended_us INTEGER, topic TEXT, partition INTEGER,
    offset INTEGER, checksum INTEGER, PRIMARY KEY(doc, kind, event)) WITHOUT ROWID;
"""
# Beside the format: files that were written before it was thought of get it when they are opened.
_UNREAD: Final = """
CREATE TABLE IF NOT EXISTS unread(key BLOB PRIMARY KEY, origin TEXT, record BLOB, checksum INTEGER) WITHOUT ROWID;
"""
_WIDTHS: Final = {"positions": 5, "documents": 4, "versions": 14, "accesses": 9, "settled": 7, "ended": 9, "unread": 4}
_INSERTS: Final = {
    name: f"INSERT OR REPLACE INTO {name} VALUES({','.join('?' * width)})" for name, width in _WIDTHS.items()
}
_encode = msgspec.msgpack.Encoder().encode
_labels = msgspec.json.Decoder(dict[str, str]).decode
_groups = msgspec.json.Decoder(list[str]).decode
to_json = msgspec.json.Encoder().encode


class Damaged(Exception):
    """The file cannot be trusted."""


class Settled(msgspec.Struct, frozen=True, gc=False):
    """Newest DocumentSettled of a document: a change that altered nothing visible."""

    order: Order
    outcome: str
    reason: str


def version_of(row: Row) -> Version:
    """Version of a row of ``versions``."""
    labels = _labels(row[11]) if row[11] else {}
    return Version(row[0], row[3], row[4], (row[5], row[6], row[7]), bool(row[8]), row[9], row[10], labels)


def access_of(row: Row, groups: Callable[[list[str]], frozenset[str]] = frozenset) -> Access:
    """Access of a row of ``accesses``; `groups` makes the set."""
    return Access(row[0], row[3], row[4], row[5], groups(_groups(row[6])))


class TableFile:
    """An open file. One process at a time; one thread writes, reads may come from others.

    Parameters
    ----------
    path : Path
        Created if missing; ``<path>.lock`` beside it is held while it is open.
    log_epoch : str
        Life of the log that offsets in this file belong to; written when the file is new.

    Raises
    ------
    Damaged
        It is no table or was changed by something else.
    ConfigurationError
        Another process holds it, or it was written in a newer format.
    """

    def __init__(self, path: Path, log_epoch: str) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(path)
        try:
            self.writer = self._connect()
            self.reader = self._connect()
            self.log_epoch = self._check(log_epoch)
        except sqlite3.DatabaseError as error:
            self.close()
            raise Damaged(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA page_size=8192")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    def _check(self, log_epoch: str) -> str:
        writer = self.writer
        if not writer.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            writer.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            facts = {"format": str(FORMAT), "log_epoch": log_epoch}
            writer.executemany("INSERT OR REPLACE INTO meta VALUES(?, ?)", facts.items())
        found = writer.execute("PRAGMA quick_check(1)").fetchone()
        if found != ("ok",):
            raise Damaged(f"quick_check says {found}")
        meta = dict(writer.execute("SELECT name, value FROM meta"))
        if not meta.get("format", "").isdigit() or "log_epoch" not in meta:
            raise Damaged("it has no format or log epoch")
        if int(meta["format"]) != FORMAT:
            raise ConfigurationError(
                f"visibility table {self.path} has format {meta['format']}, this release reads {FORMAT}; "
                "use the release that wrote it, or move the file away to have it folded again from the log"
            )
        writer.execute(_UNREAD)
        return str(meta["log_epoch"])

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Write rows under their checksums; the last column is left to them."""
        self.writer.executemany(_INSERTS[table], [(*row, _checksum(table, row)) for row in rows])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all of what the body inserts, or nothing."""
        writer = self.writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:  # a full disk has ended it already
                writer.execute("ROLLBACK")
            raise

    def event(self, kind: str, row: int) -> bytes | None:
        """Event digest of a row of ``versions`` or ``accesses``."""
        sql = f"SELECT event FROM {kind} WHERE id = ?"  # noqa: S608 - names of ours
        found = self.writer.execute(sql, (row,)).fetchone()
        return None if found is None else found[0]

    def unknown_schemas(self) -> set[int]:
        """Ids of schemas that could not be read when their records were passed over."""
        found = self.writer.execute("SELECT value FROM meta WHERE name = 'unknown_schemas'").fetchone()
        return set() if found is None else {int(number) for number in found[0].split()}

    def note_unknown(self, numbers: Collection[int]) -> None:
        """Add schema ids to those that could not be read."""
        if numbers:
            text = " ".join(map(str, sorted(self.unknown_schemas().union(numbers))))
            self.writer.execute("INSERT OR REPLACE INTO meta VALUES('unknown_schemas', ?)", (text,))

    def forget_unread(self, keys: Iterable[bytes]) -> None:
        """Remove rows of ``unread``."""
        self.writer.executemany("DELETE FROM unread WHERE key = ?", [(key,) for key in keys])

    def rows(self, table: str) -> Iterator[Row]:
        """All rows of a table, each checked.

        Raises
        ------
        Damaged
            If a row is not what was written.
        """
        order = "" if table in {"positions", "ended"} else " ORDER BY 1"
        try:
            for row in self.reader.execute(f"SELECT * FROM {table}{order}"):  # noqa: S608 - names of ours
                if row[-1] != _checksum(table, row[:-1]):
                    raise Damaged(f"row {row[0]} of {table} does not match its checksum")
                yield row
        except sqlite3.DatabaseError as error:
            raise Damaged(str(error)) from error

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of a query, from the committed state."""
        return self.reader.execute(sql, values).fetchall()

    def close(self) -> None:
        """Close the file and let go of its lock. Closing twice is harmless."""
        for connection in (getattr(self, "reader", None), getattr(self, "writer", None)):
            if connection is not None:
                connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def put_aside(path: Path, suffix: str) -> Path:
    """Rename a closed file, with what belongs to it, so that another can take its place.

    Parameters
    ----------
    suffix : str
        Becomes part of the new name; a number is added where that is taken.
    """
    n = 0
    while (target := path.with_name(f"{path.name}.{suffix}{f'-{n}' if n else ''}")).exists():
        n += 1
    for end in ("-wal", "-shm", ""):
        part = path.with_name(path.name + end)
        if part.exists():
            part.rename(target.with_name(target.name + end))
    return target


def remove(path: Path) -> None:
    """Delete a closed file with what belongs to it."""
    for end in ("", "-wal", "-shm", ".lock"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def _checksum(table: str, row: Sequence[Any]) -> int:
    return zlib.crc32(_encode(row), len(table))


def _lock(path: Path) -> int:
    handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigurationError(
            f"visibility table {path} is held by another process; give each worker a file of its own, "
            "or stop the other one"
        ) from error
    return handle
