"""Session windows in event time: runs of events with no gap between them, merged as events arrive in any order."""

from bisect import bisect_left
from collections.abc import Sequence

import msgspec


class Window(msgspec.Struct, frozen=True):
    """From its first event to its last one, microseconds."""

    start_us: int
    end_us: int

    def holds(self, at_us: int) -> bool:
        """Whether an event of this time belongs to it."""
        return self.start_us <= at_us <= self.end_us


def merged(windows: Sequence[Window], at_us: int, gap_us: int) -> list[Window]:
    """Put an event into sorted windows that are more than a gap apart."""
    found = Window(at_us, at_us)
    apart: list[Window] = []
    for window in windows:
        if window.start_us - gap_us <= at_us <= window.end_us + gap_us:
            found = Window(min(found.start_us, window.start_us), max(found.end_us, window.end_us))
        else:
            apart.append(window)
    apart.insert(bisect_left(apart, found.start_us, key=lambda window: window.start_us), found)
    return apart
