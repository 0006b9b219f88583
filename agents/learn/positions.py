"""Which records were counted, and where those since a change stand: bounded, whatever passes."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from millrace.events.learn import OffsetRange

SPAN: Final = 1024
"""Offsets of a partition that are told apart: above what a pump works on beyond its committed offset by default, so
that all that a crash can repeat is known, and nothing that was merely overtaken counts as known."""
N_REMEMBERED: Final = 1024
"""Events whose ids are remembered: a record that was written twice stands at two places."""
STRETCH: Final = 20
"""Records of a stretch: ranges are exact to so many."""
N_STRETCHES: Final = 50
"""Stretches kept: ranges reach back by so many times `STRETCH` records."""
_DIGEST_BYTES: Final = 4


class Counted(msgspec.Struct, frozen=True):
    """Which of the last offsets of a partition were counted.

    Attributes
    ----------
    last : int
        The highest one, -1 before the first.
    bits : bytes
        An integer, big endian, whose bit i tells of offset last - i.
    """

    last: int = -1
    bits: bytes = b""

    def knows(self, offset: int) -> bool:
        """Whether an offset was counted, or is too far back to tell."""
        back = self.last - offset
        return back >= SPAN or (back >= 0 and bool(int.from_bytes(self.bits) >> back & 1))

    def after(self, offset: int) -> "Counted":
        """With one more offset."""
        ahead = max(offset - self.last, 0)
        last = self.last + ahead
        bits = (int.from_bytes(self.bits) << min(ahead, SPAN)) | 1 << (last - offset)
        bits &= (1 << SPAN) - 1
        return Counted(last, bits.to_bytes((bits.bit_length() + 7) // 8))


def remembered(digests: bytes, event_id: str) -> bytes | None:
    """Digests of the last ids with one more; None if it is among them.

    A digest has four bytes: of four million events one is taken for another and not counted.
    """
    digest = hashlib.blake2s(event_id.encode(), digest_size=_DIGEST_BYTES).digest()
    if memoryview(digest).cast("I")[0] in memoryview(digests).cast("I"):
        return None
    return (digests + digest)[-_DIGEST_BYTES * N_REMEMBERED :]


class Stretch(msgspec.Struct, frozen=True):
    """Some records that came one after the other.

    Attributes
    ----------
    n : int
        How many.
    values : dict of str to int
        How many of them have a value, by signal.
    ranges : dict of str to (int, int)
        First offset, and the one after the last, by ``topic/partition``; between them may be records of other tenants.
    """

    n: int = 0
    values: dict[str, int] = {}
    ranges: dict[str, tuple[int, int]] = {}

    def after(self, position: OffsetRange, signals: Mapping[str, float]) -> "Stretch":
        """With one more record."""
        values = {name: self.values.get(name, 0) + (name in signals) for name in {**self.values, **signals}}
        place = place_of(position)
        return Stretch(self.n + 1, values, _joined(self.ranges, {place: (position.start, position.stop)}))


def place_of(position: OffsetRange) -> str:
    """Topic and partition, as one key."""
    return f"{position.topic}/{position.partition}"


def noted(stretches: Sequence[Stretch], position: OffsetRange, signals: Mapping[str, float]) -> tuple[Stretch, ...]:
    """Stretches with one more record; the oldest goes where there are too many."""
    *full, last = stretches or (Stretch(),)
    if last.n >= STRETCH:
        full, last = [*full, last], Stretch()
    return (*full, last.after(position, signals))[-N_STRETCHES:]


def since(stretches: Sequence[Stretch], signal: str, n: int) -> tuple[int, tuple[OffsetRange, ...]]:
    """Where the records of the last values of a signal stand.

    Parameters
    ----------
    stretches : sequence of Stretch
        Oldest first.
    signal : str
        Name of the signal.
    n : int
        How many of its values.

    Returns
    -------
    int
        Records of whole stretches that hold them, of any signal; where they reach further back than what is kept, about
        how many it were if they always came as often.
    tuple of OffsetRange
        One for each partition.
    """
    n_records = n_values = 0
    ranges: dict[str, tuple[int, int]] = {}
    for stretch in reversed(stretches):
        if n_values >= n:
            break
        n_values += stretch.values.get(signal, 0)
        n_records += stretch.n
        ranges = _joined(ranges, stretch.ranges)
    if 0 < n_values < n:
        n_records = n_records * n // n_values
    found = []
    for place, (start, stop) in sorted(ranges.items()):
        topic, _, partition = place.rpartition("/")
        found.append(OffsetRange(topic, int(partition), start, stop))
    return n_records, tuple(found)


def _joined(
    ranges: Mapping[str, tuple[int, int]], further: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    joined = dict(ranges)
    for place, (start, stop) in further.items():
        known = joined.get(place, (start, stop))
        joined[place] = min(start, known[0]), max(stop, known[1])
    return joined
