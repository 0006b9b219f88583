"""Debezium's records of Postgres as events: JSON, with or without its schema beside it.

A change carries the position of its own record in the database's log (LSN) and that of the last commit before its
transaction. The pair grows in the order in which transactions became visible, and within one; the record's own position
alone does not, because a transaction may write first and commit last.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

import msgspec

from millrace.errors import InputRejected, MillraceError, UndecodableRecord
from millrace.event import Event, Meta, Origin, attach
from millrace.ids import derived
from streams.sources.cdc.mapping import CaptureMapping, TableMapping

_POSITION_BITS: Final = 56
"""The epoch stands above these bits; a database would have to write 64 PiB to reach it."""

_OPS: Final[Mapping[str, Literal["upsert", "delete", "none"]]] = {
    "r": "upsert",
    "c": "upsert",
    "u": "upsert",
    "d": "delete",
    "m": "none",
}


class Position(NamedTuple):
    """Where a change stands in the log of its database, in bytes.

    Attributes
    ----------
    commit : int
        End of the last commit before the change's transaction.
    lsn : int
        The change itself.
    """

    commit: int
    lsn: int

    def order(self, epoch: int) -> tuple[int, int]:
        """``(source_epoch, version)`` of the document's version."""
        return (epoch << _POSITION_BITS) | self.commit, self.lsn

    def acl_version(self, epoch: int) -> int:
        """Version of the document's access: one number, so changes of one transaction may share it.

        Of two access records with the same version the later one in the log counts.
        """
        return (epoch << _POSITION_BITS) | max(self)


class RowChanged(Event, frozen=True, kw_only=True):
    """A row of a captured table was written or removed; lives between a record of Debezium and the agent."""

    namespace: ClassVar[str] = "millrace.capture"

    tenant: Annotated[str, "Tenant of the row."]
    database: Annotated[str, "Database of the table."] = ""
    table: Annotated[str, "Table with its schema."]
    op: Annotated[Literal["upsert", "delete", "none"], "What happened; none for a tombstone after a deletion."]
    key: Annotated[str, "Key columns, as JSON."] = "{}"
    before: Annotated[str | None, "Row before, as JSON, where the database tells it."] = None
    after: Annotated[str | None, "Row after, as JSON."] = None
    read: Annotated[bool, "Whether a snapshot read the row, which no change names."] = False
    commit: Annotated[int, "End of the last commit before the transaction, in bytes of the database's log."] = 0
    lsn: Annotated[int, "Position of the change, in bytes of the database's log."] = 0

    @property
    def position(self) -> Position:
        """Where it stands in the log of its database."""
        return Position(self.commit, self.lsn)


class _Source(msgspec.Struct):
    connector: str = ""
    db: str = ""
    lsn: int | None = None
    sequence: str | None = None
    ts_us: int = 0


class _Record(msgspec.Struct):
    op: str | None = None
    source: _Source | None = None
    before: msgspec.Raw = msgspec.Raw()
    after: msgspec.Raw = msgspec.Raw()
    payload: msgspec.Raw = msgspec.Raw()


_Sequence = tuple[str | None, str | None]
"""End of the last commit, and the change itself; digits, because JSON's numbers are too short for some readers."""

Read = Callable[[bytes | None, bytes | None, Sequence[tuple[str, bytes]], Origin], Event]


def reader(mapping: CaptureMapping, table: str) -> Read:
    """What reads the records of a table's topic.

    Returns
    -------
    callable
        ``read(key, value, headers, origin)`` gives a `RowChanged`. It raises `UndecodableRecord` for what is no
        envelope, and `InputRejected` for what no event can stand for, such as a truncated table.
    """
    meaning = mapping.tables[table]

    def read(key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]], origin: Origin) -> Event:
        try:
            return _read(mapping, table, meaning, key, value, headers, origin)
        except MillraceError:
            raise
        except (msgspec.MsgspecError, ValueError, TypeError) as error:
            raise UndecodableRecord(
                f"the record at {origin} is no change of {table} as Debezium writes it in JSON ({error}); set the "
                "connector's converters to org.apache.kafka.connect.json.JsonConverter"
            ) from error

    return read


def _read(
    mapping: CaptureMapping,
    table: str,
    meaning: TableMapping,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]],
    origin: Origin,
) -> Event:
    columns = _key(key)
    if value is None:
        # The envelope before it says the same with a position, and topics of captured tables are not compacted.
        event = RowChanged(tenant=_tenant(mapping, meaning, table, columns), table=table, op="none")
        return _attach(event, headers, origin, str(origin), 0)
    record = msgspec.json.decode(value, type=_Record)
    if record.op is None and bytes(record.payload):
        record = msgspec.json.decode(record.payload, type=_Record)
    if record.op is None or record.source is None:
        raise UndecodableRecord(f"the record at {origin} has no `op` and `source`: it is no envelope of Debezium")
    if record.op == "t":
        raise InputRejected(
            f"table {table} was truncated, and a truncation names no row: its documents stand. Delete them with "
            "`millrace ingest --sync`, and prefer DELETE to TRUNCATE"
        )
    if record.op not in _OPS:
        raise UndecodableRecord(f"the record at {origin} has op {record.op!r}; known are {', '.join(_OPS)} and t")
    if record.op != "m" and not columns:
        raise InputRejected(
            f"the record at {origin} has no key: {table} has no primary key; name what identifies a row: key = [...]"
        )
    position = _position(record.source, origin)
    event = RowChanged(
        tenant=_tenant(mapping, meaning, table, columns),
        database=record.source.db,
        table=table,
        op=_OPS[record.op],
        key=msgspec.json.encode(columns).decode(),
        before=_text(record.before),
        after=_text(record.after),
        read=record.op == "r",
        commit=position.commit,
        lsn=position.lsn,
    )
    if event.op == "upsert" and event.after is None:
        raise UndecodableRecord(f"the record at {origin} has op {record.op!r} without the row after it")
    identity = f"{mapping.epoch}.{position.commit}.{position.lsn}.{record.op}"
    return _attach(event, headers, origin, identity, record.source.ts_us)


def _attach(
    event: RowChanged, headers: Sequence[tuple[str, bytes]], origin: Origin, identity: str, time_us: int
) -> RowChanged:
    """Metadata of a change: its id follows from its position in the database, so a redelivery has the same."""
    found = dict(headers)
    meta = Meta(
        id=derived("capture", origin.topic, event.tenant, event.key, identity),
        type=event.type_name(),
        source=f"debezium/{origin.topic}",
        time_us=time_us,
        tenant=event.tenant,
        traceparent=found.get("traceparent", b"").decode(errors="replace"),
        origin=origin,
    )
    return attach(event, meta)


def _position(source: _Source, origin: Origin) -> Position:
    """Position of a change; Debezium leaves `lsn` out of what an incremental snapshot read, never `sequence`."""
    first, second = msgspec.json.decode(source.sequence, type=_Sequence) if source.sequence else (None, None)
    lsn = int(second) if second else source.lsn
    if source.connector != "postgresql" or lsn is None:
        raise UndecodableRecord(
            f"the record at {origin} comes from connector {source.connector!r} and has lsn {lsn}; changes are ordered "
            "by the positions of Debezium's Postgres connector"
        )
    # Without a commit before it, it is of a snapshot before the stream, or of the first transaction of a slot.
    found = Position(int(first) if first else lsn, lsn)
    if not all(0 <= each < 1 << _POSITION_BITS for each in found):
        raise UndecodableRecord(f"the record at {origin} has position {tuple(found)}, out of 0 to 2**{_POSITION_BITS}")
    return found


def _key(key: bytes | None) -> dict[str, Any]:
    if key is None:
        return {}
    found = msgspec.json.decode(key, type=dict[str, Any] | None) or {}
    if set(found) == {"schema", "payload"}:
        found = msgspec.convert(found["payload"] or {}, dict[str, Any])
    return found


def _tenant(mapping: CaptureMapping, meaning: TableMapping, table: str, key: Mapping[str, Any]) -> str:
    if not meaning.tenant_column:
        return meaning.tenant or mapping.tenant
    found = key.get(meaning.tenant_column)
    if found is None or found == "":
        raise InputRejected(
            f"a row of {table} has no tenant in its key: column {meaning.tenant_column!r}, found "
            f"{', '.join(key) or 'no key'}; make it part of the connector's message.key.columns"
        )
    return str(found)


def _text(raw: msgspec.Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text in {"", "null"} else text
