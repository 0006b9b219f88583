"""The lanes at work: batches start when they are due, and every item ends as done, put back or dropped."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.lanes import Item, Lanes
from streams.ledger import Ledger
from streams.pump.company import Company, NotAlone
from streams.pump.delivery import Lost
from streams.pump.handling import Handler, Verdict
from streams.pump.settings import Counters
from streams.pump.tenure import Tenure

_AGAIN_S = 0.5


class Flow:
    """Items of open partitions on their way through the lanes.

    Parameters
    ----------
    fail : callable
        ``fail(error)`` ends the pump: going on would skip records.

    Attributes
    ----------
    open : dict
        Partitions whose records may be handled, with the epoch of their assignment.
    changed : asyncio.Event
        Set whenever room may have come free.
    held_until_s : float
        Monotonic time before which nothing starts, because a dependency is down.
    stopped : bool
        Whether an error ended the pump; nothing starts any more.
    free : callable
        See `Lanes.free`.
    """

    def __init__(
        self,
        lanes: Lanes,
        ledger: Ledger,
        handler: Handler,
        counters: Counters,
        fail: Callable[[BaseException], None],
        *,
        tenure: Tenure,
        company: Company,
    ) -> None:
        self.open: dict[TopicPartition, int] = {}
        self.changed = asyncio.Event()
        self.held_until_s = 0.0
        self.stopped = False
        self._tenure = tenure
        self._company = company
        company.on_free(self.dispatch)
        self._lanes = lanes
        self.free = lanes.free
        self._ledger = ledger
        self._handler = handler
        self._counters = counters
        self._fail = fail
        self._batches: set[asyncio.Task[None]] = set()
        self._bytes: dict[TopicPartition, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Items being handled."""
        return self._lanes.in_flight

    @property
    def n_bytes(self) -> int:
        """Bytes of the records in the lanes."""
        return sum(self._bytes.values())

    @property
    def held(self) -> bool:
        """Whether an outage keeps everything back."""
        return time.monotonic() < self.held_until_s

    def may_begin(self, tp: TopicPartition, epoch: int) -> bool:
        """Whether records of an assignment may be handled now; if so, `free` tells for each whether its lane is."""
        return self.open.get(tp) == epoch and not (self.stopped or self.held or self._company.taken)

    def working(self) -> AbstractContextManager[None]:
        """See `Company.working`."""
        return self._company.working()

    def start(self, tp: TopicPartition, epoch: int) -> None:
        """Open a partition."""
        self._bytes[tp] = 0
        self.open[tp] = epoch
        self.changed.set()

    def close(self, tp: TopicPartition) -> None:
        """Let nothing of a partition start any more; what is in flight goes on."""
        self.open.pop(tp, None)
        self._bytes.pop(tp, None)

    async def drain(self) -> None:
        """Wait until nothing is in flight."""
        while self._batches:
            await asyncio.wait(self._batches)

    async def cancel(self) -> None:
        """Cancel what is in flight; none of it is acknowledged."""
        for batch in self._batches:
            batch.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)

    def enter(self, item: Item) -> None:
        """Put an item at the end of its lane, if its partition is still open."""
        if self.open.get(item.tp) != item.epoch:
            return
        item.arrived = time.monotonic()
        self._bytes[item.tp] += item.size
        if item.payload.suspect:
            self._lanes.alone(item)
        batch, event = self._lanes.batch, item.payload.event
        if event is not None:
            item.apart = batch.apart is not None and batch.apart(event)
            item.kind = None if batch.kind is None else batch.kind(event)
        self._lanes.offer(item)

    def dispatch(self) -> None:
        """Start every batch that is due, and come back when the next one is."""
        if not self.open or self.stopped or self._company.taken:
            return
        now = time.monotonic()
        if now < self.held_until_s:
            self._come_back(self.held_until_s)
            return
        while (items := self._lanes.take(now)) is not None:
            self._counters.batch(len(items))
            self.follow(asyncio.create_task(self._work(items)))
        due = self._lanes.next_due(now)
        if due is not None:
            self._come_back(due)

    def follow(self, task: asyncio.Task[None]) -> None:
        """Have `drain` wait for a task, and `cancel` cancel it."""
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    def seize(self, item: Item) -> None:
        """Put an item in flight that was begun without a turn in its lane; `finish` it."""
        if item.tp in self._bytes:
            self._bytes[item.tp] += item.size
        self._lanes.seize(item)

    async def finish(self, items: Sequence[Item], handling: Awaitable[Sequence[Verdict]]) -> None:
        """Wait for the verdicts of items in flight and do what they say."""
        verdicts: Sequence[Verdict] = [Verdict("lost")] * len(items)  # what a cancelled batch leaves
        began_s = time.monotonic()
        try:
            verdicts = await handling
        except Exception as error:  # noqa: BLE001 - fatal, or a fault of ours: either way nothing may go on
            self.stopped = True
            self._fail(error)
        finally:
            self._counters.seconds.add(time.monotonic() - began_s, len(items))
            for item, verdict in zip(items, verdicts, strict=True):
                self._land(item, verdict)
            self.changed.set()
            self.dispatch()

    def drop(self, tp: TopicPartition) -> None:
        """Forget what waits in the lanes of a closed partition."""
        self._lanes.drop(tp)

    def _come_back(self, when_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when_s, self.dispatch)

    async def _work(self, items: list[Item]) -> None:
        await self.finish(items, self._handled(items))

    async def _handled(self, items: Sequence[Item]) -> Sequence[Verdict]:
        if items[0].payload.suspect:
            return [await self._alone(items[0])]
        with self._company.working():
            return await self._handler.handle(items)

    async def _alone(self, item: Item) -> Verdict:
        """Handle a suspect while nothing else runs in this process, its start counted: a death then convicts it."""
        try:
            async with self._company.alone(), self._tenure.accused(item.tp, item.epoch):
                [verdict] = await self._handler.handle([item])
                return verdict
        except Lost:
            return Verdict("lost")
        except (NotAlone, KafkaError):
            return Verdict("retry", _AGAIN_S)

    def _land(self, item: Item, verdict: Verdict) -> None:
        if verdict.action == "retry":
            at = time.monotonic() + verdict.delay_s
            self._lanes.retry(item, at)
            if verdict.outage:
                self.held_until_s = max(self.held_until_s, at)
            return
        if verdict.action == "done":
            self._ledger.done(item.tp, item.offset, item.epoch)
        self._lanes.finish(item)
        if self.open.get(item.tp) == item.epoch:
            self._bytes[item.tp] -= item.size
