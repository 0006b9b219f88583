"""Plain functions run on records in their order, without lanes: a partition's own order is stricter than a key's."""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from millrace.codec import Codec, ConsumedRecord
from millrace.errors import Unavailable
from millrace.event import Event
from millrace.invoke import Invoker
from streams.ledger import Ledger
from streams.producer import Ack, Producer
from streams.pump.delivery import item_of
from streams.pump.flow import Flow
from streams.pump.settings import Counters


class _Chunk(NamedTuple):
    """Records that ran: done once their sends are acknowledged."""

    tp: TopicPartition
    epoch: int
    records: Sequence[ConsumerRecord]
    acks: Sequence[tuple[int, Ack]]


class Inline:
    """Runs chunks of records at once; what fails goes through the lanes.

    Parameters
    ----------
    read : callable
        Decodes a record.
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
        counters: Counters,
        queue: Callable[[TopicPartition, int, ConsumerRecord], None],
    ) -> None:
        self._invoker = invoker
        self._codec = codec
        self._producer = producer
        self._read = read
        self._ledger = ledger
        self._flow = flow
        self._counters = counters
        self._queue = queue
        self._chunks: asyncio.Queue[_Chunk] = asyncio.Queue()

    async def run(self, tp: TopicPartition, epoch: int, records: Sequence[ConsumerRecord]) -> Sequence[ConsumerRecord]:
        """Run the agent on records in their order; gives back those from the first failure on."""
        read, call, send = self._read, self._invoker.call, self._producer.send
        ran: list[ConsumerRecord] = []
        acks: list[tuple[int, Ack]] = []
        rest: Sequence[ConsumerRecord] = ()
        for i, record in enumerate(records):
            try:
                event = read(record)
            except Unavailable:  # what follows must not overtake it
                rest = records[i:]
                break
            except Exception as error:  # noqa: BLE001 - bytes can break a decoder in any way
                self._flow.enter(item_of(tp, epoch, record, None, error))
                continue
            try:
                for output in call(event):
                    ack = await send(self._codec.record(output.topic, output.event))
                    acks.append((len(ran), ack))
            except Exception:  # noqa: BLE001 - tried again in its lane, where every class of error is dealt with
                rest = records[i:]
                break
            ran.append(record)
        self._counters.emitted += len(acks)
        if acks:
            self._chunks.put_nowait(_Chunk(tp, epoch, ran, acks))
        else:
            self._ledger.done_many(tp, [record.offset for record in ran], epoch)
        return rest

    async def join(self) -> None:
        """Wait until everything that ran is settled."""
        await self._chunks.join()

    async def settle(self) -> None:
        """Settle chunks, for ever."""
        while True:
            chunk = await self._chunks.get()
            try:
                await self._settle(chunk)
            finally:
                self._chunks.task_done()

    async def _settle(self, chunk: _Chunk) -> None:
        """Mark the records of a chunk as done, once acknowledged; those that were not go through the lanes."""
        failed: set[int] = set()
        for i, ack in chunk.acks:
            try:
                await ack
            except KafkaError:
                failed.add(i)
        done = [record.offset for i, record in enumerate(chunk.records) if i not in failed]
        self._ledger.done_many(chunk.tp, done, chunk.epoch)
        self._flow.changed.set()
        for i in sorted(failed):
            if i < len(chunk.records) and self._flow.open.get(chunk.tp) == chunk.epoch:
                self._queue(chunk.tp, chunk.epoch, chunk.records[i])
        if failed:
            self._flow.dispatch()
