"""Laws about corrections of reviewers: they are feedback of the reviewer, and nothing else that is decided is."""

from __future__ import annotations

from typing import Any

import pytest

from agents.learn.decisions import take_correction
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewDecisionMade


def made(**fields: Any) -> ReviewDecisionMade:
    given: dict[str, Any] = {
        "item": "i", "subject_kind": "answer", "subject": "q", "decision": "correct", "user": "ann", "text": "Six.",
        "conversation": "c",
    }  # fmt: skip
    return ReviewDecisionMade(tenant="acme", **(given | fields))


def test_a_correction_is_feedback_that_the_reviewer_gave() -> None:
    assert take_correction(made()) == FeedbackGiven(
        tenant="acme", conversation="c", correlation="q", user="ann", kind="correction", text="Six.", implicit=False
    )


@pytest.mark.parametrize(
    "fields",
    [{"decision": "confirm"}, {"decision": "dismiss"}, {"subject_kind": "document", "decision": "release"}],
)
def test_what_only_closes_an_item_or_is_about_a_document_is_no_feedback(fields: dict[str, Any]) -> None:
    assert take_correction(made(**fields)) is None
