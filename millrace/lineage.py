"""Follow a question or a document through the log: what happened, in which order, and what it came from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from millrace.causation import hops
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import ContractError
from millrace.event import Event
from millrace.events.corpus import AclChanged, ChunksEmbedded, DocumentIndexed, DocumentSettled, SourceChanged
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewItemOpened, VerdictGiven
from millrace.events.learn import QualityScored, StageAttributed
from millrace.events.query import AnswerProduced, CompletionGenerated, CompletionGuarded, ContextRetrieved
from millrace.ingest.known import KnownDocument
from millrace.keys import document_key
from millrace.positions import Start, Stop
from millrace.reader import LogReader, RawRecord, decode
from millrace.times import iso
from millrace.topics import (
    ACL_CHANGED,
    CATALOGUE,
    CHUNKS_EMBEDDED,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    SOURCE_CHANGED,
    Topic,
)

_HISTORY: Final = (SOURCE_CHANGED, CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, ACL_CHANGED)

_OTHER: Final = frozenset({"corpus", "query", "reply"})  # groups of topics whose other events are none of a document


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One record on the way of a question or a document.

    Attributes
    ----------
    time : str
        When the broker took it, UTC, ISO 8601.
    timestamp_ms : int
        The same in unix milliseconds.
    type, id, causation_id : str
        Event class, its id, and the id of the event that caused it.
    position : str
        ``topic/partition/offset``.
    what : str
        The event in a few words.
    event : Event or None
        The event; None when it cannot be decoded.
    """

    time: str
    timestamp_ms: int
    type: str
    id: str
    causation_id: str
    position: str
    what: str
    version: int | None = None
    event: Event | None = None

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(self, event=None))
        found["event"] = msgspec.to_builtins(self.event) if self.event is not None else None
        return found


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cited or retrieved chunk came from: its version, and the change that brought it."""

    chunk_id: str
    document: str
    version: int
    indexed_at: str = ""
    source_event: str = ""
    source_position: str = ""


class QuestionTrace(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the log holds about one question."""

    correlation_id: str
    trace_id: str
    entries: tuple[Entry, ...]
    sources: tuple[Source, ...] = ()

    @property
    def timings_ms(self) -> dict[str, float]:
        """Milliseconds per stage, as the terminal record says; empty before it."""
        return next((entry.event.timings_ms for entry in self.entries if isinstance(entry.event, AnswerProduced)), {})

    @property
    def quality(self) -> QualityScored | None:
        """How good the answer was, by all that is known; None where nothing has scored it."""
        found = [entry.event for entry in self.entries if isinstance(entry.event, QualityScored)]
        return max(found, key=lambda event: event.revision, default=None)

    @property
    def stage(self) -> StageAttributed | None:
        """Which stage failed, if the answer is poor by its last score."""
        found = [entry.event for entry in self.entries if isinstance(entry.event, StageAttributed)]
        poor = self.quality is None or self.quality.poor
        return max(found, key=lambda event: event.revision, default=None) if poor else None

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "correlation_id": self.correlation_id,
            "trace_id": self.trace_id,
            "events": [entry.data() for entry in self.entries],
            "tree": _tree(self.entries),
            "timings_ms": self.timings_ms,
            "sources": msgspec.to_builtins(self.sources),
            "quality": msgspec.to_builtins(self.quality),
            "stage": msgspec.to_builtins(self.stage),
        }


class DocumentHistory(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the log holds about one document, oldest first."""

    known: KnownDocument
    events: tuple[Entry, ...]
    visible: DocumentIndexed | None = None

    def data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "document": msgspec.to_builtins(self.known),
            "events": [entry.data() for entry in self.events],
            "tree": _tree(self.events),
            "visible": msgspec.to_builtins(self.visible) if self.visible is not None else None,
        }


def question_trace(
    connection: Connection,
    name: str,
    *,
    start: Start = "beginning",
    stop: Stop = "now",
    progress: Callable[[int, int], None] | None = None,
    topics: Iterable[Topic] = tuple(CATALOGUE.values()),
    sources: bool = True,
) -> QuestionTrace:
    """Collect every record of a question by its correlation or trace id, and what its chunks came from.

    Records are chosen by their headers, so those of other questions are not decoded. Without `sources` nothing is read
    of the corpus: for those who know the versions already.
    """
    wanted = {topic.name: topic for topic in topics if topic.group != "corpus"}
    entries: list[Entry] = []
    trace_id = correlation_id = ""
    codec = codec_of(connection)
    with LogReader(connection, list(wanted), start=start, stop=stop) as reader:
        for n, record in enumerate(reader, 1):
            if progress is not None and n % 1000 == 0:
                progress(n, reader.total)
            correlation, trace = record.header("ce_correlationid"), _trace_id(record)
            if name not in {correlation, trace}:
                continue
            correlation_id, trace_id = correlation_id or correlation, trace_id or trace
            entries.append(_entry(codec, record, wanted[record.topic]))
    entries = _once(sorted(entries, key=lambda entry: (entry.timestamp_ms, _stage(entry), entry.position)))
    return QuestionTrace(
        correlation_id=correlation_id,
        trace_id=trace_id,
        entries=tuple(entries),
        sources=_sources(connection, codec, entries) if sources else (),
    )


def document_history(
    connection: Connection,
    tenant: str,
    document: str,
    *,
    start: Start = "beginning",
    topics: Iterable[Topic] = tuple(CATALOGUE.values()),
) -> DocumentHistory:
    """Collect every record of a document, and fold them; verdicts on it and whatever else has its key included."""
    key = document_key(tenant, document)
    wanted = {topic.name: topic for topic in (*_HISTORY, *(each for each in topics if each.group not in _OTHER))}
    codec = codec_of(connection)
    known = KnownDocument(tenant=tenant, document=document)
    visible: DocumentIndexed | None = None
    entries = []
    with LogReader(connection, list(wanted), start=start, keys=[key]) as reader:
        for record in reader:
            if record.key != key.encode():
                continue
            entry = _entry(codec, record, wanted[record.topic])
            entries.append(entry)
            if entry.event is not None:
                known.fold(entry.event)
            if isinstance(entry.event, DocumentIndexed) and (visible is None or entry.event.order >= visible.order):
                visible = entry.event
    entries.sort(key=lambda entry: (entry.timestamp_ms, _stage(entry), entry.position))
    return DocumentHistory(known=known, events=tuple(entries), visible=visible)


def describe(event: Event) -> str:
    """An event in a few words."""
    words = _WORDS.get(type(event), _short)
    return words(event).rstrip(": ")


def _of_version(event: DocumentIndexed) -> str:
    if event.deleted:
        return "deleted"
    counts = f"{event.n_embedded} embedded, {event.n_reused} reused, {event.n_retired} retired"
    return f"{len(event.chunks)} chunks: {counts}"


def _of_verdict(event: VerdictGiven) -> str:
    places = f"{event.n_found} place{'' if event.n_found == 1 else 's'}"
    return f"{event.action}: {event.rule} ({event.kind}) at {places} of {event.subject_kind} {event.subject}"


def _of_answer(event: AnswerProduced) -> str:
    return f"{event.status}, {len(event.citations)} citations, ${event.cost_usd:.4f} {event.error_type}"


def _of_feedback(event: FeedbackGiven) -> str:
    kind = f"rating {event.rating}" if event.kind == "rating" else event.kind
    return f"{kind} by {event.user or 'nobody in particular'}: {event.text}"


def of_quality(event: QualityScored) -> str:
    """A score in a few words."""
    said = [f"{n} x {kind}" for kind, n in event.feedback.items()]
    why = ", ".join([*event.flags, *said])
    return f"score {event.score:.2f}{', poor' if event.poor else ''} (revision {event.revision}): {why}".rstrip(": ")


def of_stage(event: StageAttributed) -> str:
    """What failed, in a few words."""
    where = f", {event.document} {event.chunk_id}" if event.document else ""
    return f"{event.stage} by rule {event.rule}{where}"


_WORDS: Final[Mapping[type[Event], Callable[[Any], str]]] = {
    SourceChanged: lambda event: f"{event.op}, {event.n_bytes} bytes of {event.media_type} from {event.source}",
    ChunksEmbedded: lambda event: f"part {event.part + 1} of {event.n_parts}, {event.model}",
    DocumentIndexed: _of_version,
    DocumentSettled: lambda event: f"{event.outcome}: {event.message or event.reason}",
    AclChanged: lambda event: f"groups {', '.join(event.groups) or 'none'}",
    ContextRetrieved: lambda event: f"{len(event.hits)} chunks at {event.watermark}",
    CompletionGenerated: lambda event: event.text or "nothing found",
    CompletionGuarded: lambda event: event.text or "nothing found",
    VerdictGiven: _of_verdict,
    ReviewItemOpened: lambda event: event.reason,
    AnswerProduced: _of_answer,
    FeedbackGiven: _of_feedback,
    QualityScored: of_quality,
    StageAttributed: of_stage,
}


def _tree(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    return [
        {"id": hop.id, "position": hop.position, "depth": hop.depth, "at_ms": hop.at_ms, "hop_ms": hop.hop_ms}
        for hop, _ in hops(entries)
    ]


def _short(event: Event) -> str:
    for name in ("question", "text", "message", "reason", "status"):
        if found := getattr(event, name, ""):
            return str(found)
    return ""


def _entry(codec: Codec, record: RawRecord, topic: Topic | None = None) -> Entry:
    try:
        event: Event | None = decode(codec, record, topic)
        what = describe(event) if event is not None else ""
    except ContractError as error:
        event, what = None, f"cannot be decoded: {error}"
    return Entry(
        time=iso(record.timestamp_ms),
        timestamp_ms=record.timestamp_ms,
        type=record.header("ce_type").rpartition(".")[2] or "unknown",
        id=record.header("ce_id"),
        causation_id=record.header("ce_causationid"),
        position=str(record.origin),
        what=what,
        version=getattr(event, "version", None),
        event=event,
    )


def _trace_id(record: RawRecord) -> str:
    parts = record.header("traceparent").split("-")
    return parts[1] if len(parts) == 4 else ""


def _stage(entry: Entry) -> int:
    """Order of records of the same millisecond: as the catalogue lists their topics."""
    topic = entry.position.split("/")[0]
    return list(CATALOGUE).index(topic) if topic in CATALOGUE else len(CATALOGUE)


def _once(entries: Sequence[Entry]) -> list[Entry]:
    """The first record of an id is the truth; later ones are redeliveries."""
    seen: set[tuple[str, str]] = set()
    found = []
    for entry in entries:
        key = (entry.id, entry.type)
        if not entry.id or key not in seen:
            found.append(entry)
        seen.add(key)
    return found


def _sources(connection: Connection, codec: Codec, entries: Sequence[Entry]) -> tuple[Source, ...]:
    answer = next((entry.event for entry in entries if isinstance(entry.event, AnswerProduced)), None)
    context = next((entry.event for entry in entries if isinstance(entry.event, ContextRetrieved)), None)
    cited = list(answer.citations) if answer is not None else []
    uses: list[Any] = cited or (list(context.hits) if context is not None else [])
    if not uses:
        return ()
    tenant = (answer or context or entries[0].event).tenant  # type: ignore[union-attr]  # one of them has the uses
    documents = {use.document for use in uses}
    versions: dict[tuple[str, int], tuple[str, DocumentIndexed]] = {}
    names = {document_key(tenant, document).encode() for document in documents}
    with LogReader(connection, [DOCUMENT_INDEXED], keys=[name.decode() for name in names]) as reader:
        for record in reader:
            if record.key in names and isinstance(event := _entry(codec, record).event, DocumentIndexed):
                versions.setdefault((event.document, event.version), (str(record.origin), event))
    found = []
    for use in {(use.chunk_id, use.document, use.version): use for use in uses}.values():
        position, event_or_none = versions.get((use.document, use.version), ("", None))
        found.append(
            Source(
                chunk_id=use.chunk_id,
                document=use.document,
                version=use.version,
                indexed_at=position,
                source_event=event_or_none.source_event if event_or_none is not None else "",
                source_position=event_or_none.source_position if event_or_none is not None else "",
            )
        )
    return tuple(found)
