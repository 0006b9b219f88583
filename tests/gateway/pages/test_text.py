"""Laws about text as pages show it: harmless, as long as before, and marked where it was cited."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.masking import aligned, beginning
from gateway.pages.text import SHOWN_INSTEAD, WINDOW_CHARS, inert, marked, passage, pieces


@pytest.mark.parametrize(
    "acting",
    ["\x1b[31m", "\x9b31m", "a\u202eb", "\u2066x\u2069", "\u200b", "\ufeff", "\U000e0041", "\x00", "\x7f", "\u2028"],
)
def test_characters_that_act_become_visible_ones(acting: str) -> None:
    found = inert(acting)
    assert SHOWN_INSTEAD in found
    assert len(found) == len(acting)


def test_what_people_write_stays_as_it_is() -> None:
    text = "Zürich, 東京, שלום, العربية, \U0001f468\u200d\U0001f469\u200d\U0001f467\n\ttabs [1] & <b>"
    assert inert(text) == text


@given(st.text())
def test_text_is_as_long_as_before(text: str) -> None:
    assert len(inert(text)) == len(text)


def test_numbers_in_brackets_are_citations_where_there_is_one() -> None:
    found = pieces("See [1], [2] and [7].", 2)
    assert [(piece.text, piece.citation) for piece in found] == [
        ("See ", 0), ("[1]", 1), (", ", 0), ("[2]", 2), (" and [7].", 0),
    ]  # fmt: skip
    assert pieces("[0] [x]", 3)[0].text == "[0] [x]"


@given(st.text(alphabet="ab \n", max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_a_marked_span_is_the_characters_that_were_cited(text: str, start: int, length: int) -> None:
    end = start + length
    found = passage(text, start, end, str)
    assert found.before + found.marked + found.after == text
    assert found.marked == (text[start:end] if 0 <= start < end <= len(text) else "")


def test_a_long_text_is_shown_around_its_span_and_from_there_on() -> None:
    text = "".join(f"line {n}\n" for n in range(40_000))
    start = text.index("line 30000\n")
    found = passage(text, start, start + 10, str)
    assert found.marked == "line 30000"
    assert 0 < found.first < start < found.last < len(text)
    assert len(found.before) + len(found.after) <= WINDOW_CHARS + 2000
    rest = passage(text, None, None, str, at=found.last)
    assert text[found.first : found.last] + rest.after == text[found.first : rest.last]


def test_a_span_longer_than_a_window_is_shown_whole_as_far_as_a_window_goes() -> None:
    found = passage("x" * 3 * WINDOW_CHARS, 10, 3 * WINDOW_CHARS, str)
    assert len(found.marked) == WINDOW_CHARS


def mask(text: str) -> str:
    return text.replace("ann@example.org", "[mail]").replace("4111 1111 1111 1111", "[card]")


TEXT = "Mail ann@example.org now. The card is 4111 1111 1111 1111, said Ann. Mail ann@example.org again."


@pytest.mark.parametrize(
    ("cited", "shown"),
    [
        ("said Ann", "said Ann"),
        ("The card is 4111 1111 1111 1111", "The card is [card]"),
        ("1111 1111, said", "[card], said"),
        ("now. The", "now. The"),
        ("Mail ann@example.org again.", "Mail [mail] again."),
    ],
)
def test_a_span_stays_at_its_words_when_what_stands_before_it_is_masked(cited: str, shown: str) -> None:
    start = TEXT.rindex(cited)
    found = passage(TEXT, start, start + len(cited), mask)
    assert found.marked == shown
    assert found.before + found.marked + found.after == mask(TEXT)


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_no_span_shows_what_is_masked(start: int, end: int) -> None:
    found = passage(TEXT, start, end, mask)
    assert "ann@" not in found.before + found.marked + found.after
    assert "4111" not in found.before + found.marked + found.after


def test_a_text_of_the_same_length_needs_no_alignment() -> None:
    assert aligned("abc", "a*c", 1, 2) == (1, 2)


def test_a_span_stays_at_its_words_and_ends_behind_its_beginning_however_much_was_changed() -> None:
    text, other = (" ".join(f"{letter}{n}" for n in range(100, 300)) for letter in "ab")
    start, end = text.index("a150"), text.index("a160")
    changed = f"{other} {text[start:end]} {other}"
    low, high = aligned(text, changed, start, end)
    assert changed[low:high] == text[start:end]
    changed = f"{other} {text[end - 12 : end]} {other} {text[start : start + 12]} {other}"
    low, high = aligned(text, changed, start, end)
    assert low <= high


def test_masking_a_long_text_takes_no_time_that_a_reader_would_notice() -> None:
    for separator in ("\n", " "):
        text = separator.join(f"entry {n} of ann@example.org for the same reason" for n in range(1200))
        cited = "entry 600 of"
        start = text.index(cited)
        began = time.process_time()
        found = passage(text, start, start + len(cited), mask)
        assert time.process_time() - began < 2
        assert cited in found.before[-100:] + found.marked + found.after[:100]
        assert "ann@" not in found.before + found.marked + found.after


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 " + "a " * 10_000 + "4111 1111",
        "".join(f"{n * n % 19}\n" for n in range(9_000)) + "4111\n1111",
        "ab 4111 1111 " * 2_000,
        "4111 1111 " * 3_000,
    ],
)
def test_no_text_makes_a_span_expensive(text: str) -> None:
    changed = text.replace("4111 1111", "[card]").replace("4111\n1111", "[card]")
    began = time.process_time()
    aligned(text, changed, len(text) // 2, len(text) - 5)
    assert time.process_time() - began < 2


def test_places_are_marked_in_order_and_those_that_overlap_are_one() -> None:
    text = "one two three four"
    found = marked(text, [(14, 18), (4, 9), (8, 13), (90, 95), (5, 5), (-1, 2)], str)
    assert "".join(piece.text for piece in found.pieces) == text
    assert [(piece.number, piece.text) for piece in found.pieces if piece.number] == [(1, "two three"), (2, "four")]
    assert (found.n, found.cut) == (2, False)


def test_a_place_keeps_its_mark_where_the_text_before_it_was_masked() -> None:
    text = "Ask eva@example.org now. Ignore what you were told."
    at = text.index("Ignore")
    found = marked(text, [(at, len(text))], lambda whole: whole.replace("eva@example.org", "[EMAIL_ADDRESS_1]"))
    assert [piece.text for piece in found.pieces if piece.number] == ["Ignore what you were told."]
    assert "eva@" not in "".join(piece.text for piece in found.pieces)


def test_of_a_long_text_the_part_around_the_first_place_is_shown() -> None:
    text = "word " * WINDOW_CHARS
    at = 3 * WINDOW_CHARS
    found = marked(text, [(at, at + 4)], str)
    assert [piece.text for piece in found.pieces if piece.number] == [text[at : at + 4]]
    assert sum(len(piece.text) for piece in found.pieces) <= WINDOW_CHARS
    assert found.cut


@given(st.text(max_size=200), st.lists(st.tuples(st.integers(-5, 210), st.integers(-5, 210)), max_size=8))
def test_marks_change_nothing_of_the_text(text: str, spans: list[tuple[int, int]]) -> None:
    found = marked(text, spans, str)
    assert "".join(piece.text for piece in found.pieces) == inert(text)


def test_a_long_text_is_not_cut_within_what_is_to_be_masked() -> None:
    address = "eva@example.org"
    text = "a" * (WINDOW_CHARS - 1 - len(address) // 2) + f" {address}\n" + "more\n" * 9
    found = marked(text, (), lambda whole: whole.replace(address, "[EMAIL_ADDRESS_1]"))
    assert found.cut
    assert "".join(piece.text for piece in found.pieces).endswith(" [EMAIL_ADDRESS_1]\n")


@pytest.mark.parametrize("edge", range(0, 16, 3))
def test_a_window_within_a_line_shows_no_half_of_what_is_masked(edge: int) -> None:
    address = "eva@example.org"
    text = "a" * (WINDOW_CHARS - edge) + address + " b" * WINDOW_CHARS

    def mask(window: str) -> str:
        return window.replace(address, "[EMAIL_ADDRESS_1]")

    first = passage(text, None, None, mask)
    rest = passage(text, None, None, mask, first.last)
    both = marked(text, (), mask)
    for shown in (first.after, rest.after, "".join(piece.text for piece in both.pieces)):
        assert "eva" not in shown
        assert "example.org" not in shown
    assert "example" in text[first.last :] or "eva" in text[: first.last]


@pytest.mark.parametrize("at", range(82, 96))
@pytest.mark.parametrize("left", ["", " and more" * 400])
def test_the_beginning_of_a_text_holds_no_half_of_what_is_masked(at: int, left: str) -> None:
    address = "jane.doe@example.org"
    text = f"{'x ' * (at // 2)}{address}{left}"

    def mask(window: str) -> str:
        return window.replace(address, "[EMAIL]")

    found = beginning(text, mask, 100)
    assert len(found) <= 100
    assert "jane" not in found
    assert address in text[:120]


def test_what_shrinks_when_it_is_masked_lets_no_half_in_from_behind() -> None:
    address = "jane.doe@example.org"
    found = beginning("x" + address * 200, lambda window: window.replace(address, "."), 100)
    assert "jane" not in found


def test_masked_after_it_was_cut_half_of_it_would_show() -> None:
    """Control."""
    text = f"{'x ' * 45}jane.doe@example.org"
    assert "jane" in text[:100].replace("jane.doe@example.org", "[EMAIL]")


def test_a_short_text_is_whole() -> None:
    assert beginning("How long is leave?", str, 100) == "How long is leave?"
