"""Lanes that each break one law, and what the machine that checks them has to say."""

from collections import deque

import msgspec

from streams.lanes import Item, Lanes
from streams.ledger import TopicPartition


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
        batch, self.batch = self.batch, msgspec.structs.replace(self.batch, max_bytes=1000)
        try:
            return super()._cut(room)
        finally:
            self.batch = batch


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


class MixesKinds(Lanes):
    """Puts together what was to be kept apart."""

    def _cut(self, room: int) -> list[Item]:
        kinds = [(item, item.kind) for item in self._ready]
        for item, _ in kinds:
            item.kind = None
        batch = super()._cut(room)
        for item, kind in kinds:
            item.kind = kind
        return batch


class LeavesOutOtherKinds(Lanes):
    """Forgets what it passed over."""

    def _cut(self, room: int) -> list[Item]:
        kind = self._ready[0].kind
        if any(item.kind != kind for item in self._ready):
            self._ready = deque(item for item in self._ready if item.kind == kind)
            self._ready_bytes = sum(item.size for item in self._ready)
        return super()._cut(room)


BROKEN = [
    (MixesKinds, "two kinds in a batch|room for one more"),
    (LeavesOutOtherKinds, "fewer are queued|was lost"),
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
