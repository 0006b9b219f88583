"""Which records of a partition are done, and how far the partition may be committed.

Records finish in any order; an offset is committed only when every record below it is done (the *completed prefix*).
Whatever lies beyond it is read again after a crash: at least once, never zero times.

Per partition, begun records move from right to left::

    committed              prefix
        | completed: done    | order: begun, in reading order; an offset still in `pending` is not done

`done` only takes an offset out of `pending`; the prefix moves when somebody asks for it. So a record costs a few set
and deque operations in all, and offsets that do not exist (compaction, transaction markers) cost nothing.
"""

import re
from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice
from operator import ge
from typing import NamedTuple, TypeAlias

TopicPartition: TypeAlias = tuple[str, int]

_METADATA = re.compile(r"v1;starts=(\d{1,9});head=(\d{1,19})", re.ASCII)


def format_metadata(starts: int, head: int) -> str:
    """Write the commit metadata that counts how often the head record was started.

    Parameters
    ----------
    starts
        Processes that started the head record without finishing it.
    head
        The committed offset: the first record that is not done.
    """
    return f"v1;starts={starts};head={head}"


def parse_starts(metadata: str, head: int) -> int:
    """Read how many processes started the record at `head` without finishing it.

    Metadata of another head, another program or an unknown version counts as 0: nothing is known against the head.
    """
    match = _METADATA.fullmatch(metadata)
    return int(match[1]) if match and int(match[2]) == head else 0


class Closed(NamedTuple):
    """What a revoked partition leaves behind.

    Attributes
    ----------
    offset
        The offset to commit a last time; None if the partition was not assigned.
    metadata
        Its commit metadata. This process's own start of the head is not counted: it hands the record back alive.
    unfinished
        Begun records that are not done; the next owner reads them again.
    """

    offset: int | None
    metadata: str
    unfinished: int


class _Partition:
    __slots__ = ("committed", "completed", "epoch", "next", "order", "pending", "starts")

    def __init__(self, epoch: int, position: int, starts: int) -> None:
        self.epoch = epoch
        self.committed = position  # the broker has this offset, as far as we know
        self.next = position  # the reader comes back with this offset or a higher one
        self.starts = starts  # earlier processes that started the head; 0 once a record is completed
        self.completed: deque[int] = deque()
        self.order: deque[int] = deque()
        self.pending: set[int] = set()

    def prefix(self) -> int:
        order, pending = self.order, self.pending
        if order and order[0] not in pending:
            self.starts = 0
            completed, committed = self.completed, self.committed
            while order and order[0] not in pending:
                offset = order.popleft()
                if offset >= committed:
                    completed.append(offset)
        return order[0] if order else self.next

    def outstanding(self) -> int:
        return len(self.completed) + len(self.order)


class Ledger:
    """Bookkeeping of begun, done and committed records, per partition. No I/O, no clock.

    An assignment has an *epoch*. Whoever works on a record carries the epoch it was read in; a `done` from an earlier
    assignment, or for a partition that is no longer ours, changes nothing and is counted in `stale`.

    Parameters
    ----------
    max_uncommitted
        Records beyond the committed offset at which a partition has no more `room`.

    Attributes
    ----------
    stale : int
        How many `done` records came from an earlier assignment.

    Raises
    ------
    ValueError
        If `max_uncommitted` is below 1.
    """

    def __init__(self, max_uncommitted: int = 1000) -> None:
        if max_uncommitted < 1:
            msg = f"max_uncommitted is {max_uncommitted}, allowed is 1 or more: with less no record could ever be read"
            raise ValueError(msg)
        self.max_uncommitted = max_uncommitted
        self.stale = 0
        self._epochs = 0
        self._partitions: dict[TopicPartition, _Partition] = {}

    def assign(self, tp: TopicPartition, position: int, metadata: str = "") -> int:
        """Start to keep a partition's books, forgetting an earlier assignment of it.

        Parameters
        ----------
        tp
            Topic and partition.
        position
            Offset the reader starts at: the committed one.
        metadata
            The metadata committed with `position`.

        Returns
        -------
        int
            The epoch of this assignment, never given twice.
        """
        self._epochs += 1
        self._partitions[tp] = _Partition(self._epochs, position, parse_starts(metadata, position))
        return self._epochs

    def revoke(self, tp: TopicPartition) -> Closed:
        """Close a partition's books and say what to commit for it a last time."""
        part = self._partitions.pop(tp, None)
        if part is None:
            return Closed(None, "", 0)
        offset = max(part.prefix(), part.committed)
        return Closed(offset, format_metadata(part.starts, offset), len(part.pending))

    def epoch(self, tp: TopicPartition) -> int | None:
        """Epoch of the current assignment; None if the partition is not ours (drop what was read from it)."""
        part = self._partitions.get(tp)
        return None if part is None else part.epoch

    def begin(self, tp: TopicPartition, offset: int) -> None:
        """Enter a record that was read. See `begin_many`."""
        part = self._assigned(tp)
        if offset < part.next:
            raise ValueError(_disorder(tp, offset, part.next))
        part.next = offset + 1
        part.order.append(offset)
        part.pending.add(offset)

    def begin_many(self, tp: TopicPartition, offsets: Sequence[int]) -> None:
        """Enter records that were read, in the order of their offsets; gaps are allowed.

        Raises
        ------
        ValueError
            If the partition is not assigned, or an offset is not above all those begun before it.
        """
        part = self._assigned(tp)
        if not offsets:
            return
        if offsets[0] < part.next or any(map(ge, offsets, islice(offsets, 1, None))):
            raise ValueError(_disorder(tp, min(offsets), part.next))
        part.next = offsets[-1] + 1
        part.order.extend(offsets)
        part.pending.update(offsets)

    def done(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        """Mark a record as done: all its outputs are acknowledged. A second time changes nothing."""
        part = self._partitions.get(tp)
        if part is None or part.epoch != epoch:
            self.stale += 1
            return
        part.pending.discard(offset)

    def done_many(self, tp: TopicPartition, offsets: Collection[int], epoch: int) -> None:
        """Mark several records of one assignment as done."""
        part = self._partitions.get(tp)
        if part is None or part.epoch != epoch:
            self.stale += len(offsets)
            return
        part.pending.difference_update(offsets)

    def advance(self, tp: TopicPartition, position: int) -> None:
        """Note that the reader stands at `position` and that nothing is left to read below it.

        Needed where a log ends in offsets without records (transaction markers): else its lag would never reach 0.

        Raises
        ------
        ValueError
            If the partition is not assigned.
        """
        part = self._assigned(tp)
        part.next = max(part.next, position)

    def prefix(self, tp: TopicPartition) -> int | None:
        """Next offset to commit: every record below it is done. None if the partition is not assigned."""
        part = self._partitions.get(tp)
        return None if part is None else part.prefix()

    def committable(self) -> dict[TopicPartition, int]:
        """Prefixes that moved since they were last committed with success."""
        moved: dict[TopicPartition, int] = {}
        for tp, part in self._partitions.items():
            prefix = part.prefix()
            if prefix > part.committed:
                moved[tp] = prefix
        return moved

    def committed(self, tp: TopicPartition, offset: int) -> None:
        """Note that the broker has confirmed a commit. Never call it for a commit that failed."""
        part = self._partitions.get(tp)
        if part is None or offset <= part.committed:
            return
        part.committed = offset  # above the prefix if it was a commit of an earlier assignment that was under way
        completed = part.completed
        while completed and completed[0] < offset:
            completed.popleft()

    def outstanding(self, tp: TopicPartition) -> int:
        """Count the records read beyond the committed offset; 0 if the partition is not assigned."""
        part = self._partitions.get(tp)
        return 0 if part is None else part.outstanding()

    def room(self, tp: TopicPartition) -> int:
        """How many more records may be begun, so that at most `max_uncommitted` are outstanding."""
        return max(0, self.max_uncommitted - self.outstanding(tp))

    def oldest(self, tp: TopicPartition) -> int | None:
        """First begun record that is not done; None if there is none."""
        part = self._partitions.get(tp)
        if part is None or not part.pending:
            return None
        return part.prefix()

    def starts(self, tp: TopicPartition) -> int:
        """How many earlier processes started the head record without finishing it. 0 once a record is completed."""
        part = self._partitions.get(tp)
        if part is None:
            return 0
        part.prefix()
        return part.starts

    def metadata(self, tp: TopicPartition, *, own: bool = True) -> str:
        """Metadata to commit with the prefix; with `own` it counts this process's start of the head, if it was begun.

        Committed once before the first record of an assignment is worked on, it makes a record that kills its process
        visible to the next owner.

        Raises
        ------
        ValueError
            If the partition is not assigned.
        """
        part = self._assigned(tp)
        head = part.prefix()
        return format_metadata(part.starts + bool(own and part.order), head)

    def _assigned(self, tp: TopicPartition) -> _Partition:
        part = self._partitions.get(tp)
        if part is None:
            msg = (
                f"partition {tp[0]}[{tp[1]}] is not assigned, assigned are {sorted(self._partitions)}; "
                "drop records that were read before a revocation (epoch() is None then)"
            )
            raise ValueError(msg)
        return part


def _disorder(tp: TopicPartition, offset: int, expected: int) -> str:
    return (
        f"offset {offset} of {tp[0]}[{tp[1]}] was read after offset {expected - 1}, but a partition is read in rising "
        "order; assign the partition anew to read it again"
    )
