"""The detector is the published one, to the value, and its state is small and plain."""

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from river import drift

from agents.learn.adwin import Cut, Window, step, strongest

N = 1_500
ADWIN: Any = drift.ADWIN  # it has no types


def stream(seed: int) -> Iterator[float]:
    """A stream whose mean and spread change at some places."""
    rng = random.Random(seed)
    mean, deviation = 10.0, 2.0
    for _ in range(N):
        if rng.random() < 0.004:
            mean, deviation = rng.uniform(0, 20), rng.uniform(0, 3)
        yield rng.gauss(mean, deviation)


@pytest.mark.parametrize("clock", [1, 8, 32])
@pytest.mark.parametrize("delta", [0.0005, 0.002, 0.3])
@pytest.mark.parametrize("seed", range(4))
def test_it_detects_where_rivers_does_and_holds_the_same_window(seed: int, delta: float, clock: int) -> None:
    reference, window, n_changes = ADWIN(delta=delta, clock=clock), Window(), 0
    for i, value in enumerate(stream(seed)):
        if reference.drift_detected:
            window = Window()  # river's class begins anew after a change, the paper's goes on with what is left
        reference.update(value)
        window, cut = step(window, value, delta=delta, clock=clock)
        assert (cut is not None) == reference.drift_detected, i
        assert window.n == reference.width, i
        assert window.mean == pytest.approx(reference.estimation), i
        n_changes += cut is not None
    assert n_changes


def test_values_of_a_wide_span_are_judged_as_if_they_were_brought_to_one() -> None:
    wide, narrow = Window(), Window()
    for value in stream(3):
        wide, cut = step(wide, value, delta=0.002, span=20.0)
        narrow, same = step(narrow, value / 20, delta=0.002)
        assert (cut is None) == (same is None)
        assert wide.n == narrow.n
    assert wide.n < N


def found(values: Iterator[float], delta: float = 0.002) -> list[tuple[int, Cut]]:
    window, cuts = Window(), []
    for i, value in enumerate(values):
        window, cut = step(window, value, delta=delta)
        if cut is not None:
            cuts.append((i, cut))
    return cuts


def test_a_change_of_the_mean_is_found_at_a_place_that_is_known() -> None:
    rng = random.Random(12345)
    values = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    (at, cut), *_ = found(map(float, values))
    assert at == 1002
    assert cut.before == pytest.approx(0.5, abs=0.1)
    assert cut.since > 1.5
    assert cut.n_before + cut.n_since == at + 1
    assert cut.n_since <= 20  # the size of a bucket: the place is known no better
    assert cut.strength > 1


@pytest.mark.parametrize("seed", range(5))
def test_stationary_values_are_never_cut(seed: int) -> None:
    rng = random.Random(seed)
    assert not found(rng.gauss(12, 4) for _ in range(3000))


def test_without_its_bound_stationary_values_are_cut() -> None:
    """Control: the silence is the threshold's doing."""
    rng = random.Random(0)
    assert found((rng.gauss(12, 4) for _ in range(3000)), delta=1.0)


def test_the_state_of_many_values_is_small_and_survives_its_codec() -> None:
    rng, window = random.Random(1), Window()
    for _ in range(20_000):
        window, _ = step(window, rng.gauss(12, 4), delta=0.0005, clock=32)
    written = msgspec.msgpack.encode(window)
    assert window.n == 20_000
    assert len(written) < 2_000
    assert msgspec.msgpack.decode(written, type=Window) == window


def test_a_step_changes_nothing_that_it_was_given() -> None:
    window, _ = step(Window(), 1.0, delta=0.002)
    before = msgspec.msgpack.encode(window)
    step(window, 2.0, delta=0.002)
    assert msgspec.msgpack.encode(window) == before


def test_equal_values_have_no_strongest_cut_above_the_threshold() -> None:
    window = Window()
    for _ in range(100):
        window, cut = step(window, 3.0, delta=0.002)
        assert cut is None
    best = strongest(window, 0.002)
    assert best is not None
    assert best.strength == 0
    assert strongest(Window(), 0.002) is None
