"""The corpus as it was: a visibility table of one's own, folded from the log into a file that is thrown away.

The tables of live workers are not touched. Nothing is pruned here, so every watermark of this life of the log can be
asked for, as far back as the log itself goes.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import LogTruncated
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import ContextRetrieved, Receipt
from millrace.positions import Place
from millrace.reader import LogReader, RawRecord, raw_record
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.recorded.questions import Report
from streams.visibility import watermark
from streams.visibility.file import Settled
from streams.visibility.table import Grouped, VisibilityTable
from streams.visibility.visible_set import VisibleSet

FOLDED: Final = (DOCUMENT_INDEXED, ACL_CHANGED)


class RecordedCorpus:
    """Documents and access at any watermark that the log still tells.

    Open it with `open_corpus`.

    Attributes
    ----------
    incomplete_below : mapping of (topic, partition) to int
        Watermarks below these offsets cannot be trusted: the log was compacted, and versions that counted then may be
        among those removed.
    """

    def __init__(self, table: VisibilityTable, incomplete_below: Mapping[Place, int]) -> None:
        self._table = table
        self.incomplete_below = incomplete_below

    def visible(
        self, tenant: str, principal: Grouped, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> VisibleSet:
        """What a question may see as of a watermark, or now; see `VisibilityTable.visible`.

        Raises
        ------
        LogTruncated
            If the log no longer tells what was visible then.
        """
        found = self._table.visible(tenant, principal, at=at, labels=labels)
        if at is not None:
            offsets = watermark.parse(at)[1]
            for (topic, partition), least in self.incomplete_below.items():
                if offsets.get((topic, partition), 0) < least:
                    raise LogTruncated(
                        f"{topic}/{partition} was compacted, and what counted below offset {least} may be gone; the "
                        f"watermark has {offsets.get((topic, partition), 0)}"
                    )
        return found

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest version of a document."""
        return self._table.current(tenant, document)

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All versions of a document that the log holds, newest first."""
        return self._table.retained(tenant, document)

    def watermark(self) -> str:
        """How far the log was folded."""
        return self._table.watermark()


class AsOf:
    """The agents' `Visibility` port, standing still at one watermark.

    Parameters
    ----------
    corpus : RecordedCorpus
        What is known.
    at : str or None
        The watermark; None for the end of what was folded.
    """

    def __init__(self, corpus: RecordedCorpus, at: str | None) -> None:
        self._corpus = corpus
        self._at = at

    def confirmed(self) -> bool:
        """Nothing moves here, so nothing is ever out of date."""
        return True

    def visible(self, tenant: str, principal: Grouped, *, labels: Mapping[str, str] | None = None) -> VisibleSet:
        """What a question may see; see `RecordedCorpus.visible`."""
        return self._corpus.visible(tenant, principal, at=self._at, labels=labels)

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest version of a document, whatever the watermark."""
        return self._corpus.current(tenant, document)

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All versions of a document that the log holds."""
        return self._corpus.retained(tenant, document)

    def outcome(self, tenant: str, document: str) -> Settled | None:  # noqa: ARG002 - the port's
        """Outcomes that changed nothing visible are not read."""
        return None

    def resolved(self, receipt: Receipt) -> bool:  # noqa: ARG002 - the port's
        """What a question waited for then, it has waited for."""
        return True

    async def wait_for(self, receipts: Collection[Receipt], watermark: str = "") -> None:
        """Nobody waits for what has been."""


class ContextView:
    """What a recorded context was read from: its chunks in the versions that they had, and nothing else.

    Parameters
    ----------
    corpus : RecordedCorpus
        Knows the versions.
    context : ContextRetrieved
        The context.

    Raises
    ------
    LogTruncated
        If the log no longer holds a version.
    """

    def __init__(self, corpus: RecordedCorpus, context: ContextRetrieved) -> None:
        self.watermark = context.watermark
        self._chunks = {hit.chunk_id for hit in context.hits}
        self._versions: dict[str, DocumentIndexed] = {}
        for hit in context.hits:
            retained = corpus.retained(context.tenant, hit.document) if hit.document not in self._versions else ()
            for version in retained:
                if version.version == hit.version and any(chunk.id == hit.chunk_id for chunk in version.chunks):
                    self._versions[hit.document] = version
                    break
            if hit.document not in self._versions:
                raise LogTruncated(f"the log no longer holds version {hit.version} of document {hit.document!r}")

    @property
    def n_documents(self) -> int:
        """How many documents its chunks are of."""
        return len(self._versions)

    @property
    def n_chunks(self) -> int:
        """How many chunks it has."""
        return len(self._chunks)

    def documents(self) -> Collection[str]:
        """Documents its chunks are of."""
        return self._versions.keys()

    def get(self, document: str) -> DocumentIndexed | None:
        """The version that was read."""
        return self._versions.get(document)

    def why_not(self, document: str, chunk_id: str) -> str | None:
        """None for its own chunks."""
        return None if document in self._versions and chunk_id in self._chunks else "superseded"


class AsRecorded(AsOf):
    """The agents' `Visibility` port that shows a recorded context; see `ContextView`."""

    def __init__(self, corpus: RecordedCorpus, view: ContextView) -> None:
        super().__init__(corpus, None)
        self._view = view

    def visible(self, tenant: str, principal: Grouped, *, labels: Mapping[str, str] | None = None) -> Any:  # noqa: ARG002 - the port's
        """The context."""
        return self._view


@contextmanager
def open_corpus(
    connection: Connection,
    *,
    codec: Codec,
    log_epoch: str,
    kept_ms: int = DOCUMENT_INDEXED.retention_ms,
    progress: Report | None = None,
) -> Iterator[RecordedCorpus]:
    """Fold both visibility topics, from their beginning to their present end, into a file that goes at the end.

    Parameters
    ----------
    log_epoch : str
        Names the life of the log, as it does for the workers.
    kept_ms : int
        How long the topics keep every version; what is younger was not compacted.

    Raises
    ------
    LogTruncated
        If the log has lost its beginning.
    Unavailable, ConfigurationError
        See `LogReader`.
    """
    with TemporaryDirectory(prefix="millrace-replay-") as folder:
        table = VisibilityTable.open(Path(folder) / "visibility.db", codec, log_epoch)
        try:
            gaps = _fold(table, connection, round(time.time() * 1000) - kept_ms, progress)
            yield RecordedCorpus(table, gaps)
        finally:
            table.close()


def _fold(table: VisibilityTable, connection: Connection, young_ms: int, progress: Report | None) -> dict[Place, int]:
    gaps = Gaps(young_ms)
    n = 0
    # Partitions that are not named begin where the log begins, and that must be the beginning of all.
    with LogReader(connection, list(FOLDED)) as reader:
        lost = [place for place, offset in reader.positions.items() if offset > 0]
        if lost:
            topic, partition = lost[0]
            raise LogTruncated(
                f"{topic}/{partition} begins at offset {reader.positions[lost[0]]}, but what was visible is told by "
                "all of it from 0 on; restore the topic, or ingest the sources again"
            )
        for batch in reader.batches():
            records = [raw_record(message) for message in batch]
            for record in records:
                gaps.note(record)
            table.fold(records, reader.positions)
            n += len(records)
            if progress is not None:
                progress(n, reader.total)
    return gaps.incomplete_below()


class Gaps:
    """Finds offsets that compaction left out.

    Compaction removes a record only when a later one of its key is old enough as well, so whoever stands behind the
    last old record of a partition sees all that counted.

    Parameters
    ----------
    young_ms : int
        Records from this time on were not compacted, unix milliseconds.
    """

    def __init__(self, young_ms: int) -> None:
        self._young_ms = young_ms
        self._next: dict[Place, int] = {}
        self._old_until: dict[Place, int] = {}
        self._gapped: set[Place] = set()

    def note(self, record: RawRecord) -> None:
        """Look at the next record of a partition."""
        place = (record.topic, record.partition)
        if record.offset != self._next.get(place, 0):
            self._gapped.add(place)
        self._next[place] = record.offset + 1
        if record.timestamp_ms < self._young_ms:
            self._old_until[place] = record.offset + 1

    def incomplete_below(self) -> dict[Place, int]:
        """By partition, the offset below which watermarks may miss what was removed."""
        return {place: self._old_until[place] for place in self._gapped if place in self._old_until}
