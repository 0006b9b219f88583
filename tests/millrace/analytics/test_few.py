"""Laws about counts that would tell of single persons."""

from __future__ import annotations

from itertools import accumulate

import pytest

from millrace.analytics.few import hidden


def groups(*sizes: int) -> list[set[str]]:
    """Sets of so many people each, all different."""
    ends = list(accumulate(sizes))
    return [{f"u/{n}" for n in range(end - size, end)} for size, end in zip(sizes, ends, strict=True)]


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ((5, 3, 9), set()),
        ((5, 0, 9), set()),  # nobody is no secret
        ((2, 2, 9), {0, 1}),  # together they are four
        ((2, 9, 5), {0, 2}),  # alone it would be the total less the others
        ((1, 1, 9, 5), {0, 1, 3}),
        ((2,), {0}),
        ((1, 0, 1), {0, 2}),
        ((), set()),
    ],
)
def test_what_is_about_few_is_hidden_so_that_no_subtraction_brings_it_back(
    sizes: tuple[int, ...], found: set[int]
) -> None:
    assert hidden(groups(*sizes), 3) == found


def test_the_same_few_people_are_no_more_for_coming_twice() -> None:
    again = [{"u/1", "u/2"}, {"u/1", "u/2"}, {f"u/{n}" for n in range(9)}]
    assert hidden(again, 3) == {0, 1, 2}


def test_where_everybody_may_be_told_of_nothing_is_hidden() -> None:
    assert hidden(groups(1, 2, 9), 1) == set()
