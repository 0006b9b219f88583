"""The laws of the lanes: by a state machine, by its negative controls, and one by one where a rule deserves a name."""

from collections import deque

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from millrace.agent import Batch
from streams.lanes import Item, Lanes
from streams.ledger import TopicPartition
from tests.streams.lanes_machine import LanesMachine

TP: TopicPartition = ("orders", 0)
OTHER: TopicPartition = ("orders", 1)

TestLanesKeepTheirLaws = LanesMachine.TestCase
TestLanesKeepTheirLaws.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


class IgnoresKeys(Lanes):
    """Runs records of a key side by side."""

    def offer(self, item: Item) -> None:
        self._ready.append(item)
        self._ready_bytes += item.size
        if item.key is not None:
            self._waiting[item.key] = None

    def _promote(self, key: bytes) -> None:
        self._waiting.pop(key, None)


class LosesSuccessors(Lanes):
    """Frees a lane and forgets who waited in it."""

    def _promote(self, key: bytes) -> None:
        del self._waiting[key]


class TakesTwice(Lanes):
    """Gives an item out and keeps it."""

    def _cut(self, room: int) -> list[Item]:
        batch = super()._cut(room)
        if len(batch) > 1:
            self._ready.append(batch[-1])
            self._ready_bytes += batch[-1].size
        return batch


class RetriesAtTheEnd(Lanes):
    """Lets the successors of a retried item overtake it."""

    def retry(self, item: Item, at: float) -> None:
        if item in self._dropped:
            super().retry(item, at)
        else:
            self.finish(item)
            self.offer(item)


class RetriesAtOnce(Lanes):
    """Does not wait for the time of the retry."""

    def retry(self, item: Item, at: float) -> None:
        super().retry(item, float("-inf"))


class Unbounded(Lanes):
    """Ignores how much is in flight."""

    def take(self, now: float) -> list[Item] | None:
        self.max_in_flight = 1000
        return super().take(now)


class SeizesBusyLanes(Lanes):
    """Begins a record whatever of its key is under way."""

    def free(self, key: bytes | None) -> bool:
        return super().free(None)


class SeizesBesideSuspects(Lanes):
    """Begins a record while a suspect waits or runs."""

    def free(self, key: bytes | None) -> bool:
        return key not in self._waiting and self.in_flight < self.max_in_flight


class SeizesTooMuch(Lanes):
    """Begins a record however many are in flight."""

    def free(self, key: bytes | None) -> bool:
        return key not in self._waiting and not self._suspects


class SeizesNothing(Lanes):
    """Sends every record through the queue."""

    def free(self, key: bytes | None) -> bool:
        return key is None and super().free(key)


class NewestFirst(Lanes):
    """Starves the oldest."""

    def _cut(self, room: int) -> list[Item]:
        self._ready.reverse()
        batch = super()._cut(room)
        self._ready.reverse()
        return batch


class NeverLingers(Lanes):
    """Takes what is there."""

    def _due(self) -> float:
        return 0.0


class LingersForEver(Lanes):
    """Waits for a full batch."""

    def _due(self) -> float:
        due = super()._due()
        return due if due < 0 else 1e9


class IgnoresBytes(Lanes):
    """Fills a batch by count alone."""

    def _cut(self, room: int) -> list[Item]:
        batch = [self._ready.popleft() for _ in range(min(room, len(self._ready)))]
        self._ready_bytes -= sum(item.size for item in batch)
        return batch


class DropKeepsSuccessors(Lanes):
    """Forgets only the fronts of the lanes of a revoked partition."""

    def drop(self, tp: TopicPartition) -> list[Item]:
        before = {key: deque(behind) for key, behind in self._waiting.items() if behind}
        flying = super().drop(tp)
        self._waiting.update({key: behind for key, behind in before.items() if key in self._waiting})
        return flying


class RetriesDropped(Lanes):
    """Brings a revoked partition's item back."""

    def drop(self, tp: TopicPartition) -> list[Item]:
        flying = super().drop(tp)
        self._dropped.clear()
        return flying


class TrustsSuspects(Lanes):
    """Runs a suspected killer beside others."""

    def alone(self, item: Item) -> None:
        pass


class FillsUpBesideSuspects(Lanes):
    """Waits with the suspect until all is quiet, and then takes others while it runs."""

    def take(self, now: float) -> list[Item] | None:
        self._solo = False
        return super().take(now)


BROKEN = [
    (SeizesBusyLanes, "while its key had others"),
    (SeizesBesideSuspects, "begun beside a suspect"),
    (SeizesTooMuch, "begun with too much"),
    (SeizesNothing, "was refused"),
    (IgnoresKeys, "out of its turn|two items of a key|was overtaken"),
    (LosesSuccessors, "fewer are queued|was lost|was overtaken"),
    (TakesTwice, "fewer are queued|out of its turn"),
    (RetriesAtTheEnd, "out of its turn|was overtaken|beside a suspect|room for one more"),
    (RetriesAtOnce, "too early|should have lingered|was overtaken"),
    (Unbounded, "too much in flight"),
    (NewestFirst, "was overtaken"),
    (NeverLingers, "should have lingered"),
    (LingersForEver, "something was due"),
    (IgnoresBytes, "more bytes"),
    (DropKeepsSuccessors, "more or fewer are queued|out of its turn"),
    (RetriesDropped, "more or fewer are queued|out of its turn"),
    (TrustsSuspects, "beside others|beside a suspect"),
    (FillsUpBesideSuspects, "beside a suspect"),
]


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
