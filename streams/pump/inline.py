"""Agents of one event run in place: on record after record, without lanes, and without a task for each.

One task runs the agent on the records of a chunk in their order. Most end at once. The first that waits (for a model,
say) keeps the task, takes the lane of its key and goes on as if it had come through it; a new task runs the rest. So
the agent is always in a task in which it began, keys are handled in parallel up to ``max_in_flight``, and a task and a
timer are spent only on what waits. Whose lane is not free queues in it: nothing overtakes within a key.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from millrace.codec import Codec, ConsumedRecord
from millrace.errors import Unavailable
from millrace.event import Event
from millrace.invoke import Invoker
from millrace.stepping import Suspended
from streams.lanes import Item
from streams.ledger import Ledger
from streams.producer import Ack, Producer
from streams.pump.delivery import item_of
from streams.pump.flow import Flow
from streams.pump.handling import Handler
from streams.pump.settings import Counters


class _Leg(msgspec.Struct, eq=False):
    """What one task runs of a chunk of records, from `at` on; done is what ran once its sends are acknowledged.

    Attributes
    ----------
    acks
        With each, how many records had run when it was sent: its record's place in `ran`, unless that failed later.
    """

    tp: TopicPartition
    epoch: int
    records: Sequence[ConsumerRecord]
    at: int
    ran: list[ConsumerRecord] = []
    acks: list[tuple[int, Ack]] = []


class Inline:
    """Runs an agent on records at once; what waits or fails goes on in its lane.

    Parameters
    ----------
    read : callable
        Decodes a record.
    ports : Any
        What the agent's second parameter gets.
    queue : callable
        ``queue(tp, epoch, record)`` lets a record into its lane.
    """

    def __init__(
        self,
        invoker: Invoker,
        codec: Codec,
        producer: Producer,
        *,
        read: Callable[[ConsumedRecord], Event],
        ledger: Ledger,
        flow: Flow,
        handler: Handler,
        counters: Counters,
        ports: Any,
        queue: Callable[[TopicPartition, int, ConsumerRecord], None],
    ) -> None:
        self._invoker = invoker
        self._codec = codec
        self._producer = producer
        self._read = read
        self._ledger = ledger
        self._flow = flow
        self._handler = handler
        self._counters = counters
        self._ports = ports
        self._queue = queue
        self._legs: asyncio.Queue[_Leg] = asyncio.Queue()

    async def run(self, tp: TopicPartition, epoch: int, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Begin records in their order; gives back those from which on nothing may begin now."""
        at, loop = 0, asyncio.get_running_loop()
        with self._flow.working():
            while at < len(records) and self._flow.may_begin(tp, epoch):
                reached: asyncio.Future[int] = loop.create_future()
                self._flow.follow(loop.create_task(self._begin(_Leg(tp, epoch, records, at), reached)))
                at = await reached
        return records[at:]

    async def join(self) -> None:
        """Wait until everything that ran is settled."""
        await self._legs.join()

    async def settle(self) -> None:
        """Settle what ran, for ever."""
        while True:
            leg = await self._legs.get()
            try:
                await self._settle(leg)
            finally:
                self._legs.task_done()

    async def _begin(self, leg: "_Leg", reached: "asyncio.Future[int]") -> None:
        """Run records of a chunk; say how far that came, and stay with the one that waits or failed, if any."""
        kept, began_s = None, time.monotonic()
        with self._flow.working():
            try:
                kept = await self._advance(leg)
            finally:
                if leg.ran:
                    self._counters.seconds.add((time.monotonic() - began_s) / len(leg.ran), len(leg.ran))
                self._ran(leg)
                if not reached.done():
                    reached.set_result(leg.at)
            if kept is not None:
                await kept

    async def _advance(self, leg: "_Leg") -> Awaitable[None] | None:
        """Run records until one waits or fails; gives what is then to be awaited for it."""
        begin, ports, ran, acks = self._invoker.begin, self._ports, leg.ran, leg.acks
        task = asyncio.current_task()
        while leg.at < len(leg.records):
            record = leg.records[leg.at]
            leg.at += 1
            event = self._ready(leg, record)
            if event is None:
                continue
            began_s = time.monotonic()
            try:
                begun = begin(event, ports)
                if not isinstance(begun, Suspended):
                    for output in begun:
                        ack = await self._producer.send(self._codec.record(output.topic, output.event))
                        acks.append((len(ran), ack))
            except Exception as error:  # noqa: BLE001 - its class decides, in its lane
                return self._failed(item_of(leg.tp, leg.epoch, record, event, None), error)
            if isinstance(begun, Suspended):
                item = item_of(leg.tp, leg.epoch, record, event, None)
                self._flow.seize(item)
                return self._flow.finish([item], self._handler.resume(item, begun, began_s))
            if task is not None and task.cancelling():  # by the agent: the next one must not be hit by it
                raise asyncio.CancelledError
            ran.append(record)
        return None

    def _ready(self, leg: "_Leg", record: ConsumerRecord) -> Event | None:
        """Decode a record that may begin at once; any other goes into its lane."""
        try:
            event = self._read(record)
        except Unavailable:
            self._queue(leg.tp, leg.epoch, record)
            return None
        except Exception as error:  # noqa: BLE001 - bytes can break a decoder in any way
            self._flow.enter(item_of(leg.tp, leg.epoch, record, None, error))
            return None
        if self._flow.free(record.key):
            return event
        self._flow.enter(item_of(leg.tp, leg.epoch, record, event, None))
        return None

    def _failed(self, item: Item, error: Exception) -> Awaitable[None] | None:
        if self._flow.free(item.key):
            self._flow.seize(item)
            return self._flow.finish([item], self._handler.failed(item, error))
        self._flow.enter(item)  # a send had to wait, and others have begun meanwhile: it is run again in its turn
        return None

    def _ran(self, leg: "_Leg") -> None:
        self._counters.emitted += len(leg.acks)
        if leg.acks:
            self._legs.put_nowait(leg)
        else:
            self._ledger.done_many(leg.tp, [record.offset for record in leg.ran], leg.epoch)

    async def _settle(self, leg: _Leg) -> None:
        """Mark records that ran as done, once acknowledged; those that were not go through the lanes."""
        failed: set[int] = set()
        for i, ack in leg.acks:
            try:
                await ack
            except KafkaError:
                failed.add(i)
        done = [record.offset for i, record in enumerate(leg.ran) if i not in failed]
        self._ledger.done_many(leg.tp, done, leg.epoch)
        self._flow.changed.set()
        for i in sorted(failed):
            if i < len(leg.ran) and self._flow.open.get(leg.tp) == leg.epoch:
                self._queue(leg.tp, leg.epoch, leg.ran[i])
        if failed:
            self._flow.dispatch()
