"""What tables and columns mean: a TOML file, read once and checked before anything starts."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Final, Literal

import msgspec

from millrace.errors import ConfigurationError
from millrace.groups import EVERYONE
from millrace.ingest.row import id_part
from millrace.ingest.source import Trust

_NAME: Final = re.compile(r"[a-z0-9_]{1,40}")
_TABLE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
MAX_EPOCH: Final = 63


class TableMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the columns of a table mean.

    Attributes
    ----------
    key : tuple of str
        Names a row; by default the primary key.
    id : str
        Template of the document's id, such as ``notes/{org}/{id}``; needs `key` and names all of its columns. By
        default the table's name and the key: ``notes/17``.
    content : tuple of str or str
        Hold the text, Markdown, in this order; empty to take the whole row, as JSON.
    title : str
        Holds the title, which becomes the heading above the text.
    deleted : str
        True, or not null, in rows that stand for a deletion.
    labels, label_columns : dict of str to str
        Labels that all rows have; columns that hold further ones, by label.
    groups : tuple of str or None
        Groups that may read every row; by default those of the mapping.
    groups_column : str
        Holds the groups that may read a row: an array, or text with commas. Nothing there is nobody.
    tenant, tenant_column : str
        Tenant of every row, by default that of the mapping; or the column of `key` that names it.
    source : str
        Name of the source; by default database and table, as of ``millrace ingest``.
    trust : {"trusted", "untrusted"}
        Trust tier.
    """

    key: tuple[str, ...] = ()
    id: str = ""
    content: tuple[str, ...] | str = ()
    title: str = ""
    deleted: str = ""
    labels: dict[str, str] = {}
    label_columns: dict[str, str] = {}
    groups: tuple[str, ...] | None = None
    groups_column: str = ""
    tenant: str = ""
    tenant_column: str = ""
    source: str = ""
    trust: Trust = "trusted"

    @property
    def texts(self) -> tuple[str, ...]:
        """Columns that hold the text."""
        return (self.content,) if isinstance(self.content, str) else self.content

    def document_id(self, table: str, key: Mapping[str, Any]) -> str:
        """Document id of the row with this key; `table` is its name without the schema."""
        if self.id:
            return self.id.format_map({name: id_part(value) for name, value in key.items()})
        return f"{table}/{'/'.join(id_part(key[name]) for name in self.key or key)}"


class CaptureMapping(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to capture of one database.

    Attributes
    ----------
    name : str
        Debezium's ``topic.prefix``: a table's topic is ``<name>.<schema>.<table>``.
    tables : dict of str to TableMapping
        By name with schema, ``public.notes``.
    epoch : int
        Raise it when the database counts its positions anew: restored from a dump, or replaced by another server.
    tenant : str
        Tenant of the documents where a table names none.
    groups : tuple of str
        Groups that may read them, where a table names none; ``*`` is everyone in the tenant.
    """

    name: str
    tables: dict[str, TableMapping]
    epoch: int = 0
    tenant: str = "default"
    groups: tuple[str, ...] = (EVERYONE,)
    format: Literal[1] = 1

    def topic(self, table: str) -> str:
        """Name of the topic that Debezium writes a table's changes to."""
        return f"{self.name}.{table}"


def read_mapping(path: Path) -> CaptureMapping:
    """Read and check a mapping file.

    Raises
    ------
    ConfigurationError
        It is missing or wrong; the message says where and what is allowed.
    """
    try:
        found = msgspec.toml.decode(path.read_bytes(), type=CaptureMapping)
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"mapping {path} does not exist; name one by the setting capture.mapping (docs/how-to/capture-changes.md)"
        ) from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ConfigurationError(f"mapping {path}: {error}{_known_names(str(error))}") from error
    if problems := list(_problems(found)):
        raise ConfigurationError(f"mapping {path}: {'; '.join(problems)}")
    return found


def _known_names(error: str) -> str:
    if "unknown field" not in error:
        return ""
    struct = TableMapping if "$.tables[" in error else CaptureMapping
    return f"; known: {', '.join(sorted(struct.__struct_fields__))}"


def _problems(mapping: CaptureMapping) -> Iterator[str]:
    if not _NAME.fullmatch(mapping.name):
        yield f"name {mapping.name!r} must be 1 to 40 lower-case letters, digits and '_': slots allow no more"
    if not 0 <= mapping.epoch <= MAX_EPOCH:
        yield f"epoch {mapping.epoch} must be 0 to {MAX_EPOCH}"
    if not mapping.tenant:
        yield "tenant is empty; name one"
    if not mapping.tables:
        yield 'no table is named; add one: [tables."public.notes"]'
    heads: dict[str, str] = {}
    for name, table in mapping.tables.items():
        yield from (f"table {name!r}: {problem}" for problem in _table_problems(name, table))
        head = _head(name, table)
        for other, head_of_other in heads.items():
            if head.startswith(head_of_other) or head_of_other.startswith(head):
                yield f"tables {other!r} and {name!r} may give two rows the same id; begin each with its own: id = ..."
        heads[name] = head


def _head(name: str, table: TableMapping) -> str:
    """What all ids of a table begin with."""
    try:
        return next((literal for literal, _, _, _ in Formatter().parse(table.id)), "") or f"{name.rpartition('.')[2]}/"
    except ValueError:
        return name


def _table_problems(name: str, table: TableMapping) -> Iterator[str]:
    if not _TABLE.fullmatch(name):
        yield "write schema and table, as in 'public.notes', with letters, digits, '_' and '-' alone"
    if table.tenant and table.tenant_column:
        yield "tenant and tenant_column exclude each other"
    if table.groups is not None and table.groups_column:
        yield "groups and groups_column exclude each other"
    if "" in (table.groups or ()):
        yield "a group needs a name; everyone in the tenant is '*'"
    if table.tenant_column and table.tenant_column not in table.key:
        yield (
            f"tenant_column {table.tenant_column!r} must be one of key ({', '.join(table.key) or 'none given'}): of a "
            "deleted row only its key is known for certain"
        )
    if both := sorted(set(table.labels) & set(table.label_columns)):
        yield f"label {both[0]!r} stands in labels and in label_columns; keep one"
    if table.id:
        yield from _template_problems(table)


def _template_problems(table: TableMapping) -> Iterator[str]:
    try:
        parts = list(Formatter().parse(table.id))
    except ValueError as error:
        yield f"id {table.id!r} is no template ({error}); write columns in braces: notes/{{id}}"
        return
    fields = [field for _, field, _, _ in parts if field is not None]
    if any(spec or conversion for _, _, spec, conversion in parts):
        yield f"id {table.id!r} has a format or conversion; write columns alone in braces: notes/{{id}}"
    if sorted(fields) != sorted(table.key):
        yield f"id {table.id!r} must name each column of key ({', '.join(table.key) or 'none given'}) once"
    between = [literal for literal, field, _, _ in parts[1:] if field is not None]
    if any("/" not in literal for literal in between):
        yield f"id {table.id!r} needs a '/' between two columns, or different rows could get the same id"
    if parts and not parts[0][0]:
        yield f"id {table.id!r} must begin with a text of its own, such as notes/, or tables could share ids"
