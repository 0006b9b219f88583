"""Laws about the way from a text back into its source."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace.parsed import Run, SourceMap, SourceMark, compose, decode_map, encode_map

MAP = SourceMap(
    encoding="utf-8",
    runs=((0, 5, 10, 15), (6, 7, 20, 25), (7, 12, 25, 30)),
    marks=(SourceMark(0, "page", "1"), SourceMark(6, "page", "2")),
)


def test_a_span_is_found_within_a_run_across_runs_and_around_a_reference() -> None:
    assert MAP.span(1, 3) == (11, 13)
    assert MAP.span(3, 9) == (13, 27)
    assert MAP.span(6, 7) == (20, 25)
    assert MAP.span(5, 6) is None
    assert MAP.span(4, 6) == (14, 15)
    assert MAP.span(20, 30) is None
    assert SourceMap().span(0, 1) is None


def test_a_mark_holds_until_the_next() -> None:
    assert [mark.label for at in (0, 5, 6, 99) if (mark := MAP.mark(at))] == ["1", "1", "2", "2"]
    assert SourceMap().mark(3) is None
    assert SourceMap(marks=(SourceMark(4, "page", "1"),)).mark(3) is None


def test_a_map_survives_its_storage() -> None:
    assert decode_map(encode_map(MAP)) == MAP


def cut(text: str, keep: list[bool]) -> tuple[str, list[Run]]:
    """Leave characters out, and say where the others stood."""
    kept = [at for at, stays in zip(range(len(text)), keep, strict=False) if stays]
    return "".join(text[at] for at in kept), [(i, i + 1, at, at + 1) for i, at in enumerate(kept)]


@given(
    st.text("abcdef", min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=20),
    st.lists(st.booleans(), min_size=20),
)
def test_two_ways_back_make_one(source: str, first: list[bool], second: list[bool]) -> None:
    middle, inner = cut(source, first)
    text, outer = cut(middle, second)
    runs = compose(outer, inner)
    assert sum(run[1] - run[0] for run in runs) == len(text)
    assert all(text[a:b] == source[c:d] for a, b, c, d in runs)
    assert all(before[1] < run[0] or before[3] < run[2] for before, run in pairwise(runs))


def test_a_reference_stays_whole_on_the_way_through() -> None:
    assert compose(((0, 3, 0, 3),), ((0, 1, 0, 1), (1, 2, 1, 6), (2, 3, 6, 7))) == (
        (0, 1, 0, 1),
        (1, 2, 1, 6),
        (2, 3, 6, 7),
    )
