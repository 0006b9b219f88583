"""The oracle of the fault matrix sees what a peer does wrong, each thing by its own number."""

from collections.abc import Sequence

import pytest

from bench.peers.oracle import Answer, Kind, Sent, Verdict, judge


def sent(*kinds: Kind) -> list[Sent]:
    """Records in turn on two partitions, each with a key of its partition."""
    return [Sent(i, kind, b"key-%d" % (i % 2), b"value-%d" % i, i % 2, i // 2) for i, kind in enumerate(kinds)]


def answers(*sequences: int) -> list[Answer]:
    """Answers in the order of the sink, on one partition."""
    return [Answer(sequence, b"key-%d" % (sequence % 2), 0, i) for i, sequence in enumerate(sequences)]


def verdict(kinds: Sequence[Kind], answered: Sequence[int], letters: Sequence[int] = ()) -> Verdict:
    return judge(sent(*kinds), answers(*answered), [b"value-%d" % i for i in letters])


def test_everything_answered_once_and_in_order_is_faultless() -> None:
    found = verdict(["good"] * 6, [0, 1, 2, 3, 4, 5])
    assert found == Verdict(n=6, n_bad=0, lost=0, blocked=0, repeated=0, letters=0, ordered=True)
    assert found.flows


def test_a_record_that_was_passed_over_is_lost() -> None:
    found = verdict(["good"] * 6, [0, 1, 3, 4, 5])
    assert (found.lost, found.blocked) == (1, 0)


def test_a_record_with_nothing_behind_it_is_blocked_and_not_lost() -> None:
    found = verdict(["good"] * 6, [0, 1, 3, 5])  # partition 0 ends at sequence 0
    assert (found.lost, found.blocked) == (0, 2)
    assert not found.flows


def test_a_failing_record_that_was_passed_over_is_lost_unless_it_is_a_dead_letter() -> None:
    kinds: list[Kind] = ["good", "good", "failing", "poison", "good", "good"]
    assert verdict(kinds, [0, 1, 4, 5]).lost == 2
    kept = verdict(kinds, [0, 1, 4, 5], letters=[2, 3])
    assert (kept.lost, kept.blocked, kept.letters, kept.n_bad) == (0, 0, 2, 2)


def test_a_dead_letter_with_other_bytes_is_none() -> None:
    found = judge(sent("good", "poison", "good", "good"), answers(0, 2, 3), [b"value-1 "])
    assert (found.letters, found.lost) == (0, 1)


def test_answers_beyond_the_first_are_repetitions() -> None:
    assert verdict(["good"] * 4, [0, 1, 0, 1, 2, 3, 0]).repeated == 3


@pytest.mark.parametrize(
    ("answered", "ordered"),
    [
        ([0, 1, 2, 3, 0, 1, 2, 3], True),  # a repetition from an earlier place is no disorder
        ([2, 0, 1, 3], False),
        ([1, 0, 3, 2], True),  # keys overtake each other freely
        ([1, 3, 2, 0], False),
    ],
)
def test_first_answers_of_a_key_must_come_in_order(answered: list[int], ordered: bool) -> None:
    assert verdict(["good"] * 4, answered).ordered == ordered
