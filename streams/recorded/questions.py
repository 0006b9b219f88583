"""Recorded questions of a range, each with its context, its end and what was said of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import msgspec

from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import ContractError
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from millrace.positions import Since, Start, Stop, Until
from millrace.reader import LogReader, RawRecord, decode, raw_records
from millrace.topics import ANSWER_PRODUCED, CONTEXT_RETRIEVED, FEEDBACK_GIVEN, QUERY_RECEIVED, Topic

Question: TypeAlias = tuple[str, str, str]
"""Tenant, conversation and correlation id: who uses the id of another question is told so in an answer of their own."""
Report: TypeAlias = Callable[[int, int], None]
FOLLOWING: Final = (CONTEXT_RETRIEVED, ANSWER_PRODUCED, FEEDBACK_GIVEN)
"""What is read besides the questions themselves."""
CLOCK_SKEW_MS: Final = 600_000
"""Records bear the time of who wrote them: what a worker wrote of a question may seem older by so much."""
_CORRELATION: Final = "ce_correlationid"


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Which questions.

    Attributes
    ----------
    start, stop : Start, Stop
        Positions in the topic of questions; see `millrace.reader.LogReader`.
    tenant : str
        Only questions of this tenant.
    limit : int
        Only so many, the newest; 0 for all.
    """

    start: Start = "beginning"
    stop: Stop = "now"
    tenant: str
    limit: int = 0


class RecordedQuestion(msgspec.Struct, kw_only=True):
    """A question and what the log says of it.

    Attributes
    ----------
    asked_at_ms, retrieved_at_ms : int
        When the broker took the question and its context, unix milliseconds; -1 where it does not say.
    context, answer : event or None
        Its context and its end; None where the log holds none.
    feedback : list of FeedbackGiven
        In the order of the log.
    """

    received: QueryReceived
    asked_at_ms: int
    context: ContextRetrieved | None = None
    retrieved_at_ms: int = -1
    answer: AnswerProduced | None = None
    feedback: list[FeedbackGiven] = []

    @property
    def correlation(self) -> str:
        """Correlation id."""
        return self.received.meta.correlation_id or self.received.meta.id


class Recording(msgspec.Struct, frozen=True):
    """What was read: the questions in order of time, and how many records were no events of ours."""

    questions: list[RecordedQuestion]
    n_undecodable: int = 0


def read_recording(connection: Connection, wanted: Range, *, codec: Codec, progress: Report | None = None) -> Recording:
    """Read the questions of a range, then what followed from them.

    Of a question asked again under the same correlation id the first record counts, as it does for its asker.

    Raises
    ------
    LogTruncated
        If the log no longer holds a position that `wanted` names.
    Unavailable, ConfigurationError
        See `LogReader`.
    """
    reading = _Reading(connection, codec, progress or (lambda _done, _total: None))
    found: dict[Question, RecordedQuestion] = {}
    for record in reading.records([QUERY_RECEIVED], wanted.start, wanted.stop):
        if _in_range(record, wanted) and record.header("ce_tenant") == wanted.tenant:
            event = reading.event(record)
            if isinstance(event, QueryReceived):
                question = RecordedQuestion(received=event, asked_at_ms=record.timestamp_ms)
                found.setdefault((event.tenant, event.conversation, question.correlation), question)
    chosen = sorted(found.values(), key=lambda question: question.asked_at_ms)[-wanted.limit :]
    if chosen:
        reading.follow({(each.received.tenant, each.received.conversation, each.correlation): each for each in chosen})
    return Recording(chosen, reading.n_undecodable)


class _Reading:
    def __init__(self, connection: Connection, codec: Codec, progress: Report) -> None:
        self._connection = connection
        self._codec = codec
        self._progress = progress
        self.n_undecodable = 0

    def records(self, topics: Collection[Topic], start: Start, stop: Stop = "now") -> Iterator[RawRecord]:
        n = 0
        with LogReader(self._connection, list(topics), start=start, stop=stop) as reader:
            for batch in reader.batches():
                n += len(batch)
                yield from raw_records(batch)
                self._progress(n, reader.total)

    def event(self, record: RawRecord) -> Event | None:
        try:
            return decode(self._codec, record)
        except ContractError:
            self.n_undecodable += 1
            return None

    def follow(self, questions: Mapping[Question, RecordedQuestion]) -> None:
        """Put what followed from some questions beside them."""
        first_ms = min(question.asked_at_ms for question in questions.values())
        correlations = {correlation for _, _, correlation in questions}
        contexts: dict[Question, list[tuple[ContextRetrieved, int]]] = {}
        start: Start = Since(max(0, first_ms - CLOCK_SKEW_MS)) if first_ms >= 0 else "beginning"
        for record in self.records(FOLLOWING, start):
            named = record.topic == FEEDBACK_GIVEN.name or record.header(_CORRELATION) in correlations
            event = self.event(record) if named else None  # most belong to other questions, and are not decoded
            if not isinstance(event, ContextRetrieved | AnswerProduced | FeedbackGiven):
                continue
            at = (event.tenant, event.conversation, _correlation(event))
            if (question := questions.get(at)) is None:
                continue
            if isinstance(event, ContextRetrieved):
                contexts.setdefault(at, []).append((event, record.timestamp_ms))
            elif isinstance(event, AnswerProduced):
                question.answer = question.answer or event
            elif all(each.meta.id != event.meta.id for each in question.feedback):
                question.feedback.append(event)
        for at, found in contexts.items():
            questions[at].context, questions[at].retrieved_at_ms = _own(found, questions[at].answer)


def _own(
    contexts: Iterable[tuple[ContextRetrieved, int]], answer: AnswerProduced | None
) -> tuple[ContextRetrieved, int]:
    """The context that an answer was read from: a redelivered question may have been searched for twice."""
    found = list(contexts)
    return next((each for each in found if answer is not None and each[0].watermark == answer.watermark), found[0])


def _in_range(record: RawRecord, wanted: Range) -> bool:
    """Whether a record lies within times that the broker itself may not have been able to look up."""
    if record.timestamp_ms < 0:
        return True
    early = isinstance(wanted.start, Since) and record.timestamp_ms < wanted.start.timestamp_ms
    late = isinstance(wanted.stop, Until) and record.timestamp_ms >= wanted.stop.timestamp_ms
    return not early and not late


def _correlation(event: Event) -> str:
    if isinstance(event, AnswerProduced | FeedbackGiven):
        return event.correlation
    return event.meta.correlation_id or event.meta.id
