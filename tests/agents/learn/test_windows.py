"""Session windows are the same in whatever order their events come."""

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agents.learn.windows import Window, merged

GAP = 10


def folded(times: list[int]) -> list[Window]:
    windows: list[Window] = []
    for at in times:
        windows = merged(windows, at, GAP)
    return windows


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_windows_do_not_depend_on_the_order_of_arrival(times: list[int], rng: random.Random) -> None:
    mixed = times * 2
    rng.shuffle(mixed)
    assert folded(mixed) == folded(sorted(times))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_windows_are_sorted_and_further_apart_than_the_gap(times: list[int]) -> None:
    windows = folded(times)
    assert all(after.start_us - before.end_us > GAP for before, after in pairwise(windows))
    assert all(any(window.holds(at) for window in windows) for at in times)
