"""Measures of a ranking, against values computed by hand and by brute force."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.evaluation.ranking import auroc, ndcg, reciprocal_rank, success


def test_a_right_chunk_counts_from_its_place_on() -> None:
    assert [success([3, 5], k) for k in (1, 2, 3, 10)] == [0, 0, 1, 1]
    assert success([], 10) == 0


def test_the_reciprocal_rank_is_that_of_the_first_right_one() -> None:
    assert reciprocal_rank([4, 5]) == 0.25
    assert reciprocal_rank([]) == 0


def test_ndcg_by_hand() -> None:
    # Places 2 and 4 of three right ones: (1/log2 3 + 1/log2 5) / (1/log2 2 + 1/log2 3 + 1/log2 4)
    expected = (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 0.5)
    assert ndcg([2, 4], 3, 10) == pytest.approx(expected)
    assert ndcg([2, 11], 2, 10) == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)))
    assert ndcg([1], 0, 10) == 1.0
    assert ndcg([], 0, 10) == 0.0


@given(st.sets(st.integers(1, 20)), st.integers(0, 30))
def test_ndcg_is_a_share_and_1_for_the_best_ranking(places: set[int], more: int) -> None:
    right = sorted(places)
    assert 0 <= ndcg(right, len(right) + more, 10) <= 1 + 1e-12
    assert ndcg(list(range(1, 11)), 10 + more, 10) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=30))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[int, bool]]) -> None:
    positive = [signal for signal, is_positive in pairs if is_positive]
    negative = [signal for signal, is_positive in pairs if not is_positive]
    found = auroc(np.array([s for s, _ in pairs], dtype=float), np.array([p for _, p in pairs], dtype=bool))
    if not positive or not negative:
        assert np.isnan(found)
        return
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in product(positive, negative)]
    assert found == pytest.approx(sum(wins) / len(wins))
