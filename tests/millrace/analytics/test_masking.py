"""Laws about masking: what guards or the finder pointed at is gone."""

from __future__ import annotations

import pytest

from millrace.analytics import masking
from millrace.analytics.masking import MASK, masked, stack_finder, without_masks
from millrace.analytics.questions import Asked
from millrace.findings import Finding

TEXT = "Why was jane@example.org refused, and 4111 1111 1111 1111?"


def asked(**fields: object) -> Asked:
    return Asked(tenant="t", at_us=0, **{"text": TEXT, **fields})  # type: ignore[arg-type]


def test_places_that_the_guards_named_are_masked_once_however_they_overlap() -> None:
    at = TEXT.index("jane")
    text = masked(asked(spans=[(at, at + 8), (at + 4, at + 16)]))
    assert text == f"Why was {MASK} refused, and 4111 1111 1111 1111?"


def test_a_question_of_which_not_all_places_were_named_is_not_shown() -> None:
    assert masked(asked(hidden=True)) == MASK


def test_the_stacks_finder_masks_what_nobody_had_looked_for() -> None:
    find = stack_finder()
    assert find is not None
    text = masked(asked(), find)
    assert "jane" not in text
    assert "4111" not in text
    assert "jane" not in without_masks(text)
    assert masked(asked()) == TEXT  # without it nothing is found


def test_a_finder_that_never_ends_masks_all() -> None:
    assert masked(asked(), lambda text: [Finding("personal_data", "X", 0, len(text))]) == MASK


def test_an_app_without_the_stack_has_no_finder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "find_spec", lambda _: None)
    assert stack_finder() is None
