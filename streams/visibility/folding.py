"""Fold one batch of records into a table: rows, positions and memory change together or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from millrace.codec import Codec, ConsumedRecord
from millrace.errors import ContractError, UnknownSchema
from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, Topic
from streams.visibility.file import Row, Settled, TableFile, to_json
from streams.visibility.fold import UNKNOWN, Access, Document, Version, fold_access, fold_version
from streams.visibility.packing import Name, RecordBytes, pack
from streams.visibility.reading import VersionReader, Walked
from streams.visibility.state import State
from streams.visibility.versions import chunk_digests

FOLDED: Mapping[str, Topic] = {topic.name: topic for topic in (DOCUMENT_INDEXED, ACL_CHANGED, DOCUMENT_SETTLED)}
"""The topics that the table folds, by name."""

_TABLES = ("documents", "versions", "accesses", "settled", "ended", "positions", "unread")


class FoldReport(msgspec.Struct):
    """What became of a batch.

    Attributes
    ----------
    n_folded : int
        Records that changed the state.
    n_repeated : int
        Records whose id or offset had been folded before.
    undecodable : list of (Origin, ContractError)
        Records that are no events of ours: passed over, never visible.
    unknown_schemas : set of int
        Schema ids for which there was no schema: see `VisibilityTable.open`.
    """

    n_folded: int = 0
    n_repeated: int = 0
    undecodable: list[tuple[Origin, ContractError]] = msgspec.field(default_factory=list)
    unknown_schemas: set[int] = msgspec.field(default_factory=set)


class Folding:
    """One batch on its way into a table."""

    def __init__(self, file: TableFile, codec: Codec, reader: VersionReader, state: State) -> None:
        self._file = file
        self._codec = codec
        self._reader = reader
        self._state = state
        self._rows: dict[str, list[Row]] = {table: [] for table in _TABLES}
        self._seen_here: set[tuple[str, int, bytes]] = set()  # kind, document, event digest
        self._new: dict[int, bytes] = {}  # event digest by row
        self.report = FoldReport()
        self.positions = dict(state.positions)
        self.documents: dict[Name, Document] = {}
        self.outcomes: dict[Name, Settled] = {}
        self.rows: dict[Name, int] = {}
        self.unread = dict(state.unread)
        self._unread_records: dict[bytes, bytes] = {}
        self.chunk_ids: dict[int, bytes] = {}  # by row: at hand here, kept for the first readers

    def run(self, records: Iterable[ConsumedRecord], positions: Mapping[tuple[str, int], int]) -> None:
        """Fold `records`, then note `positions` reached beyond the last of them; one transaction.

        Raises
        ------
        sqlite3.Error
            If the file cannot be written; nothing has changed then.
        """
        for record in records:
            self._fold(record)
        for at, reached in positions.items():
            self.positions[at] = max(self.positions.get(at, 0), reached)
        for (topic, partition), reached in self.positions.items():
            if self._state.positions.get((topic, partition)) != reached:
                horizon = self._state.horizons.get((topic, partition), 0)
                self._rows["positions"].append((topic, partition, reached, horizon))
        for key, origin in self.unread.items() - self._state.unread.items():
            self._rows["unread"].append((key, origin, self._unread_records[key]))
        with self._file.transaction():
            self._file.forget_unread(self._state.unread.keys() - self.unread.keys())
            for table, rows in self._rows.items():
                self._file.insert(table, rows)
            self._file.note_unknown(self.report.unknown_schemas)

    def _fold(self, record: ConsumedRecord) -> None:
        at = (record.topic, record.partition)
        if record.offset < self.positions.get(at, 0):
            self.report.n_repeated += 1
            return
        self.positions[at] = record.offset + 1
        origin = Origin(record.topic, record.partition, record.offset)
        try:
            if record.topic == DOCUMENT_INDEXED.name:
                version = self._reader.read(record.key, record.value, record.headers, origin)
                self._version(version, record)
                return
            event = self._codec.read(FOLDED[record.topic], record.key, record.value, record.headers, origin)
        except ContractError as error:
            self.report.undecodable.append((origin, error))
            if isinstance(error, UnknownSchema):
                self.report.unknown_schemas.add(int.from_bytes((record.value or b"")[1:5], "big"))
                self._unreadable(record, origin)
            return
        if isinstance(event, AclChanged):
            self._access(event, record)
        elif isinstance(event, DocumentSettled):
            self._settled(event)

    def _unreadable(self, record: ConsumedRecord, origin: Origin) -> None:
        """Note access that a newer release wrote: it may take a right away."""
        if record.topic == ACL_CHANGED.name:
            key, value, headers = _bytes_of(record)
            self.unread[key] = str(origin)
            self._unread_records[key] = msgspec.msgpack.encode((value, headers))

    def _version(self, read: Walked, record: ConsumedRecord) -> None:
        event = read.event
        name, doc, known = self._document(event)
        digest = event_digest(event.meta.id)
        if known and self._seen("versions", name, doc, digest):
            self.report.n_repeated += 1
            return
        row = self._next_row("versions", doc, digest)
        version = Version(
            row, record.offset, record.partition, event.order, event.deleted, event.acl_version, read.n_chunks,
            event.labels,
        )  # fmt: skip
        before = self._now(name)
        after = fold_version(before, version)
        packed = None if after is None else pack(name, _bytes_of(record), read.chunks)
        self._rows["versions"].append((
            row, doc, digest, record.offset, record.partition, *event.order, int(event.deleted), event.acl_version,
            read.n_chunks, to_json(event.labels).decode() if event.labels else None, packed,
        ))  # fmt: skip
        if after is None:
            self._end("versions", row, doc, event, record)
        else:
            self.chunk_ids[row] = chunk_digests(event.chunks) if read.chunks is None else read.chunks.ids
        self._take(name, before, after, event, record)

    def _access(self, event: AclChanged, record: ConsumedRecord) -> None:
        self.unread.pop(record.key or b"", None)  # what was written later takes the place of what could not be read
        name, doc, known = self._document(event)
        digest = event_digest(event.meta.id)
        if known and self._seen("accesses", name, doc, digest):
            self.report.n_repeated += 1
            return
        row = self._next_row("accesses", doc, digest)
        groups = sorted(set(event.groups))
        before = self._now(name)
        after = fold_access(
            before, Access(row, record.offset, record.partition, event.version, self._state.group_set(groups))
        )
        packed = None if after is None else pack(name, _bytes_of(record))
        self._rows["accesses"].append((
            row, doc, digest, record.offset, record.partition, event.version, to_json(groups).decode(), packed,
        ))  # fmt: skip
        if after is None:
            self._end("accesses", row, doc, event, record)
        self._take(name, before, after, event, record)

    def _settled(self, event: DocumentSettled) -> None:
        name, doc, _ = self._document(event)
        known = self.outcomes.get(name) or self._state.outcomes.get(name)
        if known is not None and event.order < known.order:
            return
        self.outcomes[name] = Settled(event.order, event.outcome, event.reason)
        self._rows["settled"].append((doc, *event.order, event.outcome, event.reason))
        self.report.n_folded += 1

    def _document(self, event: DocumentIndexed | AclChanged | DocumentSettled) -> tuple[Name, int, bool]:
        """Name and row of an event's document, and whether it was there before."""
        name = (event.tenant, event.document)
        doc = self._state.rows.get(name) or self.rows.get(name)
        if doc is not None:
            return name, doc, True
        doc = self.rows[name] = self._state.next_row()
        self._rows["documents"].append((doc, *name))
        return name, doc, False

    def _now(self, name: Name) -> Document:
        return self.documents.get(name) or self._state.document(*name)

    def _seen(self, kind: str, name: Name, doc: int, digest: bytes) -> bool:
        """Whether an event was folded before: in this batch, among the rows that count, or among those that ended."""
        if (kind, doc, digest) in self._seen_here:
            return True
        before = self._state.document(*name)
        if kind == "versions":
            rows = [version.row for version in before.versions]
        else:
            rows = [before.access.row] if before.access is not None else []
        if not rows:  # the first one always counts, and its successor after it
            return False
        if any(self._file.event(kind, row) == digest for row in rows):
            return True
        sql = "SELECT 1 FROM ended WHERE doc = ? AND kind = ? AND event = ?"
        return self._file.writer.execute(sql, (doc, kind, digest)).fetchone() is not None

    def _next_row(self, kind: str, doc: int, digest: bytes) -> int:
        row = self._state.next_row()
        self._new[row] = digest
        self._seen_here.add((kind, doc, digest))
        return row

    def _take(self, name: Name, before: Document, after: Document | None, event: Event, record: ConsumedRecord) -> None:
        if after is None:
            return
        self.report.n_folded += 1
        self.documents[name] = after
        if before is UNKNOWN:
            return
        doc = self._state.rows.get(name) or self.rows[name]
        for version in before.versions:
            if version not in after.versions:
                self._end("versions", version.row, doc, event, record)
        if before.access is not None and before.access is not after.access:
            self._end("accesses", before.access.row, doc, event, record)

    def _end(self, kind: str, row: int, doc: int, event: Event, record: ConsumedRecord) -> None:
        """Note that a row counts no longer, since when, and which record ended it."""
        digest = self._new.get(row) or self._file.event(kind, row)
        self._rows["ended"].append(
            (doc, kind, digest, row, event.meta.time_us, record.topic, record.partition, record.offset)
        )


def _bytes_of(record: ConsumedRecord) -> RecordBytes:
    return record.key or b"", record.value or b"", list(record.headers)


def event_digest(event_id: str) -> bytes:
    """Eight bytes that stand for an event id within its document."""
    return blake2b(event_id.encode(), digest_size=8).digest()
