"""Topics: name, event types, key, partitions and how long records are kept. `CATALOGUE` is the whole list.

All topics keyed by document share one partition count, and so do all keyed by conversation, so that agents reading
two of them see both records of a key on the same worker.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from millrace import keys
from millrace.event import Event, Origin
from millrace.events.corpus import (
    AclChanged,
    ChunksEmbedded,
    DocumentIndexed,
    DocumentSettled,
    MaintenanceDue,
    SourceChanged,
    StatisticsComputed,
)
from millrace.events.feedback import FeedbackGiven, InteractionObserved, SessionDue
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened, VerdictGiven
from millrace.events.learn import (
    DriftDetected,
    DriftScored,
    ExampleCurated,
    ExampleProposed,
    ExampleRejected,
    QualityScored,
    SignalsMeasured,
    StageAttributed,
    TrainingRequested,
)
from millrace.events.query import (
    AnswerCompleted,
    AnswerDelta,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    CompletionGenerated,
    CompletionGuarded,
    ContextRetrieved,
    QueryAdmitted,
    QueryCancelled,
    QueryReceived,
)
from millrace.events.usage import UsageMetered, UsageTotalled

DAY_MS = 86_400_000
INLINE_MAX_BYTES = 262_144
# A dead letter carries its source's bytes and the error headers.
_ERROR_HEADERS_BYTES = 65_536
_DEAD_LETTERS_MS = 30 * DAY_MS


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic of the log.

    Attributes
    ----------
    key : callable
        Record key of an event, see `millrace.keys`.
    group : str
        Topics of one group have the same number of partitions (setting ``partitions.<group>``).
    retention_ms : int
        How long records are kept; for compacted topics, how long before compaction may touch them. -1 keeps for ever.
    reply : bool
        Whether records go to the partition that the asker named; a terminal one (``terminal = True`` on its class) is
        sent only after everything else of the same input is acknowledged.
    read : callable or None
        For topics that others write in a form of their own: ``read(key, value, headers, origin)`` makes the event of a
        record, metadata included, or raises what it is dead-lettered with. None where the records are events.
    """

    name: str
    events: tuple[type[Event], ...]
    key: Callable[[Any], str]
    group: str = "tenant"
    retention_ms: int = 30 * DAY_MS
    cleanup: Literal["delete", "compact"] = "delete"
    max_bytes: int = 1_048_576
    reply: bool = False
    read: Callable[[bytes | None, bytes | None, Sequence[tuple[str, bytes]], Origin], Event] | None = None

    @property
    def config(self) -> dict[str, str]:
        """Settings of the topic on a broker, in Kafka's names."""
        kept = "min.compaction.lag.ms" if self.cleanup == "compact" else "retention.ms"
        return {
            "cleanup.policy": self.cleanup,
            kept: str(self.retention_ms),
            "max.message.bytes": str(self.max_bytes),
        }

    @property
    def dead_letters_config(self) -> dict[str, str]:
        """Settings of its dead letter topic: records 64 kB larger, deleted by age and never compacted.

        Two dead letters of a key are two findings.
        """
        kept_ms = self.retention_ms if 0 < self.retention_ms < _DEAD_LETTERS_MS else _DEAD_LETTERS_MS
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(kept_ms),
            "max.message.bytes": str(self.max_bytes + _ERROR_HEADERS_BYTES),
        }

    @property
    def dead_letters(self) -> str:
        """Name of this topic's dead letter topic."""
        return f"{self.name}.dlq"


def _document(event: Any) -> str:
    return keys.document_key(event.tenant, event.document)


def _conversation(event: Any) -> str:
    return keys.conversation_key(event.tenant, event.conversation)


def _tenant(event: Any) -> str:
    return keys.key(event.tenant)


def _item(event: Any) -> str:
    return keys.key(event.tenant, "i", event.item)


def _signal(event: Any) -> str:
    return keys.key(event.tenant, "s", event.signal)


def _model(event: TrainingRequested) -> str:
    return keys.key(event.tenant, "m", event.model)


def _subject(event: VerdictGiven) -> str:
    if event.subject_kind == "document":
        return keys.document_key(event.tenant, event.subject)
    return keys.key(event.tenant, "q", event.subject)


def _corpus(name: str, event: type[Event], **options: Any) -> Topic:
    return Topic(name=name, events=(event,), key=_document, group="corpus", **options)


def _query(name: str, event: type[Event], **options: Any) -> Topic:
    return Topic(name=name, events=(event,), key=_conversation, group="query", **options)


def _learn(name: str, *events: type[Event], **options: Any) -> Topic:
    return Topic(name=name, events=events, **{"key": _tenant, **options})


SOURCE_CHANGED = _corpus("corpus.source.changed.v1", SourceChanged, retention_ms=7 * DAY_MS)
CHUNKS_EMBEDDED = _corpus("corpus.chunk.embedded.v1", ChunksEmbedded)
DOCUMENT_INDEXED = _corpus("corpus.document.indexed.v1", DocumentIndexed, cleanup="compact", max_bytes=8_388_608)
DOCUMENT_SETTLED = _corpus("corpus.document.settled.v1", DocumentSettled)
ACL_CHANGED = _corpus("corpus.acl.changed.v1", AclChanged, cleanup="compact")
MAINTENANCE_DUE = _corpus("corpus.maintenance.due.v1", MaintenanceDue, retention_ms=DAY_MS)
STATISTICS_COMPUTED = Topic(
    name="corpus.statistics.computed.v1", events=(StatisticsComputed,), key=_tenant, cleanup="compact"
)

QUERY_RECEIVED = _query("query.request.received.v1", QueryReceived)
QUERY_CANCELLED = _query("query.request.cancelled.v1", QueryCancelled, retention_ms=DAY_MS)
QUERY_ADMITTED = _query("query.request.admitted.v1", QueryAdmitted)
CONTEXT_RETRIEVED = _query("query.context.retrieved.v1", ContextRetrieved)
COMPLETION_GENERATED = _query("query.completion.generated.v1", CompletionGenerated)
COMPLETION_GUARDED = _query("query.completion.guarded.v1", CompletionGuarded)
ANSWER_PRODUCED = _query("query.answer.produced.v1", AnswerProduced)
REPLY = Topic(
    name="query.reply.v1",
    events=(AnswerDelta, AnswerCompleted, AnswerRetracted, AnswerFailed),
    key=lambda event: keys.key(event.tenant, "r", event.correlation),
    group="reply",
    retention_ms=6 * 3_600_000,
    reply=True,
)

VERDICT_GIVEN = Topic(name="guard.verdict.given.v1", events=(VerdictGiven,), key=_subject)
_REVIEWED_MS = 365 * DAY_MS
REVIEW_ITEM_OPENED = Topic(
    name="review.item.opened.v1", events=(ReviewItemOpened,), key=_item, retention_ms=_REVIEWED_MS
)
REVIEW_DECISION_MADE = Topic(
    name="review.decision.made.v1", events=(ReviewDecisionMade,), key=_item, retention_ms=_REVIEWED_MS
)

FEEDBACK_GIVEN = _query("query.feedback.given.v1", FeedbackGiven)
INTERACTION_OBSERVED = _query("query.interaction.observed.v1", InteractionObserved)
SESSION_DUE = _query("query.session.due.v1", SessionDue, retention_ms=DAY_MS)

LONG_MS = 365 * DAY_MS
QUALITY_SCORED = _learn("learn.quality.scored.v1", QualityScored)
STAGE_ATTRIBUTED = _learn("learn.stage.attributed.v1", StageAttributed, retention_ms=LONG_MS)
SIGNALS_MEASURED = _learn("learn.signal.measured.v1", SignalsMeasured, retention_ms=LONG_MS)
DRIFT_SCORED = _learn("learn.drift.scored.v1", DriftScored, key=_signal, retention_ms=LONG_MS)
DRIFT_DETECTED = _learn("learn.drift.detected.v1", DriftDetected, key=_signal, retention_ms=LONG_MS)
EXAMPLE_PROPOSED = _learn("learn.example.proposed.v1", ExampleProposed)
EXAMPLE_CURATED = _learn("learn.example.curated.v1", ExampleCurated, ExampleRejected, retention_ms=LONG_MS)
TRAINING_REQUESTED = _learn("learn.training.requested.v1", TrainingRequested, key=_model, retention_ms=LONG_MS)

USAGE_METERED = Topic(name="usage.answer.metered.v1", events=(UsageMetered,), key=_tenant)
USAGE_TOTALLED = Topic(name="usage.tenant.totalled.v1", events=(UsageTotalled,), key=_tenant, cleanup="compact")

CATALOGUE: dict[str, Topic] = {
    topic.name: topic
    for topic in (
        SOURCE_CHANGED,
        CHUNKS_EMBEDDED,
        DOCUMENT_INDEXED,
        DOCUMENT_SETTLED,
        ACL_CHANGED,
        MAINTENANCE_DUE,
        STATISTICS_COMPUTED,
        QUERY_RECEIVED,
        QUERY_CANCELLED,
        QUERY_ADMITTED,
        CONTEXT_RETRIEVED,
        COMPLETION_GENERATED,
        COMPLETION_GUARDED,
        ANSWER_PRODUCED,
        REPLY,
        VERDICT_GIVEN,
        REVIEW_ITEM_OPENED,
        REVIEW_DECISION_MADE,
        FEEDBACK_GIVEN,
        INTERACTION_OBSERVED,
        SESSION_DUE,
        QUALITY_SCORED,
        STAGE_ATTRIBUTED,
        SIGNALS_MEASURED,
        DRIFT_SCORED,
        DRIFT_DETECTED,
        EXAMPLE_PROPOSED,
        EXAMPLE_CURATED,
        TRAINING_REQUESTED,
        USAGE_METERED,
        USAGE_TOTALLED,
    )
}
