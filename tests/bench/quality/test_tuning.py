"""Weights are judged on articles that they were not chosen on."""

import numpy as np

from bench.quality.tuning import DENSE_WEIGHTS, N_FOLDS, RERANK_WEIGHTS, RETRIEVAL, cross_validated

N_PAIRS = len(DENSE_WEIGHTS) * len(RERANK_WEIGHTS)


def test_a_pair_that_is_good_on_one_fold_alone_is_not_chosen_for_it() -> None:
    folds = np.arange(100) % N_FOLDS
    values = np.full((100, N_PAIRS, len(RETRIEVAL)), 0.5)
    values[:, 3] = 0.6
    values[folds == 0, 7] = 1.0  # by chance: chosen for the other folds, where it is worth no more than the rest
    found = cross_validated({"a": values, "b": values}, {"a": folds, "b": folds})
    assert found.chosen[0] == (DENSE_WEIGHTS[0], RERANK_WEIGHTS[3])
    assert found.values["a"]["R@1"] < 0.6


def test_both_sets_decide_together_and_a_set_of_low_values_counts_as_much() -> None:
    folds = np.arange(50) % N_FOLDS
    high, low = np.full((50, N_PAIRS, len(RETRIEVAL)), 0.9), np.full((50, N_PAIRS, len(RETRIEVAL)), 0.1)
    high[:, 4] = 0.92  # two per cent more of the high one
    low[:, 5] = 0.11  # a tenth more of the low one
    found = cross_validated({"high": high, "low": low}, {"high": folds, "low": folds})
    assert set(found.chosen) == {(DENSE_WEIGHTS[1], RERANK_WEIGHTS[0])}
