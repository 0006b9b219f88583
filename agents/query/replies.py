"""Terminal records and frames of a question: pure."""

from collections.abc import Sequence

from millrace.event import Event
from millrace.events.query import (
    AnswerCompleted,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    CompletionGuarded,
    QueryReceived,
)

from agents.correlation import correlation_of

NOT_READY = "this worker cannot confirm that it has seen the latest changes; ask again shortly"
RETRACTED = "a passage that was read is no longer visible to you"
GUARDED = "guard"
"""Error type of what the guards refuse or take back."""
TAKEN_BACK = "the guards took the answer back; ask for what you want to know in other words"


def ended_without_answer(
    question: QueryReceived | CompletionGuarded,
    status: str,
    error_type: str,
    message: str,
    *,
    retry_after_ms: int = 0,
    n_frames: int = 0,
    reply: bool = True,
    verdicts: Sequence[str] = (),
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
        verdicts=tuple(verdicts),
        mode=question.mode,
    )
    return [record, *(terminal_frames(record, question) if reply else [])]


def terminal_frames(record: AnswerProduced, cause: QueryReceived | CompletionGuarded) -> Sequence[Event]:
    """Frame that ends the question, if the asker wants one; the same record gives the same frame again."""
    if not cause.meta.reply_to:
        return []
    place = {"tenant": record.tenant, "correlation": record.correlation}
    attempt, n = cause.meta.attempt, record.n_frames
    if record.status == "retracted":
        reason = TAKEN_BACK if record.error_type == GUARDED else RETRACTED
        return [AnswerRetracted(**place, attempt=attempt, n=n, reason=reason, retry_after_ms=record.retry_after_ms)]
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
