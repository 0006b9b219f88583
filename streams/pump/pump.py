"""One agent on its topics: read, run, publish, commit. At least once, in order per key.

A record goes through these hands::

    fetch -> ledger.begin -> decode -> [park] -> lanes -> agent -> outputs sent -> acknowledged -> ledger.done -> commit

Only the last step forgets a record, and it comes after the broker has every output. Whatever ends earlier (a crash, a
cancelled task, a lost partition) leaves the record to be read again. Where its lane is free, an agent of one event runs
in place, and its record needs a lane only if the agent waits or fails: see `streams.pump.inline`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError
from mode import Service

from millrace.agent import AgentSpec, Batch
from millrace.codec import Codec
from millrace.errors import MillraceError, Unavailable
from millrace.telemetry import Tracer
from millrace.telemetry.invoking import invoker_of
from streams.lanes import Item, Lanes
from streams.ledger import Ledger
from streams.producer import Producer
from streams.pump import positions
from streams.pump.company import Company, NotAlone
from streams.pump.delivery import KilledProcess, Lost, Note, item_of, reader
from streams.pump.flow import Flow
from streams.pump.handling import Handler
from streams.pump.inline import Inline
from streams.pump.listener import Listener
from streams.pump.membership import join
from streams.pump.parking import Parking
from streams.pump.settings import Counters, PumpSettings
from streams.pump.tenure import SUSPECT, Tenure

log = logging.getLogger(__name__)

Prepare = Callable[[Collection[TopicPartition]], Awaitable[None]]
_POLL_MS = 100
_SHORT_POLL_MS = 10  # while a partition is full: until its buffered records are taken the client fetches no others


class Pump(Service):
    """Runs one agent on a broker until it is stopped; `parking` holds inputs that wait beside the lanes.

    Parameters
    ----------
    spec : AgentSpec
        A single, batch or fused agent.
    codec : Codec
        Knows the events of the agent's topics.
    producer : Producer
        Started; shared with other pumps.
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    settings : PumpSettings
        How to consume, retry and commit.
    ports : Any
        What the agent's second parameter gets.
    prepare : callable, optional
        Awaited with the assigned partitions before any of their records is handled.
    clock : callable
        Seconds, monotonic: tells how long this process has not run.
    company : Company, optional
        Shared by the pumps of a process, so that a suspect runs alone in it.
    note : callable
        ``note(event)`` is told of every event that is acknowledged, before the terminal frame of its input is sent.
    tracer : Tracer, optional
        Makes spans of what it handles.
    """

    def __init__(  # noqa: PLR0913 - keywords, most with a default
        self,
        spec: AgentSpec,
        *,
        codec: Codec,
        producer: Producer,
        connection: Mapping[str, Any],
        settings: PumpSettings | None = None,
        ports: Any = None,
        prepare: Prepare | None = None,
        clock: Callable[[], float] = time.monotonic,
        company: Company | None = None,
        note: Note = lambda _: None,
        tracer: Tracer | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.counters = Counters()
        self.ready = asyncio.Event()
        self._settings = settings = settings or PumpSettings()
        self._connection = connection
        self._producer = producer
        self._ports = ports
        self._prepare = prepare
        self._read = read = reader(codec, spec.sources)
        self._invoker = invoker_of(spec, tracer)
        self._ledger = Ledger(settings.max_uncommitted)
        self._tenure = Tenure(settings.group_prefix + spec.name, self._ledger, settings, self.counters, clock)
        handler = Handler(
            self._invoker, codec, producer, tenure=self._tenure, settings=settings, counters=self.counters,
            ports=ports, read=read, note=note, tracer=tracer,
        )  # fmt: skip
        batch = spec.batch or Batch()
        lanes = Lanes(max(settings.max_in_flight, 2 * batch.max_items), batch)
        self._company = company or Company()
        self._flow = Flow(
            lanes, self._ledger, handler, self.counters, self._fail, tenure=self._tenure, company=self._company
        )
        self._inline = Inline(
            self._invoker, codec, producer, read=read, ledger=self._ledger, flow=self._flow, handler=handler,
            counters=self.counters, ports=ports, queue=self._queue,
        )  # fmt: skip
        self.parking = Parking(settings.max_parked, self._unpark)
        self._unrecorded: set[TopicPartition] = set()  # no start of a head recorded yet in this assignment
        self._cautious: dict[TopicPartition, int] = {}  # records still to be handled one at a time
        self._commit_due = asyncio.Event()
        self._intake = asyncio.Lock()
        self._opening: asyncio.Task[None] | None = None
        self._leaving = False

    # --- life -----------------------------------------------------------------------------------------------------

    async def on_stop(self) -> None:
        """Let what is in flight end, commit, leave the group."""
        await self._leave()

    @Service.task
    async def _fetch(self) -> None:
        tries = 0
        while not self.should_stop:
            self._leaving = False
            try:
                topics = [topic.name for topic in self.spec.sources]
                self._tenure.consumer = await join(
                    self._connection, self._tenure.group, topics, settings=self._settings, listener=Listener(self)
                )
                tries = 0
                await (self._leave() if self._leaving else self._consume())  # told to end while it joined
            except KafkaError as error:
                tries += 1
                log.warning("pump %s lost its group and joins again: %r", self.spec.name, error)
                await self._leave()
                await asyncio.sleep(min(self._settings.retry_initial_ms * 2**tries, self._settings.retry_max_ms) / 1000)
            except MillraceError as error:
                self._fail(error)
                return

    async def _leave(self) -> None:
        consumer, self._leaving = self._tenure.consumer, True
        self.ready.clear()
        if consumer is not None:
            await self.release(list(self._flow.open))
            await consumer.stop()
            self._tenure.consumer = None

    async def _consume(self) -> None:
        consumer = self._tenure.client
        while not self.should_stop:
            self._tenure.beat()
            epochs = dict(self._flow.open)
            rooms = {tp: room for tp in epochs if (room := self._room(tp))}
            if not rooms:
                await self._wait_for_change()
                continue
            for tp, records in (await self._poll(consumer, rooms)).items():
                await self._take_in(tp, epochs[tp], records)
            self._flow.dispatch()
            await asyncio.sleep(0)  # buffered records come without waiting, and others must run as well

    @Service.task
    async def _acknowledge(self) -> None:
        await self._inline.settle()  # to the last chunk, while the pump drains; then it is cancelled

    @Service.task
    async def _commit(self) -> None:
        while not self.should_stop:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.commit_interval_ms / 1000):
                    await self._commit_due.wait()
            self._commit_due.clear()
            await self._tenure.commit()
            self._flow.changed.set()

    def _fail(self, error: BaseException) -> None:
        """Stop loudly: going on would skip records."""
        log.error("pump %s stops: %s", self.spec.name, error)
        _ = self.add_future(self.crash(error))

    # --- health ---------------------------------------------------------------------------------------------------

    @property
    def lag(self) -> int:
        """Records between the committed offsets and the ends of the log."""
        return self._tenure.lag()

    @property
    def in_flight(self) -> int:
        """Inputs being handled, in lanes."""
        return self._flow.in_flight

    def alive(self, within_s: float = 60.0) -> bool:
        """Whether nothing is left to read, the committed prefix moved lately, or a dependency is known to be down."""
        if self.crashed:
            return False
        now = time.monotonic()
        return now - self._tenure.moved_s < within_s or now < self._flow.held_until_s + within_s or not self.lag

    # --- partitions come and go -----------------------------------------------------------------------------------

    def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions over, in the background: what fails here must end the pump, not a callback."""
        if not self._leaving:  # before it closes, a client ends the join that was under way
            self._opening = asyncio.create_task(self._open(partitions))

    async def _open(self, partitions: Collection[TopicPartition]) -> None:
        try:
            epochs = await self._tenure.begin(partitions)
            if self._prepare is not None:
                await self._prepare(partitions)
        except Exception as error:  # noqa: BLE001 - whatever it is, records must not flow
            self._fail(error)
            return
        for tp, epoch in epochs.items():
            self._unrecorded.add(tp)
            if self._ledger.starts(tp) >= SUSPECT:
                self._cautious[tp] = self._settings.max_uncommitted
            self._reread(tp)  # a poll that outlived the rebalance may have read on while the books were not open
            self._flow.start(tp, epoch)
        self.ready.set()

    async def release(self, partitions: Collection[TopicPartition]) -> None:
        """Give partitions up: no new input, what is in flight may end within a bound, the prefix is committed."""
        if self._opening is not None:
            self._opening.cancel()
        self._tenure.close(partitions)
        for tp in partitions:
            self._flow.close(tp)
            self.parking.drop(tp)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_ms / 1000):
                async with self._intake:  # an inline chunk that is under way
                    pass
                await self._inline.join()
                await self._flow.drain()
        await self._flow.cancel()
        await self._tenure.end(partitions)
        for tp in partitions:
            self._flow.drop(tp)
            self._cautious.pop(tp, None)
            self._unrecorded.discard(tp)

    # --- intake ---------------------------------------------------------------------------------------------------

    def _room(self, tp: TopicPartition) -> int:
        """How many more records of a partition may be begun."""
        if self._flow.held or self._flow.stopped or self._flow.n_bytes >= self._settings.max_buffered_bytes:
            return 0
        room = self._ledger.room(tp)
        if room * 2 <= self._settings.max_uncommitted:
            self._commit_due.set()
        if tp in self._cautious:
            return min(room, 1) if self._ledger.oldest(tp) is None else 0
        return room

    async def _wait_for_change(self) -> None:
        self._flow.changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL_MS / 1000):
                await self._flow.changed.wait()

    async def _poll(
        self, consumer: AIOKafkaConsumer, rooms: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Take records from the client, of each partition at most what it has room for."""
        most = self._settings.max_poll_records
        poll_ms = _POLL_MS if len(rooms) == len(self._flow.open) else _SHORT_POLL_MS
        found: dict[TopicPartition, Sequence[ConsumerRecord]] = {}
        try:
            for tp in [tp for tp, room in rooms.items() if room < most]:
                found.update(await consumer.getmany(tp, timeout_ms=0, max_records=rooms[tp]))
            if not found:
                least = min(most, *rooms.values())
                found.update(await consumer.getmany(*rooms, timeout_ms=poll_ms, max_records=least))
            elif roomy := [tp for tp, room in rooms.items() if room >= most]:
                found.update(await consumer.getmany(*roomy, timeout_ms=0, max_records=most))
        except NoOffsetForPartitionError:
            pass  # said before the start position was set
        except OffsetOutOfRangeError as error:
            tp, offset = next(iter(error.args[0].items()))
            raise positions.truncated(self._tenure.group, tp, offset, "the broker has no such offset") from error
        if not found:
            for tp in rooms:
                if tp in self._flow.open:  # offsets without records, such as transaction markers, are read as well
                    self._ledger.advance(tp, await consumer.position(tp))
        return found

    def _reread(self, tp: TopicPartition) -> None:
        """Put the reader where the books stand; nothing is begun."""
        at = self._ledger.prefix(tp)
        if at is not None and tp in self._tenure.client.assignment():
            self._tenure.client.seek(tp, at)

    async def _take_in(self, tp: TopicPartition, epoch: int, records: Sequence[ConsumerRecord]) -> None:
        while self._flow.open.get(tp) == epoch and not self._flow.stopped:
            await self._company.free(_POLL_MS / 1000)
            self._tenure.beat()
            async with self._intake:
                if self._company.taken:
                    continue
                if self._flow.open.get(tp) == epoch:
                    await self._begin(tp, epoch, records)
                    return
        if tp in self._flow.open:
            self._reread(tp)  # of an earlier assignment, or read in between: the new one begins where its books say

    async def _begin(self, tp: TopicPartition, epoch: int, records: Sequence[ConsumerRecord]) -> None:
        self.counters.consumed += len(records)
        self._ledger.begin_many(tp, [record.offset for record in records])
        if tp in self._unrecorded or tp in self._cautious:
            # Before its start is on record no head begins: it could kill process after process, and none would know.
            if not await self._tenure.record_start(tp, epoch):
                return
            self._unrecorded.discard(tp)
        if tp in self._cautious:
            [record] = records
            await self._begin_carefully(tp, epoch, record)
            return
        if self._invoker.inline:
            records = await self._inline.run(tp, epoch, records)
        for record in records:
            self._queue(tp, epoch, record)

    async def _begin_carefully(self, tp: TopicPartition, epoch: int, record: ConsumerRecord) -> None:
        """Let one record in that may kill the process; a suspect is decoded while nothing else runs."""
        self._cautious[tp] -= 1
        if not self._cautious[tp]:
            del self._cautious[tp]
        starts = self._ledger.starts(tp)
        if starts < SUSPECT:
            self._queue(tp, epoch, record)
            return
        verdict = None
        if starts > SUSPECT:
            verdict = KilledProcess(
                f"{starts} processes ended while they handled the record, the last with nothing else at work; mend the "
                "agent or the record, then replay its dead letter"
            )
        while self._flow.open.get(tp) == epoch:
            try:
                async with self._company.alone(), self._tenure.accused(tp, epoch):
                    self._queue(tp, epoch, record, verdict, suspect=True, readable=starts <= SUSPECT + 1)
                    return
            except (NotAlone, Lost):
                log.warning("pump %s: %s[%d] offset %d waits to run alone", self.spec.name, *tp, record.offset)

    def _queue(
        self,
        tp: TopicPartition,
        epoch: int,
        record: ConsumerRecord,
        verdict: BaseException | None = None,
        *,
        suspect: bool = False,
        readable: bool = True,
    ) -> None:
        """Decode a record, unless that kills, and let it into its lane, or park it."""
        event, parked = None, None
        try:
            if not readable:
                raise verdict or ValueError("a record is left undecoded only with a verdict")
            event = self._read(record)
            parked = self.spec.park(event, self._ports) if self.spec.park and verdict is None else None
        except Exception as error:  # noqa: BLE001 - bytes can break a decoder in any way
            # Whoever knows the schema is asked from its lane, away from the event loop: that nobody answers says
            # nothing about the record, which is held there until it can be read.
            parked, verdict = None, verdict if event is None and isinstance(error, Unavailable) else error
        item = item_of(tp, epoch, record, event, verdict)
        item.payload.suspect = suspect
        if parked is None or event is None:
            self._flow.enter(item)
        else:
            budget_s = self._invoker.budget_s(event)
            left_s = self.spec.timeout_s if budget_s is None else max(budget_s, 0.0)
            self.parking.park(item, parked, left_s, partial(self._invoker.watch, event, self._ports))

    def _unpark(self, item: Item, error: BaseException | None) -> None:
        """Let an item in whose wait is over; `error` is why it ended badly."""
        item.payload.verdict = error
        self._flow.enter(item)
        self._flow.dispatch()
