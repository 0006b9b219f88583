"""What a table holds for a key, and which keys no event has touched for long. Plain classes without I/O.

The time here is that of the log: of a partition, the latest that an applied record carried. No clock is read, so what
is forgotten is the same wherever, and whenever, the same records are applied in the same order.
"""

from collections import OrderedDict
from typing import Final

import msgspec

from millrace.event import Event

_WINDOW: Final = 256  # event ids remembered per key: catches what a producer or a replay wrote twice


class Entry(msgspec.Struct):
    """What the table holds for a key.

    Attributes
    ----------
    state : bytes
        The agent's state, as msgpack; empty before the first event, and once it was forgotten.
    applied : dict of str to int
        Last applied offset, by ``topic/partition``.
    seen : list of str
        Ids of the last events.
    touched_us : int
        Time of the partition at the last event, microseconds since the epoch; 0 if an older release wrote the entry.
    user : str
        Whose key it is: the first user that an event of it named; empty if none did, or an older release wrote it.
    """

    state: bytes = b""
    applied: dict[str, int] = {}
    seen: list[str] = []
    touched_us: int = 0
    user: str = ""

    def knows(self, event: Event) -> bool:
        """Whether an event has been applied already."""
        origin = event.meta.origin
        if origin is None:
            return event.meta.id in self.seen
        return origin.offset <= self.applied.get(f"{origin.topic}/{origin.partition}", -1) or event.meta.id in self.seen

    def after(self, event: Event, state: msgspec.Struct, now_us: int = 0) -> "Entry":
        """The entry once `event` has led to `state`, at a time of its partition."""
        applied, origin = self.applied, event.meta.origin
        if origin is not None:
            applied = {**applied, f"{origin.topic}/{origin.partition}": origin.offset}
        seen, user = [*self.seen, event.meta.id][-_WINDOW:], self.user or getattr(event, "user", "")
        return Entry(msgspec.msgpack.encode(state), applied, seen, now_us, user)

    def emptied(self) -> "Entry":
        """The entry of a key that was forgotten while its last events may be delivered again: it still knows them."""
        return Entry(b"", self.applied, self.seen, self.touched_us, self.user)


class Touched(msgspec.Struct):
    """The part of an `Entry` that says how old it is, whose, and whether it was forgotten."""

    touched_us: int = 0
    user: str = ""
    state: bytes = b""


class Ages:
    """Since when the keys of each partition have not been touched.

    A key is touched at the time of its partition, not of the event: an event that comes late keeps its key as long as
    any other. So the keys stand in the order in which they were touched, which is that of their changelog as well.

    Parameters
    ----------
    keep_us : int or None
        A key that was not touched for longer is over; None if none ever is, and nothing is remembered.
    """

    def __init__(self, keep_us: int | None) -> None:
        self._keep_us = keep_us
        self._now_us: dict[int, int] = {}
        self._touched: dict[int, OrderedDict[bytes, int]] = {}
        self._emptied: dict[int, OrderedDict[bytes, None]] = {}

    def now_us(self, partition: int, at_us: int = 0) -> int:
        """Time of a partition, with a record of `at_us`; 0 where no key is ever over."""
        return max(at_us, self._now_us.get(partition, 0)) if self._keep_us is not None else 0

    def touch(self, partition: int, key: bytes | None, touched_us: int) -> None:
        """Note that an entry was written; 0 if nobody knows when."""
        if key is not None and (emptied := self._emptied.get(partition)):
            emptied.pop(key, None)
        if self._keep_us is None or key is None:
            return
        keys = self._touched.setdefault(partition, OrderedDict())
        keys[key] = touched_us
        keys.move_to_end(key)
        self._now_us[partition] = self.now_us(partition, touched_us)

    def drop(self, partition: int, key: bytes) -> None:
        """Note that a key is gone; nothing if it was not known."""
        for keys in (self._touched.get(partition), self._emptied.get(partition)):
            if keys:
                keys.pop(key, None)

    def empty(self, partition: int, key: bytes) -> None:
        """Note that a key is over whatever its age, though its entry is still there."""
        self.drop(partition, key)
        self._emptied.setdefault(partition, OrderedDict())[key] = None

    def over(self, touched_us: int, now_us: int) -> bool:
        """Whether a key that was touched last at `touched_us` is forgotten at `now_us`."""
        return self._keep_us is not None and 0 < touched_us < now_us - self._keep_us

    def oldest_over(self, partition: int) -> bytes | None:
        """A key that was emptied, else the one that was touched least lately, if it is over.

        Of an entry of an older release nobody knows when it was touched: it counts as touched when it is met here.
        """
        if emptied := self._emptied.get(partition):
            return next(iter(emptied))
        keys = self._touched.get(partition)
        if not keys:
            return None
        key, touched_us = next(iter(keys.items()))
        now_us = self.now_us(partition)
        if not touched_us:
            self.touch(partition, key, now_us)
            return None
        return key if self.over(touched_us, now_us) else None


__all__ = ["Ages", "Entry", "Touched"]
