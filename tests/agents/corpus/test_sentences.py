import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.corpus.sentences import MAX_CHARS, sentences


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Ask Dr. Smith, e.g. on Monday. Then go.", ["Ask Dr. Smith, e.g. on Monday.", "Then go."]),
        ("It costs 3.50 euros. Pi is 3.14.", ["It costs 3.50 euros.", "Pi is 3.14."]),
        ("J. R. Tolkien wrote it. Yes.", ["J. R. Tolkien wrote it.", "Yes."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("See v1.2.3 and a.b. it goes on. End.", ["See v1.2.3 and a.b. it goes on.", "End."]),
        ("Steps:\n1. Open it.\n2. Close it.", ["Steps:", "1. Open it.", "2. Close it."]),
        ("- one\n- two goes\n  on\n* three", ["- one", "- two goes\n  on", "* three"]),
        ("| a | b |\n| - | - |\n| 1 | 2 |", ["| a | b |", "| - | - |", "| 1 | 2 |"]),
        ("Text:\n```\na. B\n\nc. D\n```\nMore.", ["Text:", "```\na. B\n\nc. D\n```", "More."]),
        ("これは文です。次の文です！終わり", ["これは文です。", "次の文です！", "終わり"]),
        ("A line\nthat goes on. Next", ["A line\nthat goes on.", "Next"]),
        ("  \n ", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, expected: list[str]) -> None:
    assert split(text) == expected


@given(st.text(alphabet=st.sampled_from("aB. !?\n-|`1。é\"'")) | st.text())
def test_spans_are_in_order_and_hold_every_visible_character_once(text: str) -> None:
    at = 0
    for start, end in sentences(text):
        assert at <= start < end
        assert not text[at:start].strip()
        assert text[start:end] == text[start:end].strip()
        at = end
    assert not text[at:].strip()


def test_a_sentence_without_an_end_is_cut() -> None:
    assert max(map(len, split("word " * 2_000))) <= MAX_CHARS
    assert max(map(len, split("x" * 5_000))) <= MAX_CHARS
