"""Laws about which records belong to a question."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from millrace.event import E, Event
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from millrace.positions import Since, Start, Stop, Until
from millrace.reader import RawRecord
from millrace.testing import delivered
from millrace.topics import QUERY_RECEIVED
from streams.recorded.questions import Range, RecordedQuestion, _in_range, _own, _Reading


def context(watermark: str) -> ContextRetrieved:
    return ContextRetrieved(tenant="t", conversation="c", question="?", watermark=watermark)


def answer(watermark: str) -> AnswerProduced:
    return AnswerProduced(tenant="t", conversation="c", correlation="x", status="answered", watermark=watermark)


def test_of_two_contexts_that_counts_which_the_answer_was_read_from() -> None:
    found = [(context("e/i:0=1"), 5), (context("e/i:0=2"), 6)]
    assert _own(found, answer("e/i:0=2"))[1] == 6
    assert _own(found, answer("e/i:0=1"))[1] == 5
    assert _own(found, None)[1] == 5
    assert _own(found, answer(""))[1] == 5  # it failed; the first record of an id is the truth


@pytest.mark.parametrize(
    ("start", "stop", "timestamps"),
    [("beginning", "now", [-1, 1, 5, 9]), (Since(5), "now", [-1, 5, 9]), ("beginning", Until(5), [-1, 1])],
)
def test_times_hold_where_the_broker_cannot_look_them_up(start: Start, stop: Stop, timestamps: list[int]) -> None:
    wanted = Range(start=start, stop=stop, tenant="t")
    records = [
        RawRecord(QUERY_RECEIVED.name, 0, n, timestamp, None, None, []) for n, timestamp in enumerate((-1, 1, 5, 9))
    ]
    assert [record.timestamp_ms for record in records if _in_range(record, wanted)] == timestamps


class Log(_Reading):
    """Reads events from memory."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    def records(self, *_: object) -> Iterator[RawRecord]:
        for n, event in enumerate(self._events):
            headers = [("ce_correlationid", event.meta.correlation_id.encode())]
            yield RawRecord("", 0, n, 0, None, None, headers)

    def event(self, record: RawRecord) -> Event:
        return self._events[record.offset]


def of(event: E, correlation: str) -> E:
    return event.with_meta(msgspec.structs.replace(delivered(event).meta, correlation_id=correlation))


def test_what_another_conversation_says_under_the_same_correlation_id_belongs_to_no_question() -> None:
    received = of(QueryReceived(tenant="t", conversation="c", question="?"), "x")
    question = RecordedQuestion(received=received, asked_at_ms=1)
    own, foreign = answer("e/i:0=1"), answer("").replace(conversation="other", status="refused")
    Log(of(foreign, "x"), of(own, "x")).follow({("t", "c", "x"): question})
    assert question.answer is not None
    assert question.answer.status == "answered"
