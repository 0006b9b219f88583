"""What an asker gets back."""

import msgspec

from millrace.errors import RequestFailed, RequestRetracted
from millrace.events.query import AnswerCompleted, AnswerFailed, AnswerRetracted, Citation, Dropped, Hit


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one question.

    Attributes
    ----------
    text : str
        The whole answer; empty when nothing in the corpus answers.
    found : bool
        Whether the corpus holds an answer.
    citations : tuple of Citation
        Passages quoted; ``[n]`` in the text is the n-th.
    hits, dropped : tuple
        What was retrieved and what was not used, where it was asked for.
    watermark : str
        The state of the corpus it was read from.
    correlation_id, trace_id : str
        Names of the question in the log and in traces; `millrace trace` takes either.
    latency_ms : float
        From sending the question to the whole answer, at the asker.
    timings_ms : dict of str to float
        Per stage, at the worker.
    cost_usd : float
        Price; 0 for local models.
    """

    text: str
    found: bool
    citations: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    watermark: str = ""
    model: str = ""
    cost_usd: float = 0.0
    timings_ms: dict[str, float] = {}
    correlation_id: str = ""
    trace_id: str = ""
    conversation: str = ""
    latency_ms: float = 0.0


def answer_of(frame: AnswerCompleted, *, trace_id: str, conversation: str, latency_ms: float) -> Answer:
    """Answer of a terminal frame, with what only the asker knows."""
    return Answer(
        text=frame.text,
        found=frame.found,
        citations=frame.citations,
        hits=frame.hits,
        dropped=frame.dropped,
        watermark=frame.watermark,
        model=frame.model,
        cost_usd=frame.cost_usd,
        timings_ms=frame.timings_ms,
        correlation_id=frame.correlation,
        trace_id=trace_id,
        conversation=conversation,
        latency_ms=latency_ms,
    )


def failure_of(frame: AnswerFailed | AnswerRetracted) -> RequestFailed:
    """Error of a terminal frame that is no answer."""
    if isinstance(frame, AnswerRetracted):
        message = f"the answer was taken back ({frame.reason}); discard what was streamed"
        return RequestRetracted("retracted", message, frame.retry_after_ms)
    return RequestFailed(frame.error_type, frame.message, frame.retry_after_ms)
