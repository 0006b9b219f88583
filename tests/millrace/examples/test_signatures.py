"""Laws about signatures: they tell how much two texts share, within what 32 bytes can tell."""

from __future__ import annotations

import random

import numpy as np

from millrace.examples.signatures import N_BYTES, likeness, near_pairs, signature


def pair(rng: random.Random, jaccard: float, n: int = 60) -> tuple[set[str], set[str]]:
    """Two sets of shingles with a Jaccard index."""
    common = round(2 * n * jaccard / (1 + jaccard))
    words = [f"{rng.random()}" for _ in range(2 * n - common)]
    return set(words[:n]), set(words[n - common :])


def test_likeness_is_the_jaccard_index_within_what_the_size_allows() -> None:
    rng = random.Random(3)
    for wanted in (0.0, 0.3, 0.8):
        errors = []
        for _ in range(60):
            one, other = pair(rng, wanted)
            true = len(one & other) / len(one | other)
            errors.append(likeness(signature(one), [signature(other)])[0] - true)
        assert abs(float(np.mean(errors))) < 0.04
        assert float(np.std(errors)) < 0.09


def test_a_text_is_like_itself_and_nothing_is_like_an_empty_one() -> None:
    one = signature({"a b c", "b c d"})
    assert len(one) == N_BYTES
    assert likeness(one, [one, b"", signature({"x y z"})])[:2].tolist() == [1.0, 0.0]
    assert signature(set()) == b""
    assert likeness(b"", [one]).tolist() == [0.0]


def test_order_changes_nothing_and_every_value_counts() -> None:
    assert signature(["b", "a"]) == signature(["a", "b"])
    assert signature(["a", "b"]) != signature(["a", "c"])


def test_near_pairs_are_found_without_comparing_all() -> None:
    rng = random.Random(4)
    near = [pair(rng, 0.9) for _ in range(40)]
    signatures = [signature(each) for both in near for each in both]
    signatures += [signature(pair(rng, 0.1)[0]) for _ in range(100)]
    found = set(near_pairs(signatures, 0.75))
    wanted = {(2 * n, 2 * n + 1) for n in range(40)}
    assert len(wanted & found) >= 39
    assert len(found - wanted) == 0
