"""Questions ask the same in other words, or something else in nearly the same words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.learn.wording import is_courtesy, likeness, wording

SAME = [
    ("How long is parental leave?", "What is the length of parental leave?"),
    ("Who approves a claim above 500 EUR?", "which person approves claims above 500 EUR"),
    ("When does the Aurora room open?", "Sorry, I meant: what time does the Aurora room open?"),
    ("Where is the maintenance log?", "where is the maintenence log"),
    ("How many points did Denver score?", "What number of points did Denver score?"),
]
OTHER = [
    ("How long is parental leave?", "Who approves parental leave?"),
    ("Who approves a claim above 500 EUR?", "Who approves a claim above 900 EUR?"),
    ("When was Luther born?", "When was Calvin born?"),
    ("Is the canteen open?", "Where is the canteen?"),
    ("How do I renew a badge?", "What does the crane lift?"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_other_words_for_the_same_are_alike(one: str, other: str) -> None:
    assert likeness(one, other) >= 0.6


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_nearly_the_same_words_for_something_else_are_not(one: str, other: str) -> None:
    assert likeness(one, other) < 0.5


@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_is_a_share_and_the_same_from_both_sides(one: str, other: str) -> None:
    found = likeness(one, other)
    assert 0 <= found <= 1
    assert found == pytest.approx(likeness(other, one), abs=0.05)


@given(st.text(min_size=1, max_size=80))
def test_a_question_is_like_itself(text: str) -> None:
    assert likeness(text, text) == pytest.approx(1.0)


def test_names_stand_within_a_sentence_and_numbers_may_be_words() -> None:
    found = wording("Did Ada and the VPN team wait two days?")
    assert found.names == {"ada", "vpn"}
    assert found.numbers == {"2"}


@pytest.mark.parametrize("text", ["Thanks!", "Great, that helps", "thank you very much", "ok thanks, bye"])
def test_thanks_are_no_question(text: str) -> None:
    assert is_courtesy(text)


@pytest.mark.parametrize("text", ["", "ok", "that one", "Thanks, and who approves it?", "Who thanks the sponsors?"])
def test_what_asks_or_says_nothing_is_not_thanks(text: str) -> None:
    assert not is_courtesy(text)
