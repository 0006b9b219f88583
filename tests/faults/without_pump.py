"""Defences of the pump and of tables, each taken out of this process by a function; see `tests.faults.without`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from aiokafka import ConsumerRecord
from aiokafka import TopicPartition as ClientPartition

from agents.learn import drift, positions
from agents.learn.positions import Counted
from infra.redaction import Redaction
from millrace.codec import ConsumedRecord
from millrace.event import Event
from streams.lanes import Item
from streams.ledger import Closed, Ledger, TopicPartition
from streams.pump import delivery, handling, inline, pump, tenure
from streams.table_entries import Entry

LETTERS_HELD = "letters-held.txt"
LETTERS_MAY_GO = "letters-may-go.txt"


class HighestDone(Ledger):
    """Commits the highest offset that is done, as if everything below were done too."""

    def __init__(self, max_uncommitted: int = 1000) -> None:
        super().__init__(max_uncommitted)
        self._highest: dict[TopicPartition, int] = {}

    def done(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        """Note the offset as the highest one."""
        super().done(tp, offset, epoch)
        self._highest[tp] = max(offset, self._highest.get(tp, -1))

    def done_many(self, tp: TopicPartition, offsets: Collection[int], epoch: int) -> None:
        """Note each offset."""
        for offset in offsets:
            self.done(tp, offset, epoch)

    def committable(self) -> dict[TopicPartition, int]:
        """The highest done offsets."""
        return {tp: highest + 1 for tp, highest in self._highest.items() if self.epoch(tp) is not None}


class Unbounded(Ledger):
    """Has room for any number of records behind one that is not done."""

    def outstanding(self, tp: TopicPartition) -> int:
        """Say that none is."""
        return 0


class ReadIsDone(Ledger):
    """Hands a partition over as if all that was read had been done."""

    def revoke(self, tp: TopicPartition) -> Closed:
        """Close the books behind the last record read."""
        part = self._partitions.get(tp)
        final = super().revoke(tp)
        return final if part is None else Closed(part.next, final.metadata, final.unfinished)


class ReadIsCommitted(ReadIsDone):
    """Commits what was read, whether or not it was done."""

    def committable(self) -> dict[TopicPartition, int]:
        """The next offset to read."""
        return {tp: part.next for tp, part in self._partitions.items()}


def without_prefix() -> None:
    """Commit without regard for gaps."""
    vars(pump)["Ledger"] = HighestDone


def without_bound() -> None:
    """Read on however much lies beyond the committed offset."""
    vars(pump)["Ledger"] = Unbounded


def without_drain() -> None:
    """Hand partitions over as if all that was read were done."""
    vars(pump)["Ledger"] = ReadIsDone


def without_waiting() -> None:
    """Commit what was only read."""
    vars(pump)["Ledger"] = ReadIsCommitted


def without_last_commit() -> None:
    """Leave without committing."""

    async def end(self: tenure.Tenure, partitions: Iterable[ClientPartition]) -> None:
        for tp in partitions:
            self._ledger.revoke(tp)

    type.__setattr__(tenure.Tenure, "end", end)


def without_ownership() -> None:
    """Write without asking whether the partition is still ours."""

    async def guard(self: tenure.Tenure, item: object) -> None:
        """Ask nobody."""

    type.__setattr__(tenure.Tenure, "guard", guard)
    vars(delivery)["Lost"] = type("NeverLost", (Exception,), {})


def without_dead_letters() -> None:
    """Drop what cannot be processed."""

    async def give_up(self: handling.Handler, item: object) -> handling.Verdict:
        return handling.Verdict("done")

    type.__setattr__(handling.Handler, "_give_up", give_up)


def without_classes() -> None:
    """Take every failure for a mistake."""
    vars(handling)["classify"] = lambda error: "unknown"


def without_lanes() -> None:
    """Handle the records of a partition one after another."""

    def item_of(
        tp: ClientPartition, epoch: int, record: ConsumedRecord, event: Event | None, verdict: BaseException | None
    ) -> Item:
        item = delivery.item_of(tp, epoch, record, event, verdict)
        item.key = f"{tp.topic}/{tp.partition}".encode()
        return item

    def ready(self: inline.Inline, leg: inline._Leg, record: ConsumerRecord) -> None:
        """Begin nothing in place."""
        self._queue(leg.tp, leg.epoch, record)

    for module in (pump, inline):
        vars(module)["item_of"] = item_of
    type.__setattr__(inline.Inline, "_ready", ready)


def without_yielding() -> None:
    """Hold the event loop while a job takes its time."""
    from tests.faults import jobs  # noqa: PLC0415 - its events are no other handler's

    class Holding:
        @staticmethod
        async def sleep(seconds: float) -> None:
            time.sleep(seconds)  # noqa: ASYNC251 - the point

    vars(jobs)["asyncio"] = Holding


def holding_letters() -> None:
    """Take out nothing; note each dead letter in the home folder, and write none before a file there says so."""
    home = Path(os.environ["MILLRACE_HOME"])
    give_up = handling.Handler._give_up

    async def held(self: handling.Handler, item: Item) -> handling.Verdict:
        with (home / LETTERS_HELD).open("a") as file:
            file.write(".")
        while not (home / LETTERS_MAY_GO).exists():  # noqa: ASYNC110 - another process ends it
            await asyncio.sleep(0.02)
        return await give_up(self, item)

    type.__setattr__(handling.Handler, "_give_up", held)


def without_forgetting() -> None:
    """Keep every record that was given up."""
    kept: list[object] = []
    give_up = handling.Handler._give_up

    async def keeping(self: handling.Handler, item: Item) -> handling.Verdict:
        kept.append(item.payload.record)
        return await give_up(self, item)

    type.__setattr__(handling.Handler, "_give_up", keeping)


def without_applied() -> None:
    """Take every event for one that no table has applied, and whose signals were never counted."""

    def knows(self: Entry | Counted, event: Event | int) -> bool:
        return False

    def remembered(digests: bytes, event_id: str) -> bytes | None:
        return positions.remembered(b"", event_id)

    type.__setattr__(Entry, "knows", knows)
    type.__setattr__(Counted, "knows", knows)
    vars(drift)["remembered"] = remembered


def without_redaction() -> None:
    """Write and publish secrets as they come."""

    def as_it_is(self: Redaction, text: str) -> str:
        return text

    type.__setattr__(Redaction, "__call__", as_it_is)
