"""A row as a document: its id, its text, its labels, who may read it. Pure."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from millrace.errors import InputRejected
from millrace.ingest.row import row_as_json, titled
from millrace.ingest.source import Trust
from streams.sources.cdc.envelope import RowChanged
from streams.sources.cdc.mapping import CaptureMapping, TableMapping

_UNAVAILABLE: Final = "__debezium_unavailable_value"
_UNAVAILABLE_BASE64: Final = base64.b64encode(_UNAVAILABLE.encode()).decode()


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says.

    Attributes
    ----------
    data : bytes
        UTF-8.
    labels : dict of str to str
        To filter by.
    """

    data: bytes
    media_type: str
    labels: dict[str, str]


class Row:
    """A changed row in the light of its table's mapping.

    Parameters
    ----------
    mapping : CaptureMapping
        Says what the table's columns mean.
    change : RowChanged
        What happened to it.
    """

    def __init__(self, mapping: CaptureMapping, change: RowChanged) -> None:
        self._mapping = mapping
        self._change = change
        self._meaning: TableMapping = mapping.tables[change.table]
        self._columns = _columns(change)

    @property
    def document(self) -> str:
        """Id of its document.

        Raises
        ------
        InputRejected
            The record's key lacks a column of the mapping's.
        """
        key: dict[str, Any] = msgspec.json.decode(self._change.key)
        if missing := [name for name in self._meaning.key if key.get(name) is None]:
            raise InputRejected(
                f"the key of a row of {self._change.table} has no {missing[0]!r}, it has {', '.join(key) or 'nothing'};"
                " the connector's message.key.columns must name the mapping's key"
            )
        return self._meaning.document_id(self._change.table.rpartition(".")[2], key)

    @property
    def source(self) -> str:
        """Name of the source that owns the document."""
        table = self._change.table
        return self._meaning.source or f"{self._change.database}.{table.removeprefix('public.')}"

    @property
    def trust(self) -> Trust:
        """Trust tier."""
        return self._meaning.trust

    @property
    def deleted(self) -> bool:
        """Whether the row is gone, or says that it is.

        Raises
        ------
        InputRejected
            The table has no such column.
        """
        if self._change.op == "delete":
            return True
        return bool(self._meaning.deleted) and self._value(self._meaning.deleted) not in (None, False, "")

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that may read it; none is nobody.

        Raises
        ------
        InputRejected
            The column is missing, or holds neither an array of names nor text.
        """
        column = self._meaning.groups_column
        if not column:
            chosen = self._meaning.groups if self._meaning.groups is not None else self._mapping.groups
            return tuple(sorted(set(chosen)))
        found = self._value(column)
        names = found.split(",") if isinstance(found, str) else found if found is not None else []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise InputRejected(
                f"column {column!r} of {self._change.table} holds {type(found).__name__}; groups are an array of "
                "names, or text with commas"
            )
        return tuple(sorted({name.strip() for name in names} - {""}))

    def content(self) -> Content:
        """What it says.

        Raises
        ------
        InputRejected
            A column is missing, or its value was not sent.
        """
        meaning = self._meaning
        labels = {label: self._value(column) for label, column in meaning.label_columns.items()}
        found = {label: _plain(value) for label, value in labels.items() if value is not None}
        if not meaning.texts:
            left_out = {meaning.deleted, meaning.groups_column}
            rest = {name: self._value(name) for name in self._columns if name not in left_out}
            data, media_type = row_as_json(rest), "application/x-ndjson"
        else:
            parts = [_plain(value) for value in map(self._value, meaning.texts) if value is not None]
            title = self._value(meaning.title) if meaning.title else ""
            text = titled(_plain(title) if title is not None else "", "\n\n".join(filter(None, parts)))
            data, media_type = text.encode("utf-8", "replace"), "text/markdown"
        return Content(data=data, media_type=media_type, labels={**meaning.labels, **found})

    def _value(self, column: str) -> Any:
        if column not in self._columns:
            raise InputRejected(
                f"table {self._change.table} has no column {column!r} any more, or never had; it has "
                f"{', '.join(self._columns) or 'none'}: change the mapping"
            )
        found = self._columns[column]
        if _is_unavailable(found):
            raise InputRejected(
                f"column {column!r} of {self._change.table} did not change and is stored apart, so its value was not "
                f"sent; ALTER TABLE {self._change.table} REPLICA IDENTITY FULL, then write the row again"
            )
        return found


def _columns(change: RowChanged) -> Mapping[str, Any]:
    """Columns of the row; what was not sent because it did not change is taken from the row before, if that was."""
    after: dict[str, Any] = msgspec.json.decode(change.after) if change.after else {}
    if change.before and any(map(_is_unavailable, after.values())):
        before: dict[str, Any] = msgspec.json.decode(change.before)
        after = {name: before.get(name, value) if _is_unavailable(value) else value for name, value in after.items()}
    return after


def _is_unavailable(value: Any) -> bool:
    if isinstance(value, str):
        return value in {_UNAVAILABLE, _UNAVAILABLE_BASE64}
    return isinstance(value, (list, dict)) and _UNAVAILABLE in value


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, (str, int, float)) for each in value):
        return ", ".join(map(str, value))
    return msgspec.json.encode(value).decode()
