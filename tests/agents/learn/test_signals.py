"""Numbers of answers and of feedback, once for each record."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from agents.learn.quality import score_quality
from agents.learn.signals import measure_signals
from millrace.agent import spec_of
from millrace.event import Event, Origin
from millrace.events.learn import DriftDetected, OffsetRange, SignalsMeasured
from millrace.events.query import AnswerProduced, Hit
from millrace.testing import delivered, run
from millrace.topics import ANSWER_PRODUCED
from tests.agents.learn.living import Written, loop, read


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


def measured(event: AnswerProduced) -> list[SignalsMeasured]:
    found = measure_signals(delivered(event, origin=Origin(ANSWER_PRODUCED.name, 2, 7)))
    return [] if found is None else [found]


def heard(events: Sequence[Event]) -> list[SignalsMeasured]:
    """What is measured of feedback in a log."""
    emitted = asyncio.run(read(loop(specs=[spec_of(score_quality)]), events))
    return [event for event in emitted if isinstance(event, SignalsMeasured)]


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


@pytest.mark.parametrize(("kind", "values"), [("down", [{"feedback": -1.0}]), ("comment", [])])
def test_feedback_is_what_it_says_and_a_comment_says_nothing(kind: str, values: list[dict[str, float]]) -> None:
    log = Written()
    log.ask("q", "c", "kim", "Who keeps the list?", "The office keeps the list.")
    log.say(kind, "q", "c", "kim")
    found = heard(log.events)
    assert [each.values for each in found] == values
    places = [OffsetRange("query.feedback.given.v1", 1, 0, 1)]
    assert [each.position for each in found] == places[: len(values)]


@pytest.mark.parametrize("told_by", ["QueryReceived", "ContextRetrieved", "AnswerProduced"])
def test_feedback_on_a_bare_search_says_nothing_whichever_record_tells_that_it_was_one(told_by: str) -> None:
    log = Written()
    log.ask("q", "c", "kim", "Who keeps the list?", "The office keeps the list.")
    records: list[Any] = [each for each in log.events if type(each).__name__ == told_by]
    searched: list[Event] = [each.replace(mode="search") for each in records]
    answered_too = [each for each in log.events if each not in records] if told_by == "AnswerProduced" else []
    log.say("down", "q", "c", "kim")
    given = log.events[-1]
    assert heard([*answered_too, *searched, given]) == []
    assert [each.values for each in heard([*answered_too, *records, given])] == [{"feedback": -1.0}]


def test_feedback_on_searches_is_no_drift() -> None:
    """Many people dislike what they found: no answer was read, so there is nothing for a reader to learn."""
    assert "feedback" in _drifted("answer")
    assert _drifted("search") == set()


def _drifted(mode: str) -> set[str]:
    log, rng = Written(), random.Random(2)
    for i in range(240):
        log.ask(f"q{i}", f"c{i}", f"user-{i % 30}", "Who keeps the list?", "The office keeps the list.")
        liked = i < 120 or rng.random() < 0.1
        log.say("up" if liked else "down", f"q{i}", f"c{i}", f"user-{i % 30}")
    events = [each.replace(mode=mode) if hasattr(each, "mode") else each for each in log.events]
    emitted = asyncio.run(read(loop(), events))
    return {event.signal for event in emitted if isinstance(event, DriftDetected)}


def test_a_record_that_was_written_twice_names_the_same_cause() -> None:
    """By which whoever counts tells that it is one."""
    twice = [delivered(answered(hit(1, 1, 0.7, 3.0)), id="one") for _ in range(2)]
    first, again = run(spec_of(measure_signals), twice)
    assert first.meta.id != again.meta.id
    assert first.meta.causation_id == again.meta.causation_id == "one"


@pytest.mark.parametrize(("rating", "value"), [(1, -1.0), (5, 1.0), (-1_000_000, -1.0), (1_000_000, 1.0)])
def test_a_rating_from_elsewhere_weighs_no_more_than_the_best_and_the_worst(rating: int, value: float) -> None:
    log = Written()
    log.say("rating", "q", "c", "kim", rating=rating)
    (found,) = heard(log.events)
    assert found.values == {"feedback": value}
