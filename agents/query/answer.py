"""End a question: look at access once more, write the terminal record, send the terminal frame.

Delivery: at least once; the first terminal record of a question is the truth and later ones are dropped by readers. The
runner sends the frame only after the record is acknowledged.
"""

from collections.abc import Sequence

from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.query import AnswerProduced, CompletionGenerated, QueryReceived
from millrace.topics import ANSWER_PRODUCED, COMPLETION_GENERATED, REPLY

from agents.ports import Principal, QueryPorts
from agents.query.replies import NOT_READY, correlation_of, ended_without_answer, terminal_frames


def fail_question(question: QueryReceived, error_type: str, message: str) -> Sequence[Event]:
    """Tell the asker that the question could not be worked on; a client ends on this frame whatever its number."""
    return ended_without_answer(question, "failed", error_type, message)


@agent(source=COMPLETION_GENERATED, sinks=(ANSWER_PRODUCED, REPLY))
async def answer(completion: CompletionGenerated, ports: QueryPorts) -> Outputs:
    """Answer, unless a passage that was quoted may no longer be seen: then everything is taken back.

    A table that has lost touch with the log cannot say what may be seen: then there is no answer.
    """
    if not ports.visibility.confirmed():
        return ended_without_answer(
            completion,
            "failed",
            "not_ready",
            NOT_READY,
            retry_after_ms=ports.policy.not_ready_retry_ms,
            n_frames=completion.n_frames,
        )
    view = ports.visibility.visible(completion.tenant, Principal(completion.user, frozenset(completion.groups)))
    hits = tuple(hit for hit in completion.hits if view.why_not(hit.document, hit.chunk_id) is None)
    lost = any(view.why_not(found.document, found.chunk_id) is not None for found in completion.citations)
    record = AnswerProduced(
        tenant=completion.tenant,
        conversation=completion.conversation,
        correlation=correlation_of(completion),
        status="retracted" if lost else "answered" if completion.found else "not_found",
        text="" if lost else completion.text,
        citations=() if lost else completion.citations,
        hits=() if lost else hits,
        dropped=() if lost else completion.dropped,
        watermark=completion.watermark,
        model=completion.model,
        confidence=completion.confidence,
        n_tokens_in=completion.n_tokens_in,
        n_tokens_out=completion.n_tokens_out,
        cost_usd=completion.cost_usd,
        retry_after_ms=ports.policy.retracted_retry_ms if lost else 0,
        n_frames=completion.n_frames,
        timings_ms=dict(completion.meta.timings_ms),
        user=completion.user,
    )
    return [record, *terminal_frames(record, completion)]
