"""What the guards add is found by asking the same question both ways."""

from collections.abc import Sequence

import pytest

from bench.guards import Pairs
from bench.null_adapters import GuardSwitch


async def test_a_question_is_asked_both_ways_in_turns_and_what_is_added_is_found() -> None:
    switch, pairs, seen = GuardSwitch(), Pairs(), []

    async def way(asked: Sequence[str]) -> list[float]:
        seen.append((asked[0], switch.on))
        return [len(asked[0]) + (3.0 if switch.on else 0.0)]

    for _ in range(2):
        await pairs.take(way, switch, ["a", "bb"])
    assert seen[:4] == [("a", False), ("a", True), ("bb", True), ("bb", False)]
    assert switch.on
    assert pairs.guarded == [[4.0, 5.0]] * 2
    assert pairs.unguarded == [[1.0, 2.0]] * 2
    assert pairs.added(0.99) == (3.0, 3.0)
    assert pairs.of_questions == [3.0, 3.0]


def test_a_hiccup_in_one_turn_is_not_what_the_guards_add_to_a_question() -> None:
    pairs = Pairs()
    pairs.guarded = [[5.0, 5.0], [90.0, 5.0], [5.0, 5.0]]
    pairs.unguarded = [[1.0, 2.0], [1.0, 2.0], [1.0, 70.0]]
    assert pairs.of_questions == [4.0, 3.0]
    assert pairs.added(1.0) == pytest.approx((3.0, 88.0, -65.0))
