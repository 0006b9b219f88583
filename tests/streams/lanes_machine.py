"""Readers and workers around Lanes, and the laws that every batch must keep.

The model keeps one list per key. It does not predict a batch; it checks that what was taken was allowed, that what was
left had to be left, and at the end that every item was finished once or dropped with its partition.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from millrace.agent import Batch
from streams.lanes import Item, Lanes
from streams.ledger import TopicPartition

PARTITIONS: tuple[TopicPartition, ...] = (("orders", 0), ("orders", 1))
KEYS = (None, b"a", b"b", b"c", b"d")
MAX_BYTES = 10

Lane = bytes | Item


class LanesMachine(RuleBasedStateMachine):
    """Items come, are taken, finished, retried, suspected and dropped, in any order and at any time."""

    lanes_type: type[Lanes] = Lanes

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.step = 0
        self.n_offered = 0
        self.queued: dict[Lane, list[Item]] = {}
        self.flying: list[Item] = []
        self.not_before: dict[Item, float] = {}
        self.ready_at_step: dict[Item, int] = {}
        self.suspects: set[Item] = set()
        self.orphans: set[Item] = set()
        self.finished: list[Item] = []
        self.n_dropped = 0
        self.undecided = False  # a law was being checked, and was broken if this stays

    @initialize(
        max_in_flight=st.integers(1, 5),
        max_items=st.integers(1, 4),
        linger_ms=st.sampled_from([0, 20]),
        n_kinds=st.integers(1, 2),
    )
    def start(self, max_in_flight: int, max_items: int, linger_ms: int, n_kinds: int) -> None:
        self.n_kinds = n_kinds
        self.batch = Batch(max_items=max_items, max_bytes=MAX_BYTES, linger_ms=linger_ms)
        self.max_in_flight = max_in_flight
        self.lanes = self.lanes_type(max_in_flight, self.batch)

    # --- what happens ---

    @rule(
        records=st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 12)), min_size=1, max_size=6), data=st.data()
    )
    def offer(self, records: list[tuple[bytes | None, int]], data: st.DataObject) -> None:
        tp = data.draw(st.sampled_from(PARTITIONS))
        suspicious = data.draw(st.integers(0, 9)) == 0
        for key, size in records:
            kind = data.draw(st.integers(1, self.n_kinds))
            item = Item(key, size, None, tp, offset=self.n_offered, epoch=1, arrived=self.now, kind=kind)
            self.n_offered += 1
            if suspicious:
                self.lanes.alone(item)
                self.suspects.add(item)
            self.lanes.offer(item)
            self.queued.setdefault(_lane(item), []).append(item)
            self._mark_ready()

    @rule(key=st.sampled_from(KEYS), size=st.integers(1, 12), tp=st.sampled_from(PARTITIONS))
    def seize(self, key: bytes | None, size: int, tp: TopicPartition) -> None:
        item = Item(key, size, None, tp, offset=self.n_offered, epoch=1, arrived=self.now, kind=1)
        waiting = [each for items in self.queued.values() for each in items]
        busy = _lane(item) in {_lane(each) for each in (*waiting, *self.flying)}
        suspected = not self.suspects.isdisjoint([*waiting, *self.flying])
        full = len(self.flying) >= self.max_in_flight
        self.undecided = True
        try:
            self.lanes.seize(item)
        except ValueError:
            assert busy or suspected or full, "a free lane was refused"
        else:
            assert not full, "an item was begun with too much in flight"
            assert not busy, "an item was begun out of its turn, while its key had others"
            assert not suspected, "an item was begun beside a suspect"
            self.n_offered += 1
            self.flying.append(item)
        self.undecided = False

    @rule(after=st.sampled_from([0.0, 0.0, 0.005, 0.03]))
    def take(self, after: float) -> None:
        self.now += after
        self._take()

    @rule()
    def ask_when(self) -> None:
        due = self.lanes.next_due(self.now)
        self._mark_ready(awake=True)
        self.undecided = True
        self._check_due(due)
        self.undecided = False

    def _check_due(self, due: float | None) -> None:
        if due is None:
            busy = {_lane(item) for item in self.flying}
            assert self._blocked() or self.queued.keys() <= busy, "next_due said never, but time alone brings a batch"
            return
        assert due >= self.now
        if due > self.now:
            self.now = (self.now + due) / 2
            assert not self._take(), "a batch was due before next_due"
            self.now = due
            self._take()
        else:
            assert self._take(), "next_due said now, but there was no batch"

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.flying))
        self.lanes.finish(item)
        self._land(item)
        self.finished.append(item)

    @precondition(lambda self: self.flying)
    @rule()
    def finish_all(self) -> None:
        for item in list(self.flying):
            self.lanes.finish(item)
            self._land(item)
            self.finished.append(item)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), delay=st.sampled_from([-0.01, 0.0, 0.01, 0.05]))
    def retry(self, data: st.DataObject, delay: float) -> None:
        item = data.draw(st.sampled_from(self.flying))
        self.lanes.retry(item, self.now + delay)
        if item in self.orphans:
            self.finished.append(item)
        else:
            self.queued.setdefault(_lane(item), []).insert(0, item)
            self.not_before[item] = self.now + delay
        self._land(item)

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def suspect(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([item for items in self.queued.values() for item in items]))
        self.lanes.alone(item)
        self.suspects.add(item)

    @rule(tp=st.sampled_from(PARTITIONS))
    def drop(self, tp: TopicPartition) -> None:
        flying = self.lanes.drop(tp)
        assert set(flying) == {item for item in self.flying if item.tp == tp}
        self.orphans.update(flying)
        for lane, items in list(self.queued.items()):
            kept = [item for item in items if item.tp != tp]
            self.n_dropped += len(items) - len(kept)
            self.queued[lane] = kept
            if not kept:
                del self.queued[lane]
        self._mark_ready()

    def teardown(self) -> None:
        if self.undecided or not hasattr(self, "lanes"):
            return
        for _ in range(4 * self.n_offered + 4):
            if not self.queued and not self.flying:
                break
            if self.flying:
                self.finish_all()
            due = self.lanes.next_due(self.now)
            if due is not None:
                self.now = due
                self._take()
        assert len(self.finished) == len(set(self.finished)), "an item was finished twice"
        assert len(self.finished) + self.n_dropped == self.n_offered, "an item was lost or is stuck"
        assert self.lanes.in_flight == 0
        assert self.lanes.queued == 0
        assert not self.lanes._waiting
        assert not self.lanes._suspects
        assert not self.lanes._dropped

    # --- laws ---

    @invariant()
    def counts_agree(self) -> None:
        if hasattr(self, "lanes"):
            self.undecided = True
            assert self.lanes.in_flight == len(self.flying) <= self.max_in_flight
            assert self.lanes.queued == sum(map(len, self.queued.values())), "more or fewer are queued"
            assert self.lanes._ready_bytes == sum(item.size for item in self.lanes._ready), "bytes are miscounted"
            self.undecided = False

    def _take(self) -> bool:
        self._mark_ready(awake=True)
        eligible = self._eligible()
        batch = self.lanes.take(self.now)
        self.undecided = True
        if batch is None:
            assert not eligible or self._blocked() or not self._due(), "something was due, but nothing was taken"
        else:
            self._check_limits(batch, eligible)
            self._check_order(batch, eligible)
        self.undecided = False
        if batch is None:
            return False
        for item in batch:
            lane = _lane(item)
            self.queued[lane].remove(item)
            if not self.queued[lane]:
                del self.queued[lane]
            self.not_before.pop(item, None)
            del self.ready_at_step[item]
        self.flying.extend(batch)
        return True

    def _check_limits(self, batch: list[Item], eligible: list[Item]) -> None:
        assert batch, "an empty batch"
        assert len({_lane(item) for item in batch}) == len(batch), "two items of a key in a batch"
        for item in batch:
            assert item in eligible, "an item was taken out of its turn, too early, or while its key was in flight"
        assert len({item.kind for item in batch}) == 1, "two kinds in a batch"
        assert len(batch) <= self.batch.max_items, "more items than a batch may have"
        assert len(batch) + len(self.flying) <= self.max_in_flight, "too much in flight"
        assert len(batch) == 1 or sum(item.size for item in batch) <= MAX_BYTES, "more bytes than a batch may have"
        assert self.suspects.isdisjoint(self.flying), "something was taken beside a suspect"
        if not self.suspects.isdisjoint(batch):
            assert len(batch) == 1, "a suspect was taken beside others"
            assert not self.flying, "a suspect was taken beside others"
        assert self._due(), "a batch was taken that should have lingered"

    def _check_order(self, batch: list[Item], eligible: list[Item]) -> None:
        left = [item for item in eligible if item not in batch]
        if not left:
            return
        assert self.ready_at_step[batch[0]] <= min(self.ready_at_step[item] for item in left), "an item was overtaken"
        alike = [item for item in left if item.kind == batch[0].kind]
        if not alike:
            return
        oldest_left = min(self.ready_at_step[item] for item in alike)
        assert max(self.ready_at_step[item] for item in batch) <= oldest_left, "an item was overtaken"
        if len(batch) < min(self.batch.max_items, self.max_in_flight - len(self.flying)):
            size = sum(item.size for item in batch)
            before = [item for item in left if self.ready_at_step[item] <= oldest_left]
            assert batch[0] in self.suspects or any(
                item in self.suspects or (item in alike and size + item.size > MAX_BYTES) for item in before
            ), "the batch had room for one more"

    # --- the model ---

    def _eligible(self) -> list[Item]:
        busy = {_lane(item) for item in self.flying}
        fronts = [items[0] for lane, items in self.queued.items() if lane not in busy]
        return [item for item in fronts if self.not_before.get(item, self.now) <= self.now]

    def _heads(self) -> list[Item]:
        """Items that may stand first in the queue; several where they became ready in the same step."""
        eligible = self._eligible()
        first = min((self.ready_at_step[item] for item in eligible), default=0)
        return [item for item in eligible if self.ready_at_step[item] == first]

    def _blocked(self) -> bool:
        if len(self.flying) >= self.max_in_flight or not self.suspects.isdisjoint(self.flying):
            return True
        return bool(self.flying) and not self.suspects.isdisjoint(self._heads())

    def _due(self) -> bool:
        eligible, heads = self._eligible(), self._heads()
        return (
            len(eligible) >= min(self.batch.max_items, self.max_in_flight)
            or sum(item.size for item in eligible) >= MAX_BYTES
            or any(item.arrived + self.batch.linger_ms / 1000 <= self.now or item in self.suspects for item in heads)
        )

    def _mark_ready(self, *, awake: bool = False) -> None:
        """Note when items became ready; a delayed one does when the clock is read."""
        self.step += 1
        for item in self._eligible():
            if awake or item not in self.not_before:
                self.ready_at_step.setdefault(item, self.step)

    def _land(self, item: Item) -> None:
        self.flying.remove(item)
        self._mark_ready()


def _lane(item: Item) -> Lane:
    return item if item.key is None else item.key
