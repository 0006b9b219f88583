"""What a trace says of an answer's quality is what its last score says."""

from typing import Any

import pytest

from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import QualityScored, StageAttributed
from millrace.lineage import Entry, QuestionTrace, describe

ABOUT: dict[str, Any] = {"tenant": "acme", "conversation": "c", "correlation": "q"}
POOR = QualityScored(**ABOUT, revision=2, score=0.15, poor=True, flags=("disliked",), feedback={"down": 1})
BEFORE = QualityScored(**ABOUT, revision=1, score=0.75, poor=False)
STAGE = StageAttributed(
    **ABOUT, revision=2, stage="retrieval", rule="row_missing", document="a.md", chunk_id="c1"
)  # fmt: skip


def trace(*events: Event) -> QuestionTrace:
    entries = [
        Entry(time="", timestamp_ms=n, type="", id=str(n), causation_id="", position="t/0/0", what="", event=event)
        for n, event in enumerate(events)
    ]
    return QuestionTrace(correlation_id="q", trace_id="", entries=tuple(entries))


def test_the_highest_revision_counts_whatever_its_place() -> None:
    found = trace(POOR, STAGE, BEFORE)
    assert (found.quality, found.stage) == (POOR, STAGE)
    assert found.data()["stage"]["rule"] == "row_missing"
    assert trace().data()["quality"] is None


def test_no_stage_has_failed_once_the_answer_is_not_poor_any_more() -> None:
    assert trace(POOR, STAGE, BEFORE.replace(revision=3)).stage is None


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (POOR, "score 0.15, poor (revision 2): disliked, 1 x down"),
        (BEFORE, "score 0.75 (revision 1)"),
        (STAGE, "retrieval by rule row_missing, a.md c1"),
        (FeedbackGiven(**ABOUT, kind="correction", text="at noon", user="ann"), "correction by ann: at noon"),
        (FeedbackGiven(**ABOUT, kind="rating", rating=2), "rating 2 by nobody in particular"),
    ],
)
def test_feedback_and_what_follows_are_described(event: Event, words: str) -> None:
    assert describe(event) == words
