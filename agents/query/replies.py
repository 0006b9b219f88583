"""Terminal records and frames of a question: pure."""

from collections.abc import Sequence

from millrace.event import Event
from millrace.events.query import (
    AnswerCompleted,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    CompletionGenerated,
    QueryReceived,
)

NOT_READY = "this worker cannot confirm that it has seen the latest changes; ask again shortly"
RETRACTED = "a passage that was read is no longer visible to you"


def correlation_of(event: Event) -> str:
    """Correlation id of the question that an event belongs to."""
    return event.meta.correlation_id or event.meta.id


def ended_without_answer(
    question: QueryReceived | CompletionGenerated,
    status: str,
    error_type: str,
    message: str,
    *,
    retry_after_ms: int = 0,
    n_frames: int = 0,
    reply: bool = True,
) -> Sequence[Event]:
    """Record and frame of a question that was refused or failed; `reply` says whether a frame may be sent."""
    record = AnswerProduced(
        tenant=question.tenant,
        conversation=question.conversation,
        correlation=correlation_of(question),
        status="refused" if status == "refused" else "failed",
        text=message,
        error_type=error_type,
        retry_after_ms=retry_after_ms,
        n_frames=n_frames,
        user=question.user,
    )
    return [record, *(terminal_frames(record, question) if reply else [])]


def terminal_frames(record: AnswerProduced, cause: QueryReceived | CompletionGenerated) -> Sequence[Event]:
    """Frame that ends the question, if the asker wants one; the same record gives the same frame again."""
    if not cause.meta.reply_to:
        return []
    place = {"tenant": record.tenant, "correlation": record.correlation}
    attempt, n = cause.meta.attempt, record.n_frames
    if record.status == "retracted":
        return [AnswerRetracted(**place, attempt=attempt, n=n, reason=RETRACTED, retry_after_ms=record.retry_after_ms)]
    if record.status in {"refused", "failed"}:
        return [
            AnswerFailed(
                **place,
                attempt=attempt,
                n=n,
                error_type=record.error_type,
                message=record.text,
                retry_after_ms=record.retry_after_ms,
            )
        ]
    return [
        AnswerCompleted(
            **place,
            attempt=attempt,
            n=n,
            text=record.text,
            found=record.status == "answered",
            citations=record.citations,
            hits=record.hits if cause.explain or cause.mode == "search" else (),
            dropped=record.dropped,
            watermark=record.watermark,
            model=record.model,
            cost_usd=record.cost_usd,
            timings_ms=record.timings_ms,
        )
    ]
