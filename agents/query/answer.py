"""End a question: look at access once more, write the terminal record, send the terminal frame.

Delivery: at least once; the first terminal record of a question is the truth and later ones are dropped by readers. The
runner sends the frame only after the record is acknowledged.
"""

from collections.abc import Sequence

from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.query import AnswerProduced, CompletionGuarded, QueryReceived
from millrace.topics import ANSWER_PRODUCED, COMPLETION_GUARDED, REPLY, REVIEW_ITEM_OPENED, VERDICT_GIVEN

from agents.correlation import correlation_of
from agents.guard.question import REFUSED, judge_fully
from agents.guard.verdicts import Subject, listed
from agents.ports import Principal, QueryPorts
from agents.query.replies import GUARDED, NOT_READY, ended_without_answer, terminal_frames


def fail_question(question: QueryReceived, error_type: str, message: str) -> Sequence[Event]:
    """Tell the asker that the question could not be worked on; a client ends on this frame whatever its number."""
    return ended_without_answer(question, "failed", error_type, message)


@agent(source=COMPLETION_GUARDED, sinks=(VERDICT_GIVEN, REVIEW_ITEM_OPENED, ANSWER_PRODUCED, REPLY))
async def answer(completion: CompletionGuarded, ports: QueryPorts) -> Outputs:
    """Answer, unless a passage that was quoted may no longer be seen, or all rules together block the question.

    What was streamed is then taken back. A table that has lost touch with the log cannot say what may be seen: then
    there is no answer.
    """
    subject = Subject(completion.tenant, "question", correlation_of(completion), answer.__name__)
    judged = await judge_fully(completion.question, subject, ports.scanner, ports.guard)
    said = listed(judged.verdicts, completion.verdicts)
    if not ports.visibility.confirmed():
        return ended_without_answer(
            completion,
            "failed",
            "not_ready",
            NOT_READY,
            retry_after_ms=ports.policy.not_ready_retry_ms,
            n_frames=completion.n_frames,
            verdicts=said,
        )
    blocked_by = completion.blocked or judged.blocked_by
    if blocked_by and not completion.n_frames:
        message = REFUSED.format(rule=blocked_by)
        return [
            *judged.events(completion.conversation),
            *ended_without_answer(completion, "refused", GUARDED, message, verdicts=said),
        ]
    record = _record(completion, ports, blocked=bool(blocked_by)).replace(verdicts=said)
    return [*judged.events(completion.conversation), record, *terminal_frames(record, completion)]


def _record(completion: CompletionGuarded, ports: QueryPorts, *, blocked: bool) -> AnswerProduced:
    view = ports.visibility.visible(completion.tenant, Principal(completion.user, frozenset(completion.groups)))
    hits = tuple(hit for hit in completion.hits if view.why_not(hit.document, hit.chunk_id) is None)
    lost = any(view.why_not(found.document, found.chunk_id) is not None for found in completion.citations)
    gone = lost or blocked
    return AnswerProduced(
        tenant=completion.tenant,
        conversation=completion.conversation,
        correlation=correlation_of(completion),
        status="retracted" if gone else "answered" if completion.found else "not_found",
        text="" if gone else completion.text,
        citations=() if gone else completion.citations,
        hits=() if gone else hits,
        dropped=() if gone else completion.dropped,
        watermark=completion.watermark,
        model=completion.model,
        confidence=completion.confidence,
        n_tokens_in=completion.n_tokens_in,
        n_tokens_out=completion.n_tokens_out,
        cost_usd=completion.cost_usd,
        error_type=GUARDED if blocked else "",
        retry_after_ms=ports.policy.retracted_retry_ms if lost and not blocked else 0,
        n_frames=completion.n_frames,
        timings_ms=dict(completion.meta.timings_ms),
        user=completion.user,
        mode=completion.mode,
    )
