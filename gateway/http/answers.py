"""Answers as callers see them: no score, no count of what they may not read, no offset of the log."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from gateway.identity import Identity
from gateway.questions import WATERMARK
from gateway.seals import Seals
from millrace.client import Answer
from millrace.client.frames import Frame
from millrace.events.query import (
    AnswerCompleted,
    AnswerDelta,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    Citation,
    Hit,
)


class CitationBody(BaseModel):
    """A passage that the answer quotes; `[n]` in the text is the n-th."""

    document: str
    version: int = Field(description="The version that was read.")
    chunk_id: str
    title: str
    heading: str
    start: int = Field(description="First character of the quote in the text of the version.")
    end: int = Field(description="The character after the last one.")
    quote: str


class HitBody(BaseModel):
    """A passage that was retrieved."""

    document: str
    version: int
    chunk_id: str
    rank: int = Field(description="Place in the result, from 1.")


class AnswerBody(BaseModel):
    """An answer."""

    question: str = Field(description="Name of the question, for `GET /v1/questions/{question}` and traces.")
    text: str = Field(description="The answer; empty when nothing in the documents answers.")
    found: bool = Field(description="Whether the documents hold an answer.")
    citations: list[CitationBody] = []
    hits: list[HitBody] = Field(default=[], description="What was retrieved, for mode `search` and with `explain`.")
    conversation: str = Field(default="", description="Send it with the next question of the conversation.")
    watermark: str = Field(default="", description="Send it with the next question, so that answers never go back.")
    model: str = ""
    cost_usd: float = 0.0
    timings_ms: dict[str, float] = {}
    latency_ms: float = 0.0


class QuestionState(BaseModel):
    """How a question ended."""

    question: str
    status: Literal["answered", "not_found", "refused", "retracted", "failed"]
    text: str = ""
    citations: list[CitationBody] = []
    error_type: str = ""
    retry_after_ms: int = 0


def answer_body(seals: Seals, identity: Identity, answer: Answer) -> AnswerBody:
    """An answer for its caller."""
    return AnswerBody(
        question=answer.correlation_id,
        text=answer.text,
        found=answer.found,
        citations=[_citation(each) for each in answer.citations],
        hits=[_hit(each) for each in answer.hits],
        conversation=answer.conversation,
        watermark=sealed_watermark(seals, identity, answer.watermark),
        model=answer.model,
        cost_usd=answer.cost_usd,
        timings_ms=answer.timings_ms,
        latency_ms=round(answer.latency_ms, 3),
    )


def frame_event(seals: Seals, identity: Identity, frame: Frame, conversation: str) -> tuple[str, dict[str, Any]]:
    """Name and data of a streamed event."""
    common = {"question": frame.correlation, "attempt": frame.attempt, "n": frame.n}
    match frame:
        case AnswerDelta():
            return "delta", {**common, "text": frame.text}
        case AnswerFailed():
            told = {"name": frame.error_type, "detail": frame.message, "retry_after_ms": frame.retry_after_ms}
            return "failed", {**common, **told}
        case AnswerRetracted():
            return "retracted", {**common, "reason": frame.reason, "retry_after_ms": frame.retry_after_ms}
        case AnswerCompleted():
            body = AnswerBody(
                question=frame.correlation,
                text=frame.text,
                found=frame.found,
                citations=[_citation(each) for each in frame.citations],
                hits=[_hit(each) for each in frame.hits],
                conversation=conversation,
                watermark=sealed_watermark(seals, identity, frame.watermark),
                model=frame.model,
                cost_usd=frame.cost_usd,
                timings_ms=frame.timings_ms,
            )
            return "completed", {**common, **body.model_dump(exclude={"latency_ms"})}


def question_state(record: AnswerProduced) -> QuestionState:
    """What the log says of a question, for its asker."""
    return QuestionState(
        question=record.correlation,
        status=record.status,
        text="" if record.status == "retracted" else record.text,
        citations=[] if record.status == "retracted" else [_citation(each) for each in record.citations],
        error_type=record.error_type,
        retry_after_ms=record.retry_after_ms,
    )


def sealed_watermark(seals: Seals, identity: Identity, watermark: str) -> str:
    """A watermark that only its caller can send back; it holds offsets of the log."""
    return seals.seal(WATERMARK, identity, watermark.encode()) if watermark else ""


def _citation(found: Citation) -> CitationBody:
    return CitationBody(
        document=found.document,
        version=found.version,
        chunk_id=found.chunk_id,
        title=found.title,
        heading=found.heading,
        start=found.start,
        end=found.end,
        quote=found.quote,
    )


def _hit(found: Hit) -> HitBody:
    return HitBody(document=found.document, version=found.version, chunk_id=found.chunk_id, rank=found.rank)
