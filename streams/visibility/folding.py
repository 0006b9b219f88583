"""Fold one batch of records into a table: rows, positions and memory change together or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Protocol

import msgspec

from millrace.codec import Codec, Headers
from millrace.errors import ContractError
from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, Topic
from streams.visibility.file import Outcome, TableFile, to_json
from streams.visibility.fold import UNKNOWN, Access, Document, Version, fold_access, fold_version
from streams.visibility.packing import pack
from streams.visibility.state import State

FOLDED: Mapping[str, Topic] = {topic.name: topic for topic in (DOCUMENT_INDEXED, ACL_CHANGED, DOCUMENT_SETTLED)}
"""The topics that the table folds, by name."""


class LogRecord(Protocol):
    """A record as a consumer hands it out."""

    @property
    def topic(self) -> str:
        """Where it stands."""

    @property
    def partition(self) -> int:
        """Where it stands."""

    @property
    def offset(self) -> int:
        """Where it stands."""

    @property
    def key(self) -> bytes | None:
        """Key."""

    @property
    def value(self) -> bytes | None:
        """Value."""

    @property
    def headers(self) -> Headers:
        """Headers."""


class FoldReport(msgspec.Struct):
    """What became of a batch.

    Attributes
    ----------
    n_folded : int
        Records that changed the state.
    n_stale : int
        Records that lost by their order.
    n_repeated : int
        Records whose id or offset had been folded before.
    undecodable : list of (Origin, ContractError)
        Records that are no events of ours: passed over, never visible.
    """

    n_folded: int = 0
    n_stale: int = 0
    n_repeated: int = 0
    undecodable: list[tuple[Origin, ContractError]] = msgspec.field(default_factory=list)


class Folding:
    """One batch on its way into a table."""

    def __init__(self, file: TableFile, codec: Codec, state: State) -> None:
        self._file = file
        self._codec = codec
        self._state = state
        self.report = FoldReport()
        self.positions = dict(state.positions)
        self.documents: dict[tuple[str, str], Document] = {}
        self.outcomes: dict[tuple[str, str], Outcome] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.events: dict[int, DocumentIndexed] = {}  # decoded anyway: kept for the first readers

    def run(self, records: Iterable[LogRecord], positions: Mapping[tuple[str, int], int]) -> None:
        """Fold `records`, then note `positions` reached beyond the last of them; one transaction.

        Raises
        ------
        sqlite3.Error
            If the file cannot be written; nothing has changed then.
        """
        writer = self._file.writer
        writer.execute("BEGIN IMMEDIATE")
        try:
            for record in records:
                self._fold(record)
            for at, reached in positions.items():
                self.positions[at] = max(self.positions.get(at, 0), reached)
            for (topic, partition), reached in self.positions.items():
                if self._state.positions.get((topic, partition)) != reached:
                    horizon = self._state.horizons.get((topic, partition), 0)
                    self._file.insert("positions", topic, partition, reached, horizon)
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:  # a full disk has ended it already
                writer.execute("ROLLBACK")
            raise

    def _fold(self, record: LogRecord) -> None:
        at = (record.topic, record.partition)
        if record.offset < self.positions.get(at, 0):
            self.report.n_repeated += 1
            return
        self.positions[at] = record.offset + 1
        origin = Origin(record.topic, record.partition, record.offset)
        try:
            event = self._codec.read(FOLDED[record.topic], record.key, record.value, record.headers, origin)
        except ContractError as error:
            self.report.undecodable.append((origin, error))
            return
        if isinstance(event, DocumentIndexed):
            self._version(event, record)
        elif isinstance(event, AclChanged):
            self._access(event, record)
        elif isinstance(event, DocumentSettled):
            self._settled(event)

    def _version(self, event: DocumentIndexed, record: LogRecord) -> None:
        name, doc, known = self._document(event)
        digest = event_digest(event.meta.id)
        if known and self._seen("versions", doc, digest):
            self.report.n_repeated += 1
            return
        row = self._state.next_row()
        version = Version(
            row, record.offset, record.partition, event.order, event.deleted, event.acl_version, len(event.chunks),
            event.labels,
        )  # fmt: skip
        before = self._now(name)
        after = fold_version(before, version)
        packed = None if after is None else pack_version(event, record)
        self._file.insert(
            "versions", row, doc, digest, record.offset, record.partition, *event.order, int(event.deleted),
            event.acl_version, len(event.chunks), to_json(event.labels).decode() if event.labels else None, packed,
        )  # fmt: skip
        if after is None:
            self._end("versions", row, doc, event, record)
        else:
            self.events[row] = event
        self._take(name, before, after, event, record)

    def _access(self, event: AclChanged, record: LogRecord) -> None:
        name, doc, known = self._document(event)
        digest = event_digest(event.meta.id)
        if known and self._seen("accesses", doc, digest):
            self.report.n_repeated += 1
            return
        row = self._state.next_row()
        groups = sorted(set(event.groups))
        before = self._now(name)
        after = fold_access(
            before, Access(row, record.offset, record.partition, event.version, self._state.group_set(groups))
        )
        packed = None
        if after is not None:
            packed = pack(record.key or b"", record.value or b"", record.headers, (), ((), _causes(event)))
        self._file.insert(
            "accesses", row, doc, digest, record.offset, record.partition, event.version, to_json(groups).decode(),
            packed,
        )  # fmt: skip
        if after is None:
            self._end("accesses", row, doc, event, record)
        self._take(name, before, after, event, record)

    def _settled(self, event: DocumentSettled) -> None:
        name, doc, _ = self._document(event)
        known = self.outcomes.get(name) or self._state.outcomes.get(name)
        if known is not None and event.order < known.order:
            self.report.n_stale += 1
            return
        self.outcomes[name] = Outcome(event.order, event.outcome, event.reason)
        self._file.insert("settled", doc, *event.order, event.outcome, event.reason)
        self.report.n_folded += 1

    def _document(self, event: DocumentIndexed | AclChanged | DocumentSettled) -> tuple[tuple[str, str], int, bool]:
        """Name and row of an event's document, and whether it was there before."""
        name = (event.tenant, event.document)
        doc = self._state.rows.get(name) or self.rows.get(name)
        if doc is not None:
            return name, doc, True
        doc = self.rows[name] = self._state.next_row()
        self._file.insert("documents", doc, event.tenant, event.document)
        return name, doc, False

    def _now(self, name: tuple[str, str]) -> Document:
        return self.documents.get(name) or self._state.document(*name)

    def _seen(self, table: str, doc: int, digest: bytes) -> bool:
        sql = f"SELECT 1 FROM {table} WHERE doc = ? AND event = ?"  # noqa: S608 - names of ours
        return self._file.writer.execute(sql, (doc, digest)).fetchone() is not None

    def _take(
        self, name: tuple[str, str], before: Document, after: Document | None, event: Event, record: LogRecord
    ) -> None:
        if after is None:
            self.report.n_stale += 1
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

    def _end(self, kind: str, row: int, doc: int, event: Event, record: LogRecord) -> None:
        """Note that a row counts no longer, since when, and which record ended it."""
        self._file.writer.execute(
            "INSERT OR REPLACE INTO ended VALUES(?, ?, ?, ?, ?, ?, ?)",
            (kind, row, doc, event.meta.time_us, record.topic, record.partition, record.offset),
        )


def event_digest(event_id: str) -> bytes:
    """Eight bytes that stand for an event id within its document."""
    return blake2b(event_id.encode(), digest_size=8).digest()


def pack_version(event: DocumentIndexed, record: LogRecord) -> bytes:
    """Pack the record of a DocumentIndexed, its identifiers in the order of its schema."""
    digests = [event.content_sha256, *(ref.removeprefix("sha256:") for ref in (event.text or "", *event.objects))]
    chunk_ids = [chunk.id for chunk in event.chunks]
    identifiers = (digests, (event.source_event, *_causes(event)))
    return pack(record.key or b"", record.value or b"", record.headers, chunk_ids, identifiers)


def _causes(event: Event) -> tuple[str, ...]:
    """Identifiers in the headers, in the order in which the codec writes them."""
    return (event.meta.id, event.meta.correlation_id, event.meta.causation_id)
