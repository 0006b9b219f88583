"""Laws about characters that nobody sees."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.visible_text import visible


@pytest.mark.parametrize(
    ("text", "seen", "removed"),
    [
        ("plain text", "plain text", {}),
        ("a\r\nb\rc\x0cd\u2028e", "a\nb\nc\nd\ne", {}),
        ("a\x00b\x1bc", "a b c", {"control": 2}),
        ("in\u200bvis\u2060ible\ufeff", "invisible", {"zero_width": 3}),
        ("soft\u00adhyphen", "softhyphen", {"zero_width": 1}),
        ("\u202eabc\u202c \u2066def\u2069\u200f", "abc def", {"bidi": 5}),
        ("tag\U000e0041\U000e0042 vs\U000e0100", "tag vs", {"zero_width": 3}),
        ("a\u200db", "ab", {"zero_width": 1}),
    ],
)
def test_what_nobody_sees_goes_and_is_counted(text: str, seen: str, removed: dict[str, int]) -> None:
    found = visible(text)
    assert (found.text, found.removed) == (seen, removed)


@pytest.mark.parametrize(
    "text",
    ["می\u200cخواهم", "क्\u200dष", "👩\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "naïve – “quoted” …", "tab\tand\nnewline"],
)
def test_joiners_that_a_script_or_an_emoji_needs_stay(text: str) -> None:
    assert visible(text).text == text
    assert visible(text).removed == {}


@given(st.text(st.sampled_from("ab \n\r\x00\x0c\u200b\u200d\u202e\ufeff\u00ad\U0001f469م")))
def test_runs_say_where_every_character_stands(text: str) -> None:
    found = visible(text)
    covered = ""
    for start, end, left, right in found.runs:
        assert end - start == right - left
        assert start == len(covered)
        covered += found.text[start:end]
        for seen, given_character in zip(found.text[start:end], text[left:right], strict=True):
            assert seen == given_character or (seen in " \n" and given_character in "\x00\x0c\r")
    assert covered == found.text


@given(st.text())
def test_looking_twice_changes_nothing_more(text: str) -> None:
    once = visible(text).text
    assert visible(once).text == once
