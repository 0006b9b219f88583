"""What was streamed stays true, or the stream ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openai.growing import Growth, Overtaken
from gateway.openai.usage import first_words

PIECES = st.lists(st.text("ab \n", max_size=6), max_size=6)


@given(PIECES, st.none() | st.integers(1, 8))
def test_what_is_sent_is_the_beginning_of_the_answer_and_in_the_end_all_that_may_be(
    pieces: list[str], longest: int | None
) -> None:
    growth, whole, sent = Growth(longest), "".join(pieces), ""
    for piece in pieces:
        sent += growth.piece(0, piece)
        assert whole.startswith(sent)
    sent += growth.rest(whole)
    assert (sent, growth.cut) == ((whole, False) if longest is None else first_words(whole, longest))
    assert growth.sent == sent


def test_a_later_attempt_that_says_the_same_goes_on_behind_what_was_sent() -> None:
    growth = Growth()
    assert growth.piece(0, "The limit is ") == "The limit is "
    assert growth.piece(1, "The ") == ""
    assert growth.piece(1, "limit is 140") == "140"
    assert growth.piece(0, " or 7") == ""
    assert growth.rest("The limit is 140 euros.") == " euros."


def test_a_later_attempt_that_says_something_else_ends_the_stream() -> None:
    growth = Growth()
    growth.piece(0, "The limit is 140")
    assert growth.piece(1, "The limit") == ""
    with pytest.raises(Overtaken):
        growth.piece(1, " was 90")


@pytest.mark.parametrize("whole", ["", "The", "A limit"])
def test_an_end_that_contradicts_what_was_sent_ends_the_stream(whole: str) -> None:
    growth = Growth()
    growth.piece(0, "The limit")
    with pytest.raises(Overtaken):
        growth.rest(whole)


def test_words_beyond_the_length_that_was_asked_for_are_not_sent() -> None:
    growth = Growth(2)
    assert growth.piece(0, "one two three") == "one two"
    assert growth.piece(0, " four") == ""
    assert growth.cut
