"""The laws of the lanes: by a state machine, by its negative controls, and one by one where a rule deserves a name."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from millrace.agent import Batch
from streams.lanes import Item, Lanes
from streams.ledger import TopicPartition
from tests.streams.broken_lanes import BROKEN
from tests.streams.lanes_machine import LanesMachine

TP: TopicPartition = ("orders", 0)
OTHER: TopicPartition = ("orders", 1)

TestLanesKeepTheirLaws = LanesMachine.TestCase
TestLanesKeepTheirLaws.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("broken", "law"), BROKEN)
def test_the_laws_catch_broken_lanes(broken: type[Lanes], law: str) -> None:
    class BrokenMachine(LanesMachine):
        lanes_type = broken

    once = settings(
        max_examples=2_500,  # most need a few; which are drawn depends on the modules that happen to be loaded
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises(AssertionError, match=law):
        run_state_machine_as_test(BrokenMachine, settings=once)


def record(offset: int, key: bytes | None = None, tp: TopicPartition = TP, arrived: float = 0.0) -> Item:
    return Item(key, 100, f"record {offset}", tp, offset, epoch=1, arrived=arrived)


def lanes_with(*items: Item, max_in_flight: int = 10, batch: Batch | None = None) -> Lanes:
    lanes = Lanes(max_in_flight, batch or Batch(max_items=10))
    for item in items:
        lanes.offer(item)
    return lanes


def test_records_of_a_key_run_one_after_the_other_and_keys_side_by_side() -> None:
    first, second, other = record(0, b"a"), record(1, b"a"), record(2, b"b")
    lanes = lanes_with(first, second, other)
    assert lanes.take(0.0) == [first, other]
    assert lanes.take(0.0) is None
    lanes.finish(first)
    assert lanes.take(0.0) == [second]


def test_records_without_a_key_wait_for_nobody() -> None:
    items = [record(offset) for offset in range(3)]
    assert lanes_with(*items).take(0.0) == items


def test_a_hot_key_does_not_hold_back_the_others() -> None:
    hot = [record(offset, b"hot") for offset in range(5)]
    cold = [record(offset, b"cold-%d" % offset) for offset in range(5, 8)]
    lanes = lanes_with(*hot, *cold, batch=Batch(max_items=1))
    taken = []
    while (batch := lanes.take(0.0)) is not None:
        taken += batch
        for item in batch:
            lanes.finish(item)
    assert taken == [hot[0], *cold, *hot[1:]]


def test_a_partial_batch_waits_for_its_linger_and_a_full_one_does_not() -> None:
    batch = Batch(max_items=2, linger_ms=20)
    first, second, third = (record(offset, arrived=1.0) for offset in range(3))
    lanes = lanes_with(first, batch=batch)
    assert (lanes.take(1.01), lanes.next_due(1.01)) == (None, 1.02)
    lanes.offer(second)
    lanes.offer(third)
    assert lanes.take(1.01) == [first, second]
    assert lanes.take(1.01) is None
    assert lanes.take(1.02) == [third]


@pytest.mark.parametrize(
    ("batch", "max_in_flight"), [(Batch(9, max_bytes=200, linger_ms=20), 9), (Batch(9, linger_ms=20), 2)]
)
def test_a_batch_that_cannot_grow_does_not_linger(batch: Batch, max_in_flight: int) -> None:
    items = [record(offset, arrived=1.0) for offset in range(2)]
    assert lanes_with(*items, max_in_flight=max_in_flight, batch=batch).take(1.0) == items


def test_a_batch_ends_before_the_item_that_would_break_its_bytes() -> None:
    items = [record(offset) for offset in range(5)]
    lanes = lanes_with(*items, batch=Batch(max_items=10, max_bytes=250))
    assert [lanes.take(0.0) for _ in range(4)] == [items[:2], items[2:4], items[4:], None]


def test_an_item_above_the_bytes_of_a_batch_runs_by_itself() -> None:
    items = [record(offset) for offset in range(2)]
    lanes = lanes_with(*items, batch=Batch(max_items=10, max_bytes=50))
    assert lanes.take(0.0) == items[:1]


def test_a_retried_item_comes_first_in_its_lane_and_not_before_its_time() -> None:
    first, second, other = record(0, b"a"), record(1, b"a"), record(2, b"b")
    lanes = lanes_with(first, second, batch=Batch())
    assert lanes.take(0.0) == [first]
    lanes.retry(first, at=5.0)
    assert (lanes.take(4.9), lanes.next_due(4.9)) == (None, 5.0)
    lanes.offer(other)
    assert lanes.take(4.9) == [other]
    assert lanes.take(5.0) == [first]


def test_retries_keep_their_times_when_another_partition_is_dropped() -> None:
    items = [record(offset, tp=OTHER if offset == 0 else TP) for offset in range(12)]
    lanes = lanes_with(*items, max_in_flight=12, batch=Batch(max_items=12))
    assert lanes.take(0.0) == items
    times = [1, 2, 9, 3, 4, 10, 11, 5, 6, 7, 8, 12]
    for item, at in zip(items, times, strict=True):
        lanes.retry(item, at)
    assert lanes.drop(OTHER) == []
    order = []
    for now in range(2, 13):
        assert lanes.next_due(now - 0.5) == now
        batch = lanes.take(now)
        assert batch is not None
        order += batch
    assert order == [item for _, item in sorted(zip(times, items, strict=True), key=lambda pair: pair[0])][1:]


def test_an_item_of_a_dropped_partition_is_not_retried() -> None:
    item = record(0, b"a")
    lanes = lanes_with(item)
    lanes.take(0.0)
    lanes.drop(TP)
    lanes.retry(item, at=1.0)
    assert (lanes.in_flight, lanes.queued, lanes.take(2.0)) == (0, 0, None)


def test_a_dropped_partition_leaves_its_lanes_closed_until_its_work_in_flight_is_finished() -> None:
    flying, gone, again = record(0, b"a"), record(1, b"a"), record(0, b"a", OTHER)
    lanes = lanes_with(flying, gone)
    assert lanes.take(0.0) == [flying]
    assert lanes.drop(TP) == [flying]
    lanes.offer(again)
    assert lanes.take(0.0) is None
    lanes.finish(flying)
    assert lanes.take(0.0) == [again]
    assert (lanes.queued, lanes.in_flight) == (0, 1)


def test_a_suspect_waits_until_all_is_quiet_and_then_runs_alone() -> None:
    before, suspect, after = record(0), record(1), record(2)
    lanes = lanes_with(before)
    assert lanes.take(0.0) == [before]
    lanes.alone(suspect)
    lanes.offer(suspect)
    lanes.offer(after)
    assert (lanes.take(0.0), lanes.next_due(0.0)) == (None, None)
    lanes.finish(before)
    assert lanes.take(0.0) == [suspect]
    assert (lanes.take(0.0), lanes.next_due(0.0)) == (None, None)
    lanes.finish(suspect)
    assert lanes.take(0.0) == [after]


def test_an_item_is_finished_once() -> None:
    item = record(0)
    lanes = lanes_with(item)
    with pytest.raises(ValueError, match="record 0 of orders"):
        lanes.finish(item)
    lanes.take(0.0)
    lanes.finish(item)
    for again in (lanes.finish, lambda item: lanes.retry(item, 0.0)):
        with pytest.raises(ValueError, match="is not in flight"):
            again(item)


@pytest.mark.parametrize(("max_in_flight", "batch"), [(0, Batch()), (1, Batch(max_items=0)), (1, Batch(linger_ms=-1))])
def test_limits_that_would_stop_everything_are_refused(max_in_flight: int, batch: Batch) -> None:
    with pytest.raises(ValueError, match="allowed are"):
        Lanes(max_in_flight, batch)


def test_an_item_apart_is_a_batch_of_its_own_that_lingers_for_nobody() -> None:
    first, slow, last = record(0, b"a"), record(1, b"b"), record(2, b"c")
    slow.apart = True
    lanes = lanes_with(first, slow, last, batch=Batch(max_items=10, linger_ms=50))
    assert lanes.take(0.0) is None
    assert lanes.take(0.05) == [first]
    assert lanes.take(0.05) == [slow]
    assert lanes.take(0.05) == [last]


def test_a_batch_passes_over_what_is_of_another_kind_and_leaves_it_in_its_place() -> None:
    items = [record(number, key) for number, key in enumerate((b"a", b"b", b"c", b"d", b"e"))]
    for item, kind in zip(items, (1, 2, 1, 2, 1), strict=True):
        item.kind = kind
    lanes = lanes_with(*items, batch=Batch(max_items=10))
    assert lanes.take(0.0) == [items[0], items[2], items[4]]
    assert lanes.take(0.0) == [items[1], items[3]]


def test_neighbours_of_an_item_apart_run_while_it_does_and_its_key_waits() -> None:
    slow, behind, other = record(0, b"a"), record(1, b"a"), record(2, b"b")
    slow.apart = True
    lanes = lanes_with(slow, behind, other)
    assert lanes.take(0.0) == [slow]
    assert lanes.take(0.0) == [other]
    lanes.finish(other)
    assert lanes.take(0.0) is None
    lanes.finish(slow)
    assert lanes.take(0.0) == [behind]
