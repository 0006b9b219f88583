"""Join what is known of an answer, and say how good it was: `score_quality`, keyed by conversation.

Delivery: at least once; a table applies each event once, and one that changes nothing of what is known of an answer
makes no revision, so redelivered, duplicated and superseded feedback is counted nowhere. Topics may arrive in any
order: the last revision is the same. A conversation that rested for 30 days is forgotten, and sooner one of too many:
feedback that comes later finds no answer, and scores none.
"""

import hashlib
import zlib
from typing import Any, Final

import msgspec
from millrace import ids
from millrace.agent import agent
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewItemOpened
from millrace.events.learn import QualityScored
from millrace.events.query import AnswerProduced, Citation, ContextRetrieved, Hit, QueryReceived
from millrace.groups import EVERYONE
from millrace.topics import (
    ANSWER_PRODUCED,
    CONTEXT_RETRIEVED,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    QUERY_RECEIVED,
    REVIEW_ITEM_OPENED,
    SIGNALS_MEASURED,
)

from agents.correlation import correlation_of
from agents.learn.opinions import Opinions, Said, heard, opinions
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from agents.learn.scoring import Seen, flags_of, grounded, opinion_of, score
from agents.learn.signals import measured_feedback

RULE: Final = "quality"
KIND: Final = "poor_answer"
_WITHOUT_CONTEXT: Final = frozenset({"refused", "failed"})
_OVERHEAD_BYTES: Final = 128


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What the log has said of one question so far; None for what has not come yet."""

    asked: str | None = None
    question: str | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    hits: tuple[Hit, ...] = ()
    watermark: str = ""
    status: str = ""
    text: str = ""
    citations: tuple[Citation, ...] = ()
    model: str = ""
    confidence: float = 0.0
    latency_ms: float = 0.0

    @property
    def complete(self) -> bool:
        """Whether all that the log holds of it has come; what did not get so far has no context."""
        has_context = self.question is not None or self.status in _WITHOUT_CONTEXT
        return bool(self.status) and self.asked is not None and has_context


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """One question of a conversation.

    Attributes
    ----------
    known : bytes
        `Known`, as compressed msgpack.
    said : dict of str to Said
        Feedback by kind and user.
    revision : int
        Of the last QualityScored; 0 before the first.
    published : bytes
        Digest of what it said.
    reviewed : bool
        Whether a review item was opened.
    ignored : bool
        Whether it is a bare search, which is no answer.
    at_us : int
        The earliest time of what was said of it: that of its question, once a part of the question's trace has come.
    """

    known: bytes = b""
    said: dict[str, Said] = {}
    revision: int = 0
    published: bytes = b""
    reviewed: bool = False
    ignored: bool = False
    at_us: int = 0

    @property
    def n_bytes(self) -> int:
        """About how much it takes."""
        texts = sum(len(each.text) + len(each.user) for each in self.said.values())
        return len(self.known) + texts + _OVERHEAD_BYTES * (1 + len(self.said))


class Conversation(msgspec.Struct, frozen=True):
    """Answers of one conversation that may still get feedback, by correlation id, in the order they were heard of."""

    answers: dict[str, Answer] = {}


@agent(
    source=(QUERY_RECEIVED, CONTEXT_RETRIEVED, ANSWER_PRODUCED, FEEDBACK_GIVEN),
    sinks=(QUALITY_SCORED, REVIEW_ITEM_OPENED, SIGNALS_MEASURED),
    state=Conversation,
    keep_days=30,  # as long as the log keeps what was said
    keep_keys=50_000,
    keep_user_keys=2_000,
)
def score_quality(
    state: Conversation,
    event: QueryReceived | ContextRetrieved | AnswerProduced | FeedbackGiven,
    ports: LearnPorts,
) -> tuple[Conversation, list[Event]]:
    """Score the answer that an event is about, once its question and its end are known; measure feedback on answers."""
    policy = ports.policy
    correlation = event.correlation if isinstance(event, AnswerProduced | FeedbackGiven) else correlation_of(event)
    before = state.answers.get(correlation, Answer())
    at_us = min(event.meta.time_us, before.at_us or event.meta.time_us)
    answer = msgspec.structs.replace(_joined(before, event, policy), at_us=at_us)
    known = _unpacked(answer.known)
    found: list[Event] = []
    if not answer.ignored and known.complete:
        opinion = opinions(answer.said.values(), policy)
        scored = _scored(known, opinion, policy).replace(
            tenant=event.tenant, conversation=event.conversation, correlation=correlation
        )
        digest = hashlib.blake2b(msgspec.msgpack.encode(scored), digest_size=8).digest()
        if digest != answer.published:
            revision = answer.revision + 1
            n_reviewed = sum(each.reviewed for each in state.answers.values())
            may_open = not answer.reviewed and n_reviewed < policy.max_reviewed
            item = _review(scored, opinion) if may_open else None
            found = [scored.replace(revision=revision), *([item] if item else [])]
            answer = msgspec.structs.replace(
                answer, revision=revision, published=digest, reviewed=answer.reviewed or item is not None
            )
    if isinstance(event, FeedbackGiven) and not answer.ignored and (measured := measured_feedback(event)) is not None:
        found.append(measured)
    return Conversation(_bounded({**state.answers, correlation: answer}, policy)), found


def _joined(answer: Answer, event: Event, policy: LearnPolicy) -> Answer:
    if answer.ignored:
        return answer
    if isinstance(event, FeedbackGiven):
        return msgspec.structs.replace(answer, said=heard(answer.said, event, policy))
    if isinstance(event, QueryReceived | ContextRetrieved | AnswerProduced) and event.mode == "search":
        return Answer(ignored=True)
    known = _unpacked(answer.known)
    found: dict[str, Any]
    if isinstance(event, QueryReceived) and known.asked is None:
        groups = known.groups or tuple(sorted({EVERYONE, *event.groups}))
        found = {"asked": event.question, "user": event.user, "groups": groups, "labels": event.labels}
    elif isinstance(event, ContextRetrieved) and known.question is None:
        found = {
            "question": event.question, "user": event.user, "groups": event.groups, "labels": event.labels,
            "hits": event.hits, "watermark": event.watermark,
        }  # fmt: skip
    elif isinstance(event, AnswerProduced) and not known.status:
        found = {
            "status": event.status, "text": event.text, "citations": event.citations, "model": event.model,
            "confidence": event.confidence, "latency_ms": round(sum(event.timings_ms.values()), 3),
        }  # fmt: skip
    else:
        return answer
    return msgspec.structs.replace(answer, known=_packed(msgspec.structs.replace(known, **found)))


def _scored(known: Known, opinion: Opinions, policy: LearnPolicy) -> QualityScored:
    said, weight = opinion_of(opinion.judged)
    answered = known.status == "answered"
    carried = grounded(known.text, known.citations) if answered else 1.0
    seen = Seen(known.status, known.text, carried, known.latency_ms)
    flags = flags_of(seen, said, policy)
    value = score(seen, flags, said, weight, policy)
    return QualityScored(
        tenant="",
        conversation="",
        correlation="",
        revision=0,
        score=value,
        poor=value < policy.poor_below,
        flags=flags,
        feedback=opinion.counts,
        n_dislikes=opinion.n_dislikes,
        grounded=carried,
        status=known.status,
        model=known.model,
        confidence=known.confidence,
        latency_ms=known.latency_ms,
        question=known.question if known.question is not None else known.asked or "",
        asked=known.asked or "",
        answer=known.text,
        expected=opinion.correction.text if opinion.correction else "",
        corrected_by=opinion.correction.user if opinion.correction else "",
        rephrased=opinion.rephrased.text if opinion.rephrased else "",
        citations=known.citations,
        hits=known.hits,
        watermark=known.watermark,
        user=known.user,
        groups=known.groups,
        labels=known.labels,
    )


def _review(scored: QualityScored, opinion: Opinions) -> ReviewItemOpened | None:
    """Item for a poor answer that people complained about."""
    if not (scored.poor and opinion.complained):
        return None
    said = ", ".join(f"{n} x {kind}" for kind, n in scored.feedback.items())
    flags = f"; {', '.join(scored.flags)}" if scored.flags else ""
    return ReviewItemOpened(
        tenant=scored.tenant,
        subject_kind="answer",
        subject=scored.correlation,
        stage=score_quality.__name__,
        rule=RULE,
        kind=KIND,
        item=ids.derived("review", scored.tenant, "answer", scored.correlation, 0, RULE),
        reason=f"poor answer, score {scored.score:.2f}: {said}{flags}",
        conversation=scored.conversation,
    )


def _bounded(answers: dict[str, Answer], policy: LearnPolicy) -> dict[str, Answer]:
    """Without the oldest answers that are too many or take too much; never without the newest.

    Oldest by the time of the question. By the order of arrival, a reader that catches up, and reads many questions
    before their answers, would drop with each late part of an old answer the next one whose parts are still to come.
    """
    left = dict(answers)
    n_bytes = sum(answer.n_bytes for answer in left.values())
    for name in sorted(answers, key=lambda each: answers[each].at_us)[:-1]:
        if len(left) <= policy.kept_answers and n_bytes <= policy.kept_answer_bytes:
            break
        n_bytes -= left.pop(name).n_bytes
    return left


def _packed(known: Known) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(known), 1)


def _unpacked(data: bytes) -> Known:
    return msgspec.msgpack.decode(zlib.decompress(data), type=Known) if data else Known()
