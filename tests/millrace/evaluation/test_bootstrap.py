"""Confidence intervals: they hold the value, narrow with more questions, and pairing cancels what runs share."""

import tracemalloc

import numpy as np
import pytest

from millrace.evaluation.bootstrap import columns, interval, mean_of, paired_difference, percentile_of, signal_auroc
from tests.millrace.evaluation.evaluations import judgement, unanswerable


def coins(n: int, share: float, seed: int = 1) -> dict[str, np.ndarray]:
    values = np.random.default_rng(seed).random(n) < share
    return {"x": values.astype(float), "unanswerable": np.zeros(n)}


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation() -> None:
    data = coins(400, 0.7)
    found = interval(data, mean_of("x"), 400)
    assert found is not None
    mean = float(data["x"].mean())
    half = 1.96 * np.sqrt(mean * (1 - mean) / 400)
    assert found.value == mean
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half), abs=0.01)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    held = 0
    for seed in range(60):
        found = interval(coins(100, 0.6, seed), mean_of("x"), 100)
        held += found is not None and found.low <= 0.6 <= found.high
    assert held >= 52  # 57 expected; fewer than 52 with a probability of 1 %


def test_questions_without_a_say_are_left_out() -> None:
    data = {"x": np.array([1.0, np.nan, 0.0, np.nan]), "unanswerable": np.zeros(4)}
    found = interval(data, mean_of("x"), 2)
    assert found is not None
    assert found.value == 0.5
    assert interval({"x": np.full(3, np.nan), "unanswerable": np.zeros(3)}, mean_of("x"), 0) is None


def test_two_runs_of_the_same_questions_are_compared_pair_by_pair() -> None:
    other = coins(300, 0.5)
    better = {"x": np.where(np.arange(300) % 10 == 0, 1.0, other["x"]), "unanswerable": np.zeros(300)}
    found = paired_difference(better, other, mean_of("x"), 300)
    alone = interval(better, mean_of("x"), 300)
    assert found is not None
    assert alone is not None
    assert found.value == pytest.approx(float(np.mean(better["x"] - other["x"])))
    assert found.low > 0
    assert found.high - found.low < (alone.high - alone.low) / 2
    same = paired_difference(other, other, mean_of("x"), 300)
    assert same is not None
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_same_questions_give_the_same_interval() -> None:
    data = coins(50, 0.5)
    assert interval(data, mean_of("x"), 50) == interval(data, mean_of("x"), 50)


def test_a_percentile_leaves_out_what_failed() -> None:
    rows = [judgement("a", latency_ms=10.0), judgement("b", latency_ms=30.0), judgement("c", status="failed")]
    found = interval(columns(rows), percentile_of("latency_ms", 50), 2)
    assert found is not None
    assert found.value == 20.0


def test_the_signal_is_judged_on_questions_whose_answer_is_known() -> None:
    rows = [
        judgement("a", signal=0.9),
        judgement("b", signal=0.5),
        unanswerable("c", refused=True, signal=0.6),
        judgement("d", expected=(), answers=None, signal=0.0),
        judgement("e", signal=None),
    ]
    data = columns(rows)
    assert signal_auroc(data, np.arange(5)) == 0.5
    assert np.isnan(signal_auroc(data, np.array([0, 1, 3])))


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    data = coins(5_000, 0.7)
    tracemalloc.start()
    try:
        interval(data, mean_of("x"), 5_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # all samples at once take 80 MB
