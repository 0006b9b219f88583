import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.guard.masking import MARGIN, Masks, StreamGuard, masked
from inference.personal_data import PersonalDataFinder
from millrace.findings import Finding
from tests.guard_fakes import MemoryPersonalData

FIND = PersonalDataFinder().find
FAKE = MemoryPersonalData().find
HOSTS = ("wiki.example.org",)
PIECES = (
    "the", "quarterly", "report", "says", "that", "everyone", "may", "travel.", "Ask", "(only)", "—", "5", "90", "days",
    "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "ann@example.org", "bob.b+x@mail.example.com,",
    "DE89 3704 0044 0532 0130 00", "GB29 NWBK 6016 1331 9268 19", "+49 30 1234567", "(020) 7946-0958",
    "SSN 078-05-1120", "password:", "correct-horse", "passport", "X1234567", "token", "=", "sk-abcdefghijklmnop1234",
    "10.0.0.1", "8.8.8.8", "[here", "](http://evil.example/?q=1)", "https://wiki.example.org/a", "www.evil.example",
    "<img", "src=x>", "\x1b[31m", "41\u200b11", "\n", "\n\n", "=HYPERLINK(1)", "AB 12 34 56 C", "日本語の文章です",
    "numéro", "1.2.3.4",
)  # fmt: skip


def cut(text: str, places: Sequence[int]) -> list[str]:
    """The text in pieces."""
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def streamed(pieces: Sequence[str], guard: StreamGuard) -> str:
    return "".join([*(guard.feed(piece) for piece in pieces), guard.flush()])


TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map(" ".join) | st.text(max_size=300)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, places=st.lists(st.integers(0, 10_000), max_size=40), max_chars=st.sampled_from([40, 4_096]))
def test_any_split_into_frames_gives_what_masking_the_whole_gives(text: str, places: list[int], max_chars: int) -> None:
    whole, changes = masked(text, FIND, Masks(), HOSTS, max_chars)
    guard = StreamGuard(FIND, Masks(), HOSTS, max_chars)
    assert streamed(cut(text, places), guard) == whole
    assert guard.changes == changes


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(PIECES), max_size=60))
def test_nothing_is_found_any_more_in_what_went_by_in_characters(words: list[str]) -> None:
    # What is taken out as a link may have kept a word and the number that it names apart.
    text = " ".join(word for word in words if word.isprintable() and not re.search(r"[<(]|//|www|=", word))
    out = streamed(list(text), StreamGuard(FIND, Masks()))
    assert not [out[found.start : found.end] for found in FIND(out) if "_" not in out[found.start : found.end]]


def test_neighbours_do_not_hide_each_other() -> None:
    text = "DE89 3704 0044 0532 0130 00 4111-1111-1111-1111"
    assert masked(text, FIND, Masks())[0] == "[IBAN_1] [CREDIT_CARD_1]"


def test_a_card_number_over_two_frames_is_masked_and_without_holding_back_it_leaves() -> None:
    frames = ["Please charge the card 4111 1111 11", "11 1111 before Friday, when the office closes for good."]
    out = streamed(frames, StreamGuard(FIND, Masks()))
    assert out == "Please charge the card [CREDIT_CARD_1] before Friday, when the office closes for good."
    assert "4111" in "".join(masked(frame, FIND, Masks())[0] for frame in frames)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_an_address_over_frames_of_any_size_is_masked(size: int) -> None:
    text = "Write to ann.smith@example.org or call +49 30 901820 in the morning of any day of the week."
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    out = streamed(pieces, StreamGuard(FIND, Masks()))
    assert "ann" not in out
    assert "901820" not in out
    assert "[EMAIL_ADDRESS_1]" in out


def test_plain_words_leave_after_a_few_more() -> None:
    guard = StreamGuard(FIND, Masks())
    out = guard.feed("one two three four five six seven eight nine ten eleven twelve ")
    assert out == "one two three four five six seven eight nine "
    assert len(out.split()) == 12 - MARGIN


def test_the_same_value_has_the_same_name_and_others_have_other_names() -> None:
    text = "ann@example.org, bob@example.org, ANN@example.org; cards 4111 1111 1111 1111 and 4111-1111-1111-1111"
    assert masked(text, FAKE, Masks())[0] == (
        "[EMAIL_ADDRESS_1], [EMAIL_ADDRESS_2], [EMAIL_ADDRESS_1]; cards [CREDIT_CARD_1] and [CREDIT_CARD_1]"
    )


def test_names_are_shared_by_all_that_belongs_to_one_answer() -> None:
    masks = Masks()
    masked("ann@example.org", FAKE, masks)
    assert masked("bob@example.org ann@example.org", FAKE, masks)[0] == "[EMAIL_ADDRESS_2] [EMAIL_ADDRESS_1]"


def test_changes_name_the_place_in_the_text_that_was_given() -> None:
    text = "\u200bWrite \x1b[1m to ann@example.org now"
    _, changes = masked(text, FAKE, Masks())
    (change,) = changes
    assert (change.rule, text[change.start : change.end]) == ("EMAIL_ADDRESS", "ann@example.org")


def test_a_word_before_the_segment_says_what_a_number_is() -> None:
    text = "The social security number that we have on file for this person is 078051120 and no other."
    assert any(found.rule == "US_SSN" for found in FIND(text)) == ("078051120" not in masked(text, FIND, Masks())[0])


def test_at_most_the_bound_is_held_back_and_no_finding_is_cut() -> None:
    guard = StreamGuard(FAKE, Masks(), max_chars=200)
    text = "1 2 3 4 5 6 7 8 9 0 a1 b2 " * 5 + "4111 1111 1111 1111 " * 20
    held, out = 0, ""
    for character in text:
        out += guard.feed(character)
        held = max(held, len(guard._held))
    out += guard.flush()
    assert held <= 200
    assert "4111" not in out


def test_what_controls_a_terminal_is_taken_out() -> None:
    assert masked("Dear \x1b]8;;x\x07\x1b[31mall\x9b2J", lambda _: (), Masks())[0] == "Dear  ]8;;x  [31mall 2J"


def test_without_a_finder_nothing_is_masked() -> None:
    nothing: Sequence[Finding] = ()
    assert masked("ann@example.org", lambda _: nothing, Masks())[0] == "ann@example.org"
