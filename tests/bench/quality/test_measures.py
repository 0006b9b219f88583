"""What is measured of a question is right, and comparisons say how sure they are."""

import numpy as np
import pytest

from bench.quality.measures import NAMES, Passage, compare, cross_fitted, measure, refusals, right_places
from millrace.evaluation.questions import KnownQuestion

QUESTION = KnownQuestion(id="1", question="When?", answers=("six",), doc=("d",), spans=(("d", 20, 23),))


def passage(start: int, end: int, document: str = "d") -> Passage:
    return Passage(document, start, end)


def test_a_passage_is_right_when_it_overlaps_the_answer_in_its_document() -> None:
    passages = [passage(0, 20), passage(22, 30), passage(23, 30), passage(20, 23, "other"), passage(0, 21)]
    assert right_places(QUESTION, passages) == [2, 5]


def test_one_question_gives_all_measures() -> None:
    chunks = [passage(30, 40), passage(15, 25)]
    found = measure(QUESTION, chunks, [*chunks, passage(0, 15)], [passage(0, 5), passage(18, 24)])
    expected = {"R@1": 0, "R@5": 1, "R@10": 1, "MRR@10": 0.5, "nDCG@10": 1 / np.log2(3), "sentence first": 0}
    assert dict(zip(NAMES, found, strict=True)) == pytest.approx(expected | {"sentence in top 3": 1})


def test_questions_are_drawn_in_pairs_so_a_constant_gain_has_a_narrow_interval() -> None:
    reference = np.random.default_rng(1).random(400)
    found = compare(reference * 1.1, reference)
    assert (found.ratio, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))
    unpaired = compare(np.random.default_rng(2).permutation(reference), reference)
    assert unpaired.ratio == pytest.approx(1)
    assert unpaired.low < 0.97
    assert unpaired.high > 1.03


def test_what_is_below_the_threshold_is_refused() -> None:
    found = refusals(np.array([0.2, 0.6, 0.9, 0.5]), np.array([0.1, 0.7]), 0.5)
    assert (found.answerable, found.removed) == (0.25, 0.5)


def test_a_threshold_is_applied_to_groups_that_it_was_not_chosen_on() -> None:
    # The questions of group "low" lie below all others: a threshold of the others refuses them all.
    signals = np.array([0.1] * 20 + [0.5 + i / 100 for i in range(80)])
    groups = ["low"] * 20 + [f"g{i % 8}" for i in range(80)]
    thresholds, found = cross_fitted(signals, groups, signals - 0.5, target=0.05, n_folds=9)
    assert len(thresholds) == 9
    assert sum(threshold > 0.5 for threshold in thresholds) == 1
    assert found.answerable >= 0.2
    _, inside = cross_fitted(signals, ["g0", "g1"] * 50, np.empty(0), target=0.05, n_folds=2)
    assert inside.answerable < 0.2
    assert np.isnan(inside.removed)
