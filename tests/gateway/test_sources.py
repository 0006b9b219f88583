"""A part of a text is shown without personal data, however it is cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.masking import masked_span
from gateway.sources import source_link
from millrace.events.query import Citation

CARD = "4111 1111 1111 1111"
TEXT = f"First line.\nThe card {CARD} is his.\nLast line."


def mask(text: str) -> str:
    return text.replace(CARD, "[card]")


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)))
def test_no_cut_shows_part_of_what_is_masked(a: int, b: int) -> None:
    start, end = sorted((a, b))
    shown, first, last = masked_span(TEXT, start, end, mask)
    assert not any(part in shown for part in ("4111", "1111", "111 "))
    assert first <= start <= end <= last
    if shown == TEXT[start:end]:
        assert (first, last) == (start, end)
    else:
        assert (TEXT[:first] or "\n")[-1] == (TEXT[last:] or "\n")[0] == "\n"  # what is shown are whole lines


def test_a_span_whose_lines_hold_nothing_to_mask_is_itself() -> None:
    assert masked_span(TEXT, 0, 5, mask) == ("First", 0, 5)
    assert masked_span(TEXT, 0, len(TEXT), str) == (TEXT, 0, len(TEXT))


def test_without_a_mask_the_number_is_there() -> None:
    shown, _, _ = masked_span(TEXT, 0, len(TEXT), str)
    assert CARD in shown


def test_an_address_can_hold_any_name() -> None:
    quoted = Citation(
        document="a b/ü&id=x#.md", version=3, chunk_id="c", title="", heading="", start=1, end=5, quote="text"
    )
    assert source_link("https://g.example/")(quoted) == (
        "https://g.example/corpus/document?id=a%20b%2F%C3%BC%26id%3Dx%23.md&version=3&start=1&end=5"
    )
    assert source_link()(quoted).startswith("/corpus/document?id=")
