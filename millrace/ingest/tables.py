"""Tables of SQL databases as a source, read by an incremental cursor through dlt."""

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import dlt
import msgspec
import sqlalchemy as sa
from dlt.common.exceptions import DltException
from dlt.sources.sql_database import sql_table
from sqlalchemy.exc import SQLAlchemyError

from millrace.errors import InputRejected, Unavailable
from millrace.ingest.memory import Memory, RememberingSource, Seen
from millrace.ingest.row import id_part, row_as_json, titled
from millrace.ingest.source import Document, Held

_CHUNK: Final = 500
_CURSOR: Final = " cursor"
"""Where the cursor stands in the memory; no document's id begins with a blank table name."""
_FILES: Final = frozenset({"sqlite", "duckdb"})
OVERLAP: Final = dt.timedelta(minutes=1)
"""Read again, because transactions commit later than the times that they write."""


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """What the columns of a table mean.

    Attributes
    ----------
    cursor : str
        Grows with each change of a row, such as ``updated_at``; empty to read the whole table each time.
    key : tuple of str
        Names a row; by default the primary key.
    content : str
        Holds the text, Markdown; empty to take the whole row, as JSON.
    title : str
        Holds the title, which becomes the heading above the text.
    deleted : str
        True, or not null, in rows that stand for a deletion.
    """

    cursor: str = ""
    key: tuple[str, ...] = ()
    content: str = ""
    title: str = ""
    deleted: str = ""


class TableSource(RememberingSource):
    """A table; an id is its name and the row's key, as in ``notes/17``.

    Parameters
    ----------
    url : str
        SQLAlchemy's URL of the database.
    table : str
        The table, with its schema if it has one: ``crm.notes``.
    columns : Columns
        What its columns mean.
    memory : Memory
        How far it was read.

    Raises
    ------
    InputRejected
        There is no such database driver, table or column.
    Unavailable
        The database does not answer.
    """

    def __init__(
        self,
        url: str,
        table: str,
        columns: Columns,
        memory: Memory,
        *,
        name: str,
        prefix: str = "",
        max_bytes: int,
    ) -> None:
        super().__init__(name, prefix, memory)
        self._columns = columns
        self._max_bytes = max_bytes
        schema, _, self._table = table.rpartition(".")
        self._schema = schema or None
        self._engine, found = _reflect(url, self._table, self._schema)
        self._key = columns.key or tuple(column.name for column in found.primary_key)
        self._found = found
        _check(found, columns, self._key)

    async def documents(self, held: Held) -> AsyncGenerator[Document, None]:
        """Rows since the cursor; all of them, when the log does not hold what earlier runs gave it."""
        self.skipped = []
        seen = self._memory.seen
        stands = all(held(name) == known.sha256 for name, known in seen.items() if name != _CURSOR)
        rows = self._rows(_decode(seen[_CURSOR].stamp) if stands and _CURSOR in seen else None)
        newest: Any = None
        while batch := await asyncio.to_thread(self._take, rows):
            for row in batch:
                value = row.get(self._columns.cursor) if self._columns.cursor else None
                newest = value if newest is None or (value is not None and value > newest) else newest
                document = self._document(row)
                if document is None:
                    continue
                if document.content is None:
                    seen.pop(document.id, None)
                else:
                    seen[document.id] = Seen(sha256=hashlib.sha256(document.content).hexdigest())
                yield document
        if newest is not None:
            seen[_CURSOR] = Seen(stamp=_encode(newest))

    async def lost(self, documents: Collection[str]) -> set[str]:
        """Documents of this table whose row is gone."""
        mine = f"{self._prefix}{self._table}/"

        def keys() -> set[str]:
            with self._engine.connect() as connection:
                chosen = sa.select(*(self._found.c[name] for name in self._key))
                return {self._id(row) for row in connection.execute(chosen).mappings()}

        try:
            there = await asyncio.to_thread(keys)
        except SQLAlchemyError as error:
            raise _unavailable(self.name, error) from error
        lost = {document for document in documents if document.startswith(mine) and document not in there}
        for document in lost:
            self._memory.seen.pop(document, None)
        return lost

    async def close(self) -> None:
        """Close connections."""
        await asyncio.to_thread(self._engine.dispose)

    def _rows(self, since: Any) -> Iterator[Mapping[str, Any]]:
        incremental = None
        if self._columns.cursor:
            start = since - OVERLAP if isinstance(since, dt.datetime) else since
            incremental = dlt.sources.incremental(
                self._columns.cursor, initial_value=start, on_cursor_value_missing="include"
            )
        return iter(
            sql_table(
                credentials=self._engine,
                table=self._table,
                schema=self._schema,
                incremental=incremental,
                backend="sqlalchemy",
                chunk_size=_CHUNK,
            )
        )

    def _take(self, rows: Iterator[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        try:
            return list(islice(rows, _CHUNK))
        except (SQLAlchemyError, DltException) as error:
            raise _unavailable(self.name, error) from error

    def _document(self, row: Mapping[str, Any]) -> Document | None:
        columns = self._columns
        name = self._id(row)
        if columns.deleted and row[columns.deleted] not in (None, False, ""):
            return Document(id=name, state="deleted")
        if columns.content:
            content = _text(row, columns).encode()
        else:
            taken = {k: v for k, v in row.items() if k not in {columns.cursor, columns.deleted}}
            content = row_as_json(taken)
        if len(content) > self._max_bytes:
            message = f"the row has {len(content)} bytes, at most {self._max_bytes} are taken; raise --max-bytes"
            self._skip(name, "too_large", message)
            return None
        return Document(
            id=name,
            media_type="text/markdown" if columns.content else "application/x-ndjson",
            content=content,
        )

    def _id(self, row: Mapping[str, Any] | sa.RowMapping) -> str:
        return f"{self._prefix}{self._table}/{'/'.join(id_part(row[name]) for name in self._key)}"


def _text(row: Mapping[str, Any], columns: Columns) -> str:
    """Text of a row, below its title."""
    found = row[columns.content]
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else str("" if found is None else found)
    return titled(row[columns.title] if columns.title else "", text)


def _reflect(url: str, table: str, schema: str | None) -> tuple[sa.Engine, sa.Table]:
    try:
        engine = sa.create_engine(url)
    except (sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise InputRejected(
            f"the database cannot be opened: {error}; correct the URL, or install its driver"
        ) from error
    except (sa.exc.ArgumentError, ValueError) as error:  # what it says may quote a password
        wanted = "dialect+driver://user@host:port/database, with special characters as %XX"
        raise InputRejected(f"this is no URL of a database; write it as {wanted}") from error
    _require_file(engine.url)
    try:
        return engine, sa.Table(table, sa.MetaData(), schema=schema, autoload_with=engine)
    except sa.exc.NoSuchTableError as error:
        names = ", ".join(sorted(sa.inspect(engine).get_table_names(schema=schema))[:20]) or "none"
        engine.dispose()
        raise InputRejected(f"there is no table {table!r}; the database has: {names}") from error
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unavailable(engine.url.render_as_string(hide_password=True), error) from error


def _require_file(url: sa.URL) -> None:
    """Refuse a database of one file that is not there: its driver would make an empty one."""
    name = url.database or ""
    path = urlsplit(name).path if name.startswith("file:") else name
    if url.get_backend_name() in _FILES and path not in {"", ":memory:"} and not Path(path).is_file():
        slashes = "a relative path has three slashes, an absolute one four"
        raise InputRejected(f"there is no database {path}; correct the URL ({slashes})")


def _check(table: sa.Table, columns: Columns, key: tuple[str, ...]) -> None:
    if not key:
        raise InputRejected(f"table {table.name!r} has no primary key; name what identifies a row: --column key=COLUMN")
    for name in (*key, columns.cursor, columns.content, columns.title, columns.deleted):
        if name and name not in table.c:
            raise InputRejected(f"table {table.name!r} has no column {name!r}; it has: {', '.join(table.c.keys())}")


def _unavailable(name: str, error: Exception) -> Unavailable:
    return Unavailable(f"{name} cannot be read: {str(error).partition(chr(10))[0]}; is the database running?")


def _encode(value: Any) -> str:
    """Text of a cursor's value, with its kind."""
    kind = type(value).__name__
    return f"{kind} {value.isoformat() if isinstance(value, (dt.datetime, dt.date)) else value}"


def _decode(text: str) -> Any:
    kind, _, value = text.partition(" ")
    read: dict[str, Callable[[str], Any]] = {
        "int": int,
        "float": float,
        "str": str,
        "Decimal": Decimal,
        "datetime": dt.datetime.fromisoformat,
        "date": dt.date.fromisoformat,
    }
    return read[kind](value) if kind in read else None
