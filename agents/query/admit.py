"""Decide whether a question may be worked on.

Delivery: at least once. A question that already has its terminal record only gets its frame again; nothing is computed
twice.
"""

import re
import unicodedata
from collections.abc import Awaitable

from millrace.agent import Outputs, agent
from millrace.event import Event
from millrace.events.query import QueryAdmitted, QueryReceived, Receipt
from millrace.topics import ANSWER_PRODUCED, QUERY_ADMITTED, QUERY_RECEIVED, REPLY

from agents.ports import Principal, QueryPorts
from agents.query.replies import correlation_of, ended_without_answer, terminal_frames

EVERYONE = "*"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SPACE = re.compile(r"\s+")


def park(question: QueryReceived, ports: QueryPorts) -> Awaitable[None] | None:
    """Wait beside the lanes until the outcomes named in `after`, and the watermark, are visible here."""
    if ports.answers.find(correlation_of(question)) is not None:
        return None
    receipts = _own(question)
    if not question.watermark and all(ports.visibility.resolved(receipt) for receipt in receipts):
        return None
    return ports.visibility.wait_for(receipts, question.watermark)


def cancel(event: Event, ports: QueryPorts) -> Awaitable[None] | None:
    """Go on only while somebody waits for the answer; a question that has its end is not given another."""
    correlation = correlation_of(event)
    if ports.answers.find(correlation) is not None:
        return None
    return ports.cancellations.watch(event.tenant, correlation)


@agent(source=QUERY_RECEIVED, sinks=(QUERY_ADMITTED, ANSWER_PRODUCED, REPLY), park=park, cancel=cancel)
async def admit(question: QueryReceived, ports: QueryPorts) -> Outputs:
    """Admit a question, refuse it, or repeat its end."""
    ended = ports.answers.find(correlation_of(question))
    if ended is not None:
        return terminal_frames(ended, question)
    policy = ports.policy
    reply_to = question.meta.reply_to
    if reply_to and reply_to not in policy.reply_topics:
        # No frame: the partition it names belongs to a topic that this stack does not own.
        message = f"reply-to {reply_to[:80]!r} is not allowed; allowed are {', '.join(policy.reply_topics)}"
        return ended_without_answer(question, "refused", "reply_to", message, reply=False)
    text = normalised(question.question)
    refusal = _refusal(question, text, ports)
    if refusal is not None:
        return ended_without_answer(question, "refused", *refusal)
    if not ports.visibility.confirmed():
        message = "this worker cannot confirm that it has seen the latest changes; ask again shortly"
        return ended_without_answer(question, "failed", "not_ready", message, retry_after_ms=policy.not_ready_retry_ms)
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


def principal_of(event: QueryAdmitted) -> Principal:
    """Who an admitted question asks for."""
    return Principal(event.user, frozenset(event.groups))


def _own(question: QueryReceived) -> list[Receipt]:
    return [receipt for receipt in question.after if receipt.tenant == question.tenant]


def _refusal(question: QueryReceived, text: str, ports: QueryPorts) -> tuple[str, str] | None:
    policy = ports.policy
    if not text:
        return "empty", "the question is empty; ask something"
    if len(text) > policy.max_question_chars:
        return "too_long", f"the question has {len(text)} characters, at most {policy.max_question_chars} are read"
    if not 1 <= question.top_k <= policy.max_top_k:
        return "top_k", f"top_k is {question.top_k}, allowed are 1 to {policy.max_top_k}"
    if len(_own(question)) != len(question.after):
        return (
            "foreign_receipt",
            f"a receipt in `after` is not of tenant {question.tenant!r}; send receipts of your own",
        )
    return None
