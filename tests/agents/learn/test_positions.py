"""Every record counts once, however often and in whatever order it comes; ranges hold what they should."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from agents.learn.positions import N_REMEMBERED, N_STRETCHES, SPAN, STRETCH, Counted, Stretch, noted, remembered, since
from millrace.events.learn import OffsetRange

TOPIC = "query.answer.produced.v1"


@given(st.lists(st.integers(0, 200), max_size=300))
def test_within_its_span_it_knows_exactly_what_was_counted(offsets: list[int]) -> None:
    counted, known = Counted(), set[int]()
    for offset in offsets:
        assert counted.knows(offset) == (offset in known)
        counted = counted.after(offset)
        known.add(offset)
    assert all(counted.knows(offset) for offset in known)


def test_what_is_too_far_back_counts_as_known_and_what_a_pump_may_overtake_does_not() -> None:
    counted = Counted().after(5000)
    assert counted.knows(5000 - SPAN)
    assert not counted.knows(5000 - SPAN + 1)
    assert not counted.knows(5001)


def test_what_it_takes_is_bounded_whatever_gaps_there_are() -> None:
    counted, rng, at = Counted(), random.Random(0), 0
    for _ in range(5000):
        at += rng.choice([1, 2, 700, 10**6])
        counted = counted.after(at)
        assert len(counted.bits) <= SPAN // 8
    assert counted.knows(at)


def test_the_last_ids_are_remembered_and_no_more() -> None:
    digests = b""
    for i in range(N_REMEMBERED + 1):
        after = remembered(digests, f"event {i}")
        assert after is not None
        digests = after
    assert len(digests) == 4 * N_REMEMBERED
    assert remembered(digests, "event 1") is None
    assert remembered(digests, f"event {N_REMEMBERED}") is None
    assert remembered(digests, "event 0") is not None


def position(offset: int, partition: int = 0) -> OffsetRange:
    return OffsetRange(TOPIC, partition, offset, offset + 1)


def test_ranges_hold_the_last_values_of_a_signal_to_a_stretch() -> None:
    stretches: tuple[Stretch, ...] = ()
    for i in range(200):
        stretches = noted(stretches, position(i // 2, i % 2), {"a": 1.0} if i % 4 else {"a": 1.0, "b": 2.0})
    n_records, ranges = since(stretches, "a", 30)
    assert n_records == 2 * STRETCH
    assert ranges == (OffsetRange(TOPIC, 0, 80, 100), OffsetRange(TOPIC, 1, 80, 100))
    n_records, _ = since(stretches, "b", 12)  # each fourth record has a value
    assert n_records == 3 * STRETCH
    assert since(stretches, "c", 1)[0] == 200
    assert since((), "a", 5) == (0, ())


def test_what_it_keeps_is_bounded() -> None:
    stretches: tuple[Stretch, ...] = ()
    for i in range(3 * N_STRETCHES * STRETCH):
        stretches = noted(stretches, position(i, i % 4), {"a": 1.0})
    assert len(stretches) == N_STRETCHES
    assert len(msgspec.msgpack.encode(stretches)) < 16_000
    n_kept = N_STRETCHES * STRETCH
    n_records, ranges = since(stretches, "a", n_kept)
    assert n_records == n_kept
    assert len(ranges) == 4
    assert since(stretches, "a", 3 * n_kept) == (3 * n_kept, ranges), "further back it came as often as since"
