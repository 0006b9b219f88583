"""Decide whether a question may be worked on.

Delivery: at least once. A question that already has its terminal record only gets its frame again, if whoever asked may
still see what it says; nothing is computed twice.
"""

import re
import unicodedata
from collections.abc import Awaitable, Sequence

from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.query import AnswerProduced, QueryAdmitted, QueryReceived, Receipt
from millrace.groups import EVERYONE
from millrace.topics import (
    ANSWER_PRODUCED,
    QUERY_ADMITTED,
    QUERY_RECEIVED,
    REPLY,
    REVIEW_ITEM_OPENED,
    VERDICT_GIVEN,
)

from agents.correlation import correlation_of
from agents.guard.question import REFUSED, judge_quickly
from agents.guard.verdicts import Subject, listed
from agents.ports import Principal, QueryPorts
from agents.query.replies import GUARDED, NOT_READY, ended_without_answer, terminal_frames

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SPACE = re.compile(r"\s+")


def park(question: QueryReceived, ports: QueryPorts) -> Awaitable[None] | None:
    """Wait beside the lanes until the outcomes named in `after`, and the watermark, are visible here."""
    if ports.answers.find(question.tenant, correlation_of(question)) is not None:
        return None
    if not 1 <= question.timeout_ms <= ports.policy.max_timeout_ms:
        return None  # refused at once: time spent parked is time allowed
    receipts = _own(question)
    if not question.watermark and all(ports.visibility.resolved(receipt) for receipt in receipts):
        return None
    return ports.visibility.wait_for(receipts, question.watermark)


def cancel(event: Event, ports: QueryPorts) -> Awaitable[None] | None:
    """Go on only while somebody waits for the answer; a question that has its end is not given another."""
    correlation = correlation_of(event)
    if ports.answers.find(event.tenant, correlation) is not None:
        return None
    return ports.cancellations.watch(event.tenant, correlation)


@agent(
    source=QUERY_RECEIVED,
    sinks=(QUERY_ADMITTED, VERDICT_GIVEN, REVIEW_ITEM_OPENED, ANSWER_PRODUCED, REPLY),
    park=park,
    cancel=cancel,
)
async def admit(question: QueryReceived, ports: QueryPorts) -> Outputs:
    """Admit a question, refuse it, or repeat its end."""
    policy = ports.policy
    no_address = _no_address(question, ports)
    if no_address:
        return ended_without_answer(question, "refused", "reply_to", no_address, reply=False)
    ended = ports.answers.find(question.tenant, correlation_of(question))
    if ended is not None:
        return _again(ended, question, ports)
    text = normalised(question.question)
    refusal = _refusal(question, text, ports)
    if refusal is not None:
        return ended_without_answer(question, "refused", *refusal)
    if not ports.visibility.confirmed():
        return ended_without_answer(
            question, "failed", "not_ready", NOT_READY, retry_after_ms=policy.not_ready_retry_ms
        )
    subject = Subject(question.tenant, "question", correlation_of(question), admit.__name__)
    judged = judge_quickly(text, subject, ports.scanner, ports.personal_data, ports.guard)
    if judged.blocked_by:
        message, said = REFUSED.format(rule=judged.blocked_by), listed(judged.verdicts)
        return [
            *judged.events(question.conversation),
            *ended_without_answer(question, "refused", GUARDED, message, verdicts=said),
        ]
    return [*judged.events(question.conversation), _admitted(question, text)]


def _admitted(question: QueryReceived, text: str) -> QueryAdmitted:
    return QueryAdmitted(
        tenant=question.tenant,
        conversation=question.conversation,
        question=text,
        user=question.user,
        groups=tuple(sorted({EVERYONE, *question.groups})),
        mode=question.mode,
        top_k=question.top_k,
        exact=question.exact,
        explain=question.explain,
        labels=question.labels,
    )


def normalised(question: str) -> str:
    """Question in composed form, on one line, without control characters."""
    return _SPACE.sub(" ", _CONTROL.sub(" ", unicodedata.normalize("NFC", question))).strip()


def _again(ended: AnswerProduced, question: QueryReceived, ports: QueryPorts) -> Sequence[Event]:
    """End of a question for whoever asked it, as far as it may still be seen."""
    if (ended.conversation, ended.user) != (question.conversation, question.user):
        message = "the correlation id belongs to another question; ask again with a new one"
        return ended_without_answer(question, "refused", "correlation", message)
    if not (ended.citations or ended.hits):
        return terminal_frames(ended, question)
    if not ports.visibility.confirmed():
        unknown = ended_without_answer(
            question, "failed", "not_ready", NOT_READY, retry_after_ms=ports.policy.not_ready_retry_ms
        )
        return unknown[1:]  # it has its record
    view = ports.visibility.visible(question.tenant, Principal(question.user, frozenset({EVERYONE, *question.groups})))
    hits = tuple(hit for hit in ended.hits if view.why_not(hit.document, hit.chunk_id) is None)
    quoted = any(view.why_not(found.document, found.chunk_id) is not None for found in ended.citations)
    if quoted or (ended.text and len(hits) < len(ended.hits)):
        gone = AnswerProduced(
            tenant=ended.tenant,
            conversation=ended.conversation,
            correlation=ended.correlation,
            status="retracted",
            retry_after_ms=ports.policy.retracted_retry_ms,
            n_frames=ended.n_frames,
        )
        return terminal_frames(gone, question)
    return terminal_frames(ended.replace(hits=hits), question)


def _no_address(question: QueryReceived, ports: QueryPorts) -> str:
    """Why no frame can be sent where a question wants its reply; empty where one can."""
    meta, allowed = question.meta, ports.policy.reply_topics
    if not meta.reply_to:
        return ""
    if meta.reply_to not in allowed:  # the partition it names belongs to a topic that this stack does not own
        return f"reply-to {meta.reply_to[:80]!r} is not allowed; allowed are {', '.join(allowed)}"
    if not -1 <= meta.reply_partition < ports.n_reply_partitions:
        return (
            f"reply-partition {meta.reply_partition} does not exist; {REPLY.name} has partitions 0 to "
            f"{ports.n_reply_partitions - 1}"
        )
    return ""


def _own(question: QueryReceived) -> list[Receipt]:
    return [receipt for receipt in question.after if receipt.tenant == question.tenant]


def _refusal(question: QueryReceived, text: str, ports: QueryPorts) -> tuple[str, str] | None:
    policy = ports.policy
    if not text:
        return "empty", "the question is empty; ask something"
    if len(text) > policy.max_question_chars:
        return "too_long", f"the question has {len(text)} characters, at most {policy.max_question_chars} are read"
    if not 1 <= question.timeout_ms <= policy.max_timeout_ms:
        return "timeout", f"timeout_ms is {question.timeout_ms}, allowed are 1 to {policy.max_timeout_ms}"
    if not 1 <= question.top_k <= policy.max_top_k:
        return "top_k", f"top_k is {question.top_k}, allowed are 1 to {policy.max_top_k}"
    if len(_own(question)) != len(question.after):
        return (
            "foreign_receipt",
            f"a receipt in `after` is not of tenant {question.tenant!r}; send receipts of your own",
        )
    return None
