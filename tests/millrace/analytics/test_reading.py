"""Laws about joining: one row for each question, whatever comes twice and in whatever order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from millrace.analytics.questions import WEEK_US, week_name, week_of
from millrace.analytics.reading import Collected, Joined
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import Span, VerdictGiven
from millrace.events.learn import QualityScored, StageAttributed
from millrace.events.query import AnswerProduced, ContextRetrieved
from millrace.events.usage import UsageMetered
from tests.builders import TIME_US, asked, with_meta

VECTOR = np.eye(4, dtype="<f4")[0].tobytes()


def records(question: str = "How long is leave?", *, at_us: int = TIME_US, **fields: Any) -> list[Event]:
    """Everything the log has of one question, in order."""
    root = asked(question, user="ada", **fields)
    root = root.with_meta(root.meta)
    received = with_meta(
        root, id=root.meta.id, correlation_id=root.meta.correlation_id, time_us=at_us, reply_to="", reply_partition=-1
    )
    own: dict[str, Any] = {"tenant": root.tenant, "conversation": root.conversation}
    correlation = received.meta.correlation_id
    about: dict[str, Any] = {**own, "correlation": correlation}
    answer = AnswerProduced(
        **about,
        status="answered",
        n_tokens_in=90,
        n_tokens_out=10,
        cost_usd=0.5,
        timings_ms={"read": 30.0, "rank": 12.0},
    )
    answer = with_meta(answer, cause=received)
    verdict = VerdictGiven(
        tenant=root.tenant, subject_kind="question", subject=correlation, stage="admit", rule="EMAIL_ADDRESS",
        kind="personal_data", action="allow", spans=(Span(0, 3),), n_found=1,
    )  # fmt: skip
    found: list[Event] = [
        ContextRetrieved(**own, question=question, vector=VECTOR, model="m", mode=received.mode),
        verdict,
        UsageMetered(tenant=root.tenant, answer=answer.meta.id, status="answered", n_tokens_in=70, cost_usd=0.25),
        FeedbackGiven(**about, kind="down"),
        QualityScored(**about, revision=1, score=0.9, poor=False),
        QualityScored(**about, revision=2, score=0.1, poor=True),
        StageAttributed(**about, revision=2, stage="reading", rule="r"),
        StageAttributed(**about, revision=1, stage="corpus", rule="r"),
    ]
    return [received, answer, *(with_meta(each, cause=received, agent=type(each).__name__) for each in found)]


def joined(events: Sequence[Event], *, limit: int = 100) -> Collected:
    found = Joined(TIME_US, TIME_US + WEEK_US, limit=limit)
    for event in events:
        found.add(event)
    return found.collected()


def test_a_question_is_joined_with_all_that_became_of_it() -> None:
    (row,) = joined(records()).questions
    assert (row.user, row.status, row.latency_ms, row.feedback) == ("ada", "answered", 42.0, [-1.0])
    assert (row.text, row.vector, row.spans) == ("How long is leave?", VECTOR, [(0, 3)])
    assert (row.poor, row.stage) == (True, "reading")
    assert (row.n_tokens, row.cost_usd) == (70, 0.25)


def test_the_order_of_topics_and_records_that_come_twice_change_nothing() -> None:
    events = [*records(), *records("Who pays?")]
    straight = joined(events)
    for seed in range(5):
        again = [*events, *events]
        random.Random(seed).shuffle(again)
        assert joined(again) == straight


def said(n: int, kind: Any, user: str = "", **fields: Any) -> Event:
    """A click of its own on the answer of the question that `records` begins with, `n` microseconds after it."""
    root = records()[0]
    about: dict[str, Any] = {"tenant": root.tenant, "conversation": "c1", "correlation": root.meta.correlation_id}
    return with_meta(FeedbackGiven(kind=kind, user=user, **about, **fields), id=f"click-{n}", time_us=TIME_US + n)


@pytest.mark.parametrize(
    ("clicks", "counted"),
    [
        ([said(n, "up", "bob") for n in range(50)], [1.0]),
        ([said(0, "up", "bob"), said(1, "down", "cem"), said(2, "up", "cem")], [1.0, 1.0]),
        ([said(0, "down", "bob"), said(1, "rating", "bob", rating=5)], [1.0]),
        ([said(0, "up", "bob"), said(1, "rating", "bob", rating=3)], []),
        ([said(0, "up", "bob"), said(1, "correction", "bob", text="16"), said(2, "comment", "bob")], [-1.0]),
        ([said(n, "copied", user, implicit=True) for n, user in enumerate("abba")], [0.5]),
        (
            [said(0, "copied", "bob", implicit=True), said(1, "escalated", "bob"), said(2, "up", "bob")],
            [0.5, -1.0, 1.0],
        ),
    ],
)
def test_of_a_user_the_last_judgement_of_an_answer_counts_and_of_behaviour_each_kind_once(
    clicks: list[Event], counted: list[float]
) -> None:
    question = records()[0]
    for seed in range(3):
        found = [question, *clicks, *clicks]
        random.Random(seed).shuffle(found)
        (row,) = joined(found).questions
        assert row.feedback == counted


def test_the_first_end_of_a_question_counts() -> None:
    events = records()
    other = events[1].replace(status="failed")
    found = [*events[:2], with_meta(other, cause=events[0], agent="again")]
    assert joined(found).questions[0].status == "answered"


def test_searches_are_counted_and_left_out() -> None:
    found = joined([*records(), *records("leave", mode="search")])
    assert (len(found.questions), found.n_searches) == (1, 1)


@pytest.mark.parametrize("at_us", [TIME_US - 1, TIME_US + WEEK_US])
def test_a_question_of_another_time_is_no_question_of_the_range(at_us: int) -> None:
    assert not joined(records(at_us=at_us)).questions


def test_feedback_on_a_question_of_another_time_makes_none() -> None:
    assert not joined(records()[2:]).questions


def test_texts_of_more_questions_than_the_limit_are_let_go_and_all_are_counted() -> None:
    events = [event for n in range(60) for event in records(f"question {n}?")]
    found = joined(events, limit=10)
    kept = {row.text for row in found.questions if row.vector}
    assert len(found.questions) == 60
    assert 10 <= len(kept) <= 12
    random.Random(1).shuffle(events)
    again = {row.text for row in joined(events, limit=10).questions if row.vector}
    assert len(kept & again) >= 10  # the same ones, whatever the order: at most the slack differs
    assert all(bool(row.text) == bool(row.vector) for row in found.questions)


def test_weeks_begin_on_monday() -> None:
    assert week_of(TIME_US) <= TIME_US < week_of(TIME_US) + WEEK_US
    assert week_name(week_of(1_767_225_600_000_000)) == "2026-W01"  # 1 January 2026 is a Thursday
    assert week_of(1_767_571_200_000_000) == 1_767_571_200_000_000  # 5 January 2026 is a Monday
