"""The visibility table: the one place that decides what a question may see.

It folds ``corpus.document.indexed.v1`` and ``corpus.acl.changed.v1`` (and the outcomes of
``corpus.document.settled.v1``) into a SQLite file and keeps the current state in memory. See `streams.visibility.fold`
for the rules and `streams.visibility.watermark` for how a moment is named.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Self

import msgspec

from millrace.codec import Codec, ConsumedRecord
from millrace.errors import ContractError, LogTruncated, UnknownSchema
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Receipt
from millrace.groups import EVERYONE
from millrace.withdrawal import is_withheld
from streams.visibility import history, watermark
from streams.visibility.file import Damaged, Settled, TableFile, put_aside, remove
from streams.visibility.folding import Folding, FoldReport
from streams.visibility.reading import VersionReader
from streams.visibility.state import State
from streams.visibility.tenants import Groups, Labels, TenantState
from streams.visibility.versions import Versions, decode_version
from streams.visibility.visible_set import VisibleSet

log = logging.getLogger(__name__)

_MAX_EARLIER = 8


class Grouped(Protocol):
    """Whoever has groups: a principal."""

    @property
    def groups(self) -> Collection[str]:
        """Groups in force."""


class Size(msgspec.Struct, frozen=True):
    """How much of a tenant counts now, whoever may read it."""

    n_documents: int
    n_chunks: int


class VisibilityTable:
    """Folded versions and access, now and as of earlier.

    Open it with `open`. One thread folds; any thread may read, and reads see whole batches only.
    """

    def __init__(self, file: TableFile, state: State, codec: Codec) -> None:
        self._file = file
        self._state = state
        self._codec = codec
        self._reader = VersionReader(codec)
        self._versions = Versions(file, codec)
        self._lock = threading.Lock()
        self._tag = watermark.epoch_tag(file.log_epoch)
        self._watermark = watermark.render(self._tag, state.positions)
        self._earlier: OrderedDict[tuple[str, str], TenantState] = OrderedDict()

    @classmethod
    def open(cls, path: Path, codec: Codec, log_epoch: str = "") -> Self:
        """Open a table, or begin it anew where its file is missing, damaged or of another life of the log.

        Parameters
        ----------
        path : Path
            Its file. A file that cannot be used is renamed: ``.damaged`` is never read again, ``.earlier`` is kept
            until the new one has caught up (`settle`), because it may hold what must be seeded. A file that passed
            over records whose schema was unknown then and is known now is of the second kind: what it lacks is in
            the log alone, so all of it is folded again.
        log_epoch : str
            Names the life of the log. The embedded broker has a new one with every start.

        Raises
        ------
        ConfigurationError
            If another process holds the file, or it has another format.
        """
        for reason in ("damaged", "earlier"):
            try:
                file = TableFile(path, log_epoch)
                try:
                    state = State.load(file)
                    learned = [number for number in file.unknown_schemas() if _is_known(codec, number)]
                    if file.log_epoch == log_epoch and not learned:
                        return cls(file, state, codec)
                except BaseException:
                    file.close()
                    raise
                file.close()
                aside = put_aside(path, "earlier")
                why = f"passed over schemas that are known now, {learned}" if learned else "is of another log"
                log.warning("visibility table %s %s; kept as %s until a new one has caught up", path, why, aside)
            except Damaged as error:
                aside = put_aside(path, "damaged")
                log.error(  # noqa: TRY400 - the reason says it all
                    "visibility table %s is damaged (%s); put aside as %s and folded again from the log (%s)",
                    path, error, aside, reason,
                )  # fmt: skip
        file = TableFile(path, log_epoch)
        return cls(file, State.load(file), codec)

    @property
    def path(self) -> Path:
        """Its file."""
        return self._file.path

    @property
    def positions(self) -> Mapping[tuple[str, int], int]:
        """Next offset to fold by (topic, partition)."""
        return self._state.positions

    def fold(
        self, records: Iterable[ConsumedRecord], positions: Mapping[tuple[str, int], int] | None = None
    ) -> FoldReport:
        """Fold a batch: rows, positions and memory change together or not at all.

        Parameters
        ----------
        records : iterable of ConsumedRecord
            In the order of the log within each partition. Those below the table's position are passed over.
        positions : mapping, optional
            Positions reached beyond the last record (gaps from compaction or transaction markers).

        Raises
        ------
        sqlite3.Error
            If the file cannot be written; nothing has changed then.
        """
        folding = Folding(self._file, self._codec, self._reader, self._state)
        folding.run(records, positions or {})
        state = self._state
        with self._lock:
            state.rows.update(folding.rows)
            state.outcomes.update(folding.outcomes)
            for name, document in folding.documents.items():
                state.put(name, document)
            state.positions = folding.positions
            state.unread = folding.unread
            self._watermark = watermark.render(self._tag, state.positions)
        self._versions.keep(folding.chunk_ids)
        for origin, error in folding.report.undecodable:
            log.error("record %s is passed over and makes nothing visible: %s", origin, error)
        return folding.report

    @property
    def unread_access(self) -> Mapping[bytes, str]:
        """Where access stands that only a newer release can read, by record key: it may take rights away.

        A later access record of the same document that can be read takes its place.
        """
        return self._state.unread

    def watermark(self) -> str:
        """How far it has folded."""
        return self._watermark

    def reached(self, wanted: str) -> bool:
        """Whether everything below a watermark has been folded.

        A watermark of an earlier life of the log counts as reached: what it names was seeded before this one began.

        Raises
        ------
        InvalidEvent
            If the text is no watermark.
        """
        tag, offsets = watermark.parse(wanted)
        return tag != self._tag or watermark.reached(self._state.positions, offsets)

    def visible(
        self, tenant: str, principal: Grouped, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> VisibleSet:
        """Decide what a question may see: the only function that does.

        Parameters
        ----------
        tenant : str
            Nothing of another tenant is ever part of the answer.
        principal : Grouped
            Who asks; everyone is a member of the group ``*``.
        at : str, optional
            As of this watermark; without it, as of now.
        labels : mapping, optional
            Only documents that carry all of these.

        Raises
        ------
        LogTruncated
            If `at` is older than what is kept, or of an earlier life of the log.
        Unavailable
            If `at` lies ahead of the table.
        InvalidEvent
            If `at` is no watermark.
        """
        groups: Groups = frozenset((*(each for each in principal.groups if not is_withheld(each)), EVERYONE))
        wanted: Labels = frozenset((labels or {}).items())
        with self._lock:
            state = self._state.tenant(tenant) if at is None else self._as_of(tenant, at)
            return VisibleSet(
                self._watermark if at is None else at,
                (groups, wanted),
                state.snapshot(),
                state.select(groups, wanted),
                self._versions,
            )

    def _as_of(self, tenant: str, at: str) -> TenantState:
        found = self._earlier.get((tenant, at))
        if found is None:
            tag, offsets = watermark.parse(at)
            if tag not in ("", self._tag):
                raise LogTruncated(
                    f"watermark {at[:80]!r} belongs to an earlier life of the log, which is gone; ask as of now, or "
                    "replay with the recorded context"
                )
            found = history.as_of(self._file, self._state, tenant, offsets)
            self._earlier[tenant, at] = found
            if len(self._earlier) > _MAX_EARLIER:
                self._earlier.popitem(last=False)
        return found

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest folded version of a document, whoever may read it; deleted ones included."""
        newest = self._state.document(tenant, document).newest
        return None if newest is None else self._versions.get(newest.row)

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All folded versions that are kept, newest first."""
        rows = self._file.select(
            "SELECT record, partition, offset FROM versions WHERE id IN (SELECT value FROM json_each(?)) "
            "AND record IS NOT NULL ORDER BY source_epoch DESC, version DESC, generation DESC, id DESC",
            (history.rows_of(self._file, self._state, (tenant, document)),),
        )
        return [decode_version(self._codec, (tenant, document), *row) for row in rows]

    def groups(self, tenant: str, document: str) -> frozenset[str] | None:
        """Groups that may read a document; None where no access was ever folded."""
        access = self.access(tenant, document)
        return None if access is None else access[1]

    def access(self, tenant: str, document: str) -> tuple[int, frozenset[str]] | None:
        """Access version of a document and the groups that may read it; None where no access was ever folded."""
        access = self._state.document(tenant, document).access
        return None if access is None else (access.version, access.groups)

    def outcome(self, tenant: str, document: str) -> Settled | None:
        """Newest outcome of a change that altered nothing visible."""
        return self._state.outcomes.get((tenant, document))

    def resolved(self, receipt: Receipt) -> bool:
        """Whether the outcome of a change, or of a later one, has been folded.

        A version whose access is not known yet is not resolved: nobody would see it.
        """
        document = self._state.document(receipt.tenant, receipt.document)
        access = document.access
        if receipt.acl_version and (access is None or access.version < receipt.acl_version):
            return False
        if not receipt.version:
            return True
        outcome = self._state.outcomes.get((receipt.tenant, receipt.document))
        orders = [found.order for found in (document.effective, outcome) if found is not None]
        return any(order[:2] >= (receipt.source_epoch, receipt.version) for order in orders)

    def statistics(self) -> Mapping[str, Size]:
        """Documents and chunks that count now, by tenant."""
        with self._lock:
            return {name: _size(tenant) for name, tenant in self._state.tenants.items()}

    def expired(self, now_us: int, retention_us: int) -> list[history.Expired]:
        """Documents with versions superseded longer than `retention_us` ago, for MaintenanceDue."""
        return history.expired(self._file, self._state, now_us - retention_us)

    def prune(self, before_us: int) -> int:
        """Forget rows that were superseded before a time; returns how many.

        Prune later than garbage is collected: the index agent learns from `retained` which chunks may go.
        """
        n, horizons = history.prune(self._file, self._state, before_us)
        with self._lock:
            self._state.horizons = dict(horizons)
            self._earlier.clear()
        return n

    def settle(self) -> None:
        """The file has caught up with its log: remove files of earlier lives, which are no longer needed."""
        for earlier in earlier_files(self.path):
            remove(earlier)

    def digest(self) -> str:
        """SHA-256, hex, over ids, versions, order and access of all documents; offsets play no part (I7)."""
        whole = hashlib.sha256()
        for name in sorted(self._state.rows):
            document = self._state.document(*name)
            access = document.access
            versions = []
            for version in document.versions:
                ids = self._versions.chunk_ids(version.row).hex()
                labels = sorted(version.labels.items())
                versions.append((version.order, version.deleted, version.acl_version, labels, ids))
            readers = None if access is None else (access.version, sorted(access.groups))
            if versions or readers:
                whole.update(msgspec.msgpack.encode((name, versions, readers)))
        return whole.hexdigest()

    def close(self) -> None:
        """Close its file."""
        self._file.close()


def earlier_files(path: Path) -> list[Path]:
    """Files of earlier lives of the log beside a table's file, oldest first."""
    beside = path.parent.glob(f"{path.name}.earlier*")
    found = [file for file in beside if not file.name.endswith(("-wal", "-shm", ".lock"))]
    return sorted(found, key=lambda file: file.stat().st_mtime_ns)


def _is_known(codec: Codec, number: int) -> bool:
    try:
        codec.decode(b"\x00" + number.to_bytes(4, "big"))
    except UnknownSchema:
        return False
    except ContractError:
        pass  # the body is missing, its schema is not
    return True


def _size(tenant: TenantState) -> Size:
    effective = [document.effective for document in tenant.documents.values()]
    live = [version.n_chunks for version in effective if version is not None and not version.deleted]
    return Size(len(live), sum(live))
