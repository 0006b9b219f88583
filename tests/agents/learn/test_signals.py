"""Numbers of answers and of feedback, once for each record."""

from typing import Any

import pytest

from agents.learn.signals import measure_signals
from millrace.agent import spec_of
from millrace.event import Origin
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import OffsetRange, SignalsMeasured
from millrace.events.query import AnswerProduced, Hit
from millrace.testing import delivered, run
from millrace.topics import ANSWER_PRODUCED, FEEDBACK_GIVEN


def hit(place: int, score: float, dense: float, lexical: float) -> Hit:
    return Hit(chunk_id=f"c{place}", document="d", version=1, rank=place, score=score, dense=dense, lexical=lexical)


def answered(*hits: Hit, **fields: Any) -> AnswerProduced:
    defaults: dict[str, Any] = {
        "tenant": "acme",
        "conversation": "c",
        "correlation": "q",
        "status": "answered",
        "confidence": 0.9,
    }
    return AnswerProduced(**{**defaults, **fields}, hits=hits)


def measured(event: Any, topic: str = ANSWER_PRODUCED.name) -> list[SignalsMeasured]:
    found = measure_signals(delivered(event, origin=Origin(topic, 2, 7)))
    return [] if found is None else [found]


def test_an_answer_is_measured_where_it_stands() -> None:
    hits = [hit(place, 1 - place / 10, 0.8 - place / 10, lexical) for place, lexical in enumerate((9, 12, 7, 6, 5, 1))]
    (found,) = measured(answered(*hits))
    assert found.values == pytest.approx({"lexical_top1": 12.0, "score_gap": (12 - 5) / 12, "confidence": 0.9})
    assert found.position == OffsetRange(ANSWER_PRODUCED.name, 2, 7, 8)


def test_an_answer_with_few_hits_has_no_gap_and_one_without_hits_says_nothing() -> None:
    (found,) = measured(answered(hit(1, 1, 0.7, 3.0)))
    assert found.values == {"lexical_top1": 3.0, "confidence": 0.9}
    assert measured(answered(status="refused")) == []


def test_a_bare_search_is_no_answer_and_says_nothing() -> None:
    hits = [hit(place, 1 - place / 10, 0.8 - place / 10, 9.0 - place) for place in range(6)]
    for status in ("answered", "not_found"):
        assert measured(answered(*hits, status=status, mode="search")) == []
        (control,) = measured(answered(*hits, status=status))
        assert control.values.keys() == {"lexical_top1", "score_gap", "confidence"}


def test_feedback_is_what_it_says_and_a_comment_says_nothing() -> None:
    def given(kind: Any) -> list[SignalsMeasured]:
        feedback = FeedbackGiven(tenant="acme", conversation="c", correlation="q", kind=kind)
        return measured(feedback, FEEDBACK_GIVEN.name)

    (found,) = given("down")
    assert found.values == {"feedback": -1.0}
    assert given("comment") == []


def test_a_record_that_was_written_twice_names_the_same_cause() -> None:
    """By which whoever counts tells that it is one."""
    twice = [delivered(answered(hit(1, 1, 0.7, 3.0)), id="one") for _ in range(2)]
    first, again = run(spec_of(measure_signals), twice)
    assert first.meta.id != again.meta.id
    assert first.meta.causation_id == again.meta.causation_id == "one"


@pytest.mark.parametrize(("rating", "value"), [(1, -1.0), (5, 1.0), (-1_000_000, -1.0), (1_000_000, 1.0)])
def test_a_rating_from_elsewhere_weighs_no_more_than_the_best_and_the_worst(rating: int, value: float) -> None:
    feedback = FeedbackGiven(tenant="acme", conversation="c", correlation="q", kind="rating", rating=rating)
    (found,) = measured(feedback, FEEDBACK_GIVEN.name)
    assert found.values == {"feedback": value}
