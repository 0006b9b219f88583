"""Laws about decisions: what fits when, the same one twice, and whose withdrawal holds."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened
from millrace.reviewing import (
    MAX_TEXT_CHARS,
    UnfittingDecision,
    decided,
    decision_meta,
    fitting,
    overtaken,
    standing,
)
from millrace.withdrawal import is_withdrawn, restored, withdrawn


def item(**fields: Any) -> ReviewItemOpened:
    given: dict[str, Any] = {
        "subject_kind": "document", "subject": "a.md", "version": 3, "stage": "s", "rule": "r", "reason": "found",
        "content": "sha256:1",
    }  # fmt: skip
    return ReviewItemOpened(tenant="acme", item="i", **(given | fields))


HELD = item(action="hold", manifest="sha256:2")
FLAGGED = item(action="flag")
ANSWER = item(subject_kind="answer", subject="q", version=0, content=None)


def after(found: ReviewItemOpened, *decisions: str) -> ReviewDecisionMade:
    last: ReviewDecisionMade | None = None
    for decision in decisions:
        made = decided(found, last, decision, user="ann", text="t", conversation="c")
        assert made is not None
        last = made.with_meta(decision_meta(made, last, source="test", time_us=1))
    assert last is not None
    return last


def test_what_may_be_decided_follows_from_what_was_found_and_decided() -> None:
    assert fitting(HELD, None) == ("release", "confirm", "dismiss")
    assert fitting(HELD, after(HELD, "confirm")) == ("release", "confirm", "dismiss")
    assert fitting(HELD, after(HELD, "release")) == ("withdraw",)
    assert fitting(FLAGGED, None) == ("withdraw", "confirm", "dismiss")
    assert fitting(FLAGGED, after(FLAGGED, "withdraw")) == ("release",)
    assert fitting(FLAGGED, after(FLAGGED, "withdraw", "release")) == ("withdraw",)
    for opinion in ("confirm", "dismiss"):
        assert fitting(ANSWER, after(ANSWER, opinion)) == fitting(ANSWER, None) == ("correct", "confirm", "dismiss")
    assert fitting(item(subject_kind="question"), None) == ("confirm", "dismiss")


def test_a_correction_may_be_put_right_and_not_taken_back() -> None:
    corrected = after(ANSWER, "confirm", "correct")
    assert fitting(ANSWER, corrected) == ("correct",)
    again = decided(ANSWER, corrected, "correct", user="ben", text="Seven.", conversation="c")
    assert again is not None
    assert again.text == "Seven."
    with pytest.raises(UnfittingDecision, match=r"choose of correct$"):
        decided(ANSWER, corrected, "dismiss", user="ben", text="t")
    with pytest.raises(UnfittingDecision, match="nothing: it was corrected"):
        decided(ANSWER, corrected, "correct", user="ben", text="Seven.")


def test_a_decision_names_what_it_is_about_and_who_made_it() -> None:
    made = decided(HELD, None, "release", user="ann", text=" fine ")
    assert made is not None
    assert (made.content, made.manifest, made.version, made.user, made.text) == (
        "sha256:1", "sha256:2", 3, "ann", "fine",
    )  # fmt: skip
    told = decided(ANSWER, None, "correct", user="ann", text="Six.", conversation="c")
    assert told is not None
    assert told.conversation == "c"


def test_the_same_decision_again_is_none_and_after_another_one_it_is_new() -> None:
    assert decided(HELD, after(HELD, "release"), "release", user="ben", text="t") is None
    first = after(FLAGGED, "withdraw")
    third = after(FLAGGED, "withdraw", "release", "withdraw")
    assert first.meta.id != third.meta.id
    assert after(FLAGGED, "withdraw").meta.id == first.meta.id


@pytest.mark.parametrize(
    ("found", "decision", "text"),
    [
        (HELD, "withdraw", ""),
        (FLAGGED, "release", ""),
        (FLAGGED, "correct", "Six."),
        (ANSWER, "release", ""),
        (ANSWER, "correct", "  "),
        (ANSWER, "correct", "x" * (MAX_TEXT_CHARS + 1)),
        (HELD, "nonsense", ""),
    ],
)
def test_what_does_not_fit_is_refused(found: ReviewItemOpened, decision: str, text: str) -> None:
    with pytest.raises(UnfittingDecision):
        decided(found, None, decision, user="ann", text=text)


def test_a_correction_that_nobody_could_learn_from_is_refused() -> None:
    with pytest.raises(UnfittingDecision, match="not kept any more"):
        decided(ANSWER, None, "correct", user="ann", text="Six.")


def test_an_opinion_takes_nothing_back_that_was_settled_meanwhile() -> None:
    opinion = after(FLAGGED, "dismiss")
    assert overtaken(after(FLAGGED, "withdraw"), opinion)
    assert overtaken(after(HELD, "release"), opinion)
    assert not overtaken(after(FLAGGED, "confirm"), opinion)
    assert not overtaken(None, opinion)
    assert not overtaken(after(FLAGGED, "withdraw"), after(HELD, "release"))
    assert not overtaken(after(ANSWER, "confirm"), after(ANSWER, "dismiss"))
    assert overtaken(after(ANSWER, "correct"), after(ANSWER, "dismiss"))
    assert not overtaken(after(ANSWER, "correct"), after(ANSWER, "correct"))
    assert not overtaken(after(ANSWER, "dismiss"), after(ANSWER, "correct"))


def test_an_item_with_another_text_is_decided_anew_but_a_withdrawn_document_stays_so() -> None:
    other = item(action="hold", manifest="sha256:4", content="sha256:3")
    released = after(HELD, "release")
    assert (standing(HELD, released), standing(other, released)) == (released, None)
    assert overtaken(released, after(HELD, "dismiss"))
    assert not overtaken(released, after(other, "dismiss"))
    assert after(other, "release").meta.id != released.meta.id
    withdrawal = after(FLAGGED, "withdraw")
    assert standing(other, withdrawal) is withdrawal


def test_groups_of_a_withdrawn_document_come_back_as_they_were() -> None:
    groups = ("*", "hr")
    assert restored(withdrawn(groups)) == groups
    assert withdrawn(withdrawn(groups)) == withdrawn(groups)
    assert not set(withdrawn(groups)) & set(groups)
    assert (is_withdrawn(withdrawn(groups)), is_withdrawn(groups), is_withdrawn(())) == (True, False, False)
