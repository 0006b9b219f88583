"""What the log knows of documents: their newest version, its outcome, and who may read them.

The log is the truth about versions. Nothing is kept beside it, so two machines that ingest the same folder one after
the other agree.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ContractError
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled, SourceChanged
from millrace.ids import content_hash
from millrace.keys import document_key
from millrace.positions import Place, Start
from millrace.reader import LogReader, RawRecord, decode
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, SOURCE_CHANGED

TOPICS = (SOURCE_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, ACL_CHANGED)
ChangeOrder = tuple[int, int]
"""``(source_epoch, version)``: what the order of a version has before a pipeline handles it."""
NONE: ChangeOrder = (0, 0)
_LOOKED_UP: Final = 10_000


class KnownDocument(msgspec.Struct, kw_only=True):
    """What the log says about one document.

    Attributes
    ----------
    order : (int, int)
        Newest ``(source_epoch, version)`` of any change, whatever became of it; (0, 0) before the first.
    sha256 : str
        Digest of that version's content, hex; empty when unknown or deleted.
    status : str
        ``pending``, ``indexed``, ``deleted``, ``unchanged``, ``superseded``, ``rejected``, ``failed``; empty before the
        first change.
    source : str
        Name of the source that owns the document.
    groups : tuple of str or None
        Groups that may read it; None when no access was ever written, and then nobody may.
    acl_version : int
        Version of `groups`.
    visible : (int, int)
        Newest version that DocumentIndexed made visible, (0, 0) for none.
    title : str
        Title of the visible version.
    n_chunks : int
        Chunks of the visible version.
    """

    tenant: str
    document: str
    order: ChangeOrder = NONE
    sha256: str = ""
    status: str = ""
    deleted: bool = False
    source: str = ""
    labels: dict[str, str] = {}
    reason: str = ""
    message: str = ""
    groups: tuple[str, ...] | None = None
    acl_version: int = 0
    visible: ChangeOrder = NONE
    title: str = ""
    n_chunks: int = 0

    @property
    def version(self) -> int:
        """Newest version number."""
        return self.order[1]

    @property
    def exists(self) -> bool:
        """Whether the newest change wrote it rather than removed it."""
        return self.order != NONE and not self.deleted

    def fold(self, event: Event) -> None:
        """Take in one event of the document; the order of events does not matter."""
        if isinstance(event, AclChanged):
            if event.version > self.acl_version:
                self.acl_version, self.groups = event.version, event.groups
        elif isinstance(event, SourceChanged):
            self._change(event)
        elif isinstance(event, DocumentIndexed):
            self._indexed(event)
        elif (
            isinstance(event, DocumentSettled)
            and self._is_newest((event.source_epoch, event.version))
            and self.status not in {"indexed", "deleted"}  # a version that was held back, and released since
        ):
            self.status, self.reason, self.message = event.outcome, event.reason, event.message
            self.source = self.source or event.source

    def _is_newest(self, order: ChangeOrder) -> bool:
        if order > self.order:
            self.order, self.sha256, self.status, self.deleted, self.labels = order, "", "", False, {}
            self.reason = self.message = ""
        return order == self.order

    def _change(self, event: SourceChanged) -> None:
        if not self._is_newest((event.source_epoch, event.version)):
            return
        self.sha256 = self.sha256 or digest_of(event)
        self.status = self.status or "pending"
        self.deleted = event.op == "delete"
        self.labels = event.labels
        self.source = event.source

    def _indexed(self, event: DocumentIndexed) -> None:
        order = (event.source_epoch, event.version)
        if order >= self.visible:
            self.visible, self.title, self.n_chunks = order, event.title, len(event.chunks)
        if self._is_newest(order):
            self.status = "deleted" if event.deleted else "indexed"
            self.deleted = event.deleted
            self.sha256 = event.content_sha256 or self.sha256
            self.labels = event.labels or self.labels
            self.source = event.source or self.source


class KnownDocuments:
    """All documents of a log, folded from its corpus topics and read on from where it stopped.

    Without `refresh` it knows only what was asked for by name, and keeps the newest of that: whoever looks documents
    up one by one, for as long as a service runs, does not hold every name that was ever asked for.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    codec : Codec, optional
        Decodes events.
    tenant : str, optional
        Only this tenant's documents.
    """

    def __init__(self, connection: Connection, codec: Codec | None = None, *, tenant: str = "") -> None:
        self._connection = connection
        self._codec = codec or codec_of(connection)
        self._tenant = tenant
        self._positions: dict[Place, int] | None = None
        self._whole = False
        self._documents: OrderedDict[tuple[str, str], KnownDocument] = OrderedDict()
        self._keeping = threading.Lock()

    def refresh(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Fold everything up to the end of the log as it is now.

        Raises
        ------
        LogTruncated
            If records were dropped since the last time.
        Unavailable
            If the broker does not answer.
        """
        self._whole = True
        start: Start = self._positions if self._positions is not None else "beginning"
        with LogReader(self._connection, TOPICS, start=start) as reader:
            for n, record in enumerate(reader, 1):
                self._take(record)
                if progress is not None and n % 1000 == 0:
                    progress(n, reader.total)
            self._positions = reader.positions

    def refresh_document(self, tenant: str, document: str) -> KnownDocument:
        """What the log says now about one document, reading its partitions alone."""
        key = document_key(tenant, document)
        known = KnownDocument(tenant=tenant, document=document)
        with LogReader(self._connection, TOPICS, keys=[key]) as reader:
            for record in reader:
                if record.key == key.encode() and (event := self._decode(record)) is not None:
                    known.fold(event)
        self._keep(known)
        return known

    def get(self, tenant: str, document: str) -> KnownDocument:
        """One document; an empty one when the log has not heard of it."""
        known = self._documents.get((tenant, document))
        if known is None:
            known = KnownDocument(tenant=tenant, document=document)
            self._keep(known)
        return known

    def _keep(self, known: KnownDocument) -> None:
        with self._keeping:
            self._documents[known.tenant, known.document] = known
            self._documents.move_to_end((known.tenant, known.document))
            while not self._whole and len(self._documents) > _LOOKED_UP:
                self._documents.popitem(last=False)

    def all(self) -> Iterable[KnownDocument]:
        """Documents with at least one change or access record, by tenant and id."""
        found = (doc for doc in self._documents.values() if doc.order != NONE or doc.acl_version)
        return sorted(found, key=lambda doc: (doc.tenant, doc.document))

    def _take(self, record: RawRecord) -> None:
        event = self._decode(record)
        if event is not None and (not self._tenant or event.tenant == self._tenant):
            document: str = event.document  # type: ignore[attr-defined]  # all four topics carry document events
            self.get(event.tenant, document).fold(event)

    def _decode(self, record: RawRecord) -> Event | None:
        try:
            return decode(self._codec, record)
        except ContractError:
            return None


def digest_of(event: SourceChanged) -> str:
    """SHA-256, hex, of the content that a change carries or refers to; empty for a deletion."""
    if event.content is not None:
        return event.content.removeprefix("sha256:")
    return content_hash(event.text) if event.text is not None else ""
