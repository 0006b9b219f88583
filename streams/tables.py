"""Keyed agents as Faust agents with a table: low-rate state that survives a crash in a changelog topic.

Faust acknowledges an event whose handler raised, so the body here never raises, and only what was applied is committed
(`streams.table_acks`). A key's entry holds its state, the last applied offset per partition and a window of event ids:
an event that is delivered again changes the state once. Outputs are acknowledged before the entry is written, so a
crash in between repeats them with the same ids; the changelog has the entry before the offset may be committed.

Where an agent declares `keep_days`, the state of a key that no event has touched for so long, in the time of the log,
is forgotten: an event that comes later is that of a new key and begins with an empty state. The entry itself, with the
ids and offsets that were applied, goes with a tombstone a little later: a few with each event that is applied, and none
of which an event could be delivered again. The changelog of such an agent is deleted by age as well: where all workers
were away for some days, keys that rested before are forgotten by as many days earlier.

Where it declares `keep_keys` or `keep_user_keys`, and a tenant or a user has more, their least lately touched are
forgotten with the event that makes them too many (`streams.table_shares`). A line says how many; it is no error.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from aiokafka.errors import KafkaError
from faust.types import TP

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.errors import classify, error_type
from millrace.event import Event, Origin
from millrace.registered import once_met
from millrace.telemetry import Tracer
from millrace.telemetry.invoking import invoker_of
from millrace.topics import DAY_MS
from streams import dead_letters
from streams.producer import Producer, acknowledged
from streams.pump.delivery import Note
from streams.pump.settings import Counters, PumpSettings
from streams.table_app import table_group
from streams.table_entries import Ages, Entry, Touched
from streams.table_shares import Shares

log = logging.getLogger(__name__)

_FORGOTTEN_AT_ONCE: Final = 2  # with an event comes one key at most, so those that are over become fewer
_TOO_MANY_AT_ONCE: Final = 8  # an event makes one too many; more only once a bound was lowered
_TELL_S: Final = 60.0
_DAY_US: Final = 86_400_000_000


def changelog(spec: AgentSpec, settings: PumpSettings) -> str:
    """Name of a table's changelog topic: compacted, with as many partitions as the agent's sources."""
    return f"{table_group(settings, spec.name)}-changelog"


def changelog_config(spec: AgentSpec) -> dict[str, str]:
    """Settings of a table's changelog topic in Kafka's names; what an agent forgets is deleted there too."""
    if spec.keep_days is None:
        return {"cleanup.policy": "compact"}
    return {"cleanup.policy": "compact,delete", "retention.ms": str(spec.keep_days * DAY_MS)}


class TableAgent:
    """One keyed agent inside a Faust app.

    Parameters
    ----------
    spec : AgentSpec
        An agent with state.
    n_partitions : int
        Partitions of its sources and of its changelog.
    note : callable, optional
        Told of each output, once the state that led to it is written.
    tracer : Tracer, optional
        Makes spans of what it handles.
    """

    def __init__(
        self,
        app: Any,
        spec: AgentSpec,
        *,
        codec: Codec,
        producer: Producer,
        settings: PumpSettings,
        n_partitions: int,
        ports: Any = None,
        note: Note = lambda _: None,
        tracer: Tracer | None = None,
    ) -> None:
        self.spec = spec
        self.counters = Counters()
        self._app = app
        self._codec = codec
        self._producer = producer
        self._settings = settings
        self._ports = ports
        self._note = note
        self._invoker = invoker_of(spec, tracer)
        self._held_s = self._told_s = -math.inf
        self._n_told = 0
        self._topics = {topic.name: topic for topic in spec.sources}
        self._ages = Ages(None if spec.keep_days is None else spec.keep_days * _DAY_US)
        self._shares = Shares(spec.keep_keys, spec.keep_user_keys, n_partitions)
        table: Any = app.Table(
            spec.name,
            partitions=n_partitions,
            key_type=bytes,
            value_type=bytes,
            on_changelog_event=self._recovered if spec.keep_days is not None or self._shares.bounded else None,
        )
        table.key_serializer = table.value_serializer = "raw"
        self._table = table
        channel = app.topic(
            *self._topics, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
        )
        app.agent(channel, name=spec.name, concurrency=1)(self._consume)

    def alive(self, within_s: float = 60.0) -> bool:
        """Whether nothing that was read waits, some of it was applied lately, or a dependency is known to be down."""
        quiet_s = min(self._app.applied.waiting_s(self._topics), time.monotonic() - self._held_s)
        return bool(not self._app.crashed and quiet_s < within_s)

    async def _consume(self, stream: Any) -> None:
        applied = self._app.applied
        async for event in stream.events():
            message = event.message
            if applied.admits(message.tp, message.offset):
                try:
                    await self._apply(message)
                except _Rebalanced:
                    continue
                applied.advance(message.tp, message.offset)

    async def _apply(self, message: Any) -> None:
        """Apply one record; returns when it needs no redelivery.

        Raises
        ------
        _Rebalanced
            If the group has changed since the record was fetched.
        """
        self.counters.consumed += 1
        record = _Record(message)
        attempts = tries = 0
        while True:
            began_s = time.monotonic()
            try:
                await self._step(record, message.generation_id)
                self.counters.seconds.add(time.monotonic() - began_s)
                return
            except _Rebalanced:
                raise
            except Exception as error:  # noqa: BLE001 - Faust would acknowledge and forget it
                kind, tries = classify(error), tries + 1
                attempts += kind == "unknown"
                self.counters.errors[error_type(error), self.spec.name] += 1
                self._note_outage(kind)
                log.warning("table agent %s failed at %s: %r", self.spec.name, record, error)
                if kind == "permanent" or attempts >= self.spec.max_attempts:
                    await self._bury(record, error, max(attempts, 1))
                    return
            await asyncio.sleep(self._backoff_s(tries))

    async def _step(self, record: "_Record", generation: int) -> None:
        origin = Origin(record.topic, record.partition, record.offset)
        read = partial(self._codec.read, self._topics[record.topic], record.key, record.value, record.headers, origin)
        event = await once_met(read)
        stored = self._table.get(record.key)
        entry = msgspec.msgpack.decode(stored, type=Entry) if stored else Entry()
        if entry.knows(event):
            await self._meet_again(record, stored, entry, generation)
            return
        now_us = self._ages.now_us(record.partition, record.time_us(event))
        if self._ages.over(entry.touched_us, now_us):
            entry.state = b""
        kind = self.spec.state
        if kind is None:
            raise TypeError(f"{self.spec.name} has no state")
        state = msgspec.msgpack.decode(entry.state, type=kind) if entry.state else kind()
        state, outputs = await self._invoker.step(state, event, self._ports)
        sent = [await self._producer.send(self._codec.record(topic, output)) for topic, output in outputs]
        await acknowledged(sent)
        entry = entry.after(event, state, now_us)
        await self._write(record.key, msgspec.msgpack.encode(entry), generation)
        self._ages.touch(record.partition, record.key, now_us)
        self._shares.touch(record.partition, record.key, entry.user)
        self.counters.emitted += len(sent)
        for output in outputs:
            self._note(output.event)
        await self._forget_too_many(record, generation)
        await self._forget(record.partition, generation)

    async def _meet_again(self, record: "_Record", stored: bytes | None, entry: Entry, generation: int) -> None:
        """Touch the key of an event that was applied before, where it matters which key was touched when.

        What was left undone at the first time, because the worker ended then, is done now.
        """
        if self._shares.bounded and entry.state:
            await self._write(record.key, stored, generation)
            self._shares.touch(record.partition, record.key, entry.user)
            await self._forget_too_many(record, generation)

    async def _forget_too_many(self, record: "_Record", generation: int) -> None:
        """Forget keys of which their tenant or user has too many, now that one more was touched.

        The state goes at once, so that nothing else decides what is forgotten. Where an event might be delivered again
        the entry stays, emptied, until that is over.
        """
        for _ in range(_TOO_MANY_AT_ONCE):
            key = self._shares.too_many(record.partition, record.key)
            if key is None:
                break
            if stored := self._table.get(key):
                entry = msgspec.msgpack.decode(stored, type=Entry)
                if self._may_come_again(entry):
                    await self._write(key, msgspec.msgpack.encode(entry.emptied()), generation)
                    self._ages.empty(record.partition, key)
                else:
                    await self._write(key, None, generation)
                    self._ages.drop(record.partition, key)
                self.counters.crowded_out += 1
            self._shares.drop(record.partition, key)
        self._tell_crowded_out()

    def _tell_crowded_out(self) -> None:
        n, now_s = self.counters.crowded_out - self._n_told, time.monotonic()
        if n and now_s - self._told_s >= _TELL_S:
            self._told_s, self._n_told = now_s, self.counters.crowded_out
            log.warning(
                "table %s has forgotten %d keys, those touched least lately, for of a tenant it keeps %s and of one "
                "user %s; what still comes of them is that of new ones",
                self.spec.name,
                n,
                self.spec.keep_keys or "all",
                self.spec.keep_user_keys or "all",
            )

    async def _forget(self, partition: int, generation: int) -> None:
        """Take out keys that are over, a few at a time, and only those whose last events are committed.

        An event that is delivered again after a crash therefore meets the entry that knows it.
        """
        for _ in range(_FORGOTTEN_AT_ONCE):
            key = self._ages.oldest_over(partition)
            if key is None:
                return
            if stored := self._table.get(key):
                if self._may_come_again(msgspec.msgpack.decode(stored, type=Entry)):
                    return
                await self._write(key, None, generation)
            self._ages.drop(partition, key)
            self._shares.drop(partition, key)

    def _may_come_again(self, entry: Entry) -> bool:
        places = ((place.rpartition("/"), offset) for place, offset in entry.applied.items())
        return any(
            topic in self._topics and self._app.applied.comes_again(TP(topic, int(partition)), offset)
            for (topic, _, partition), offset in places
        )

    async def _recovered(self, event: Any) -> None:
        """Learn from the changelog, which has the keys in the order in which they were touched."""
        partition, key = event.message.partition, event.message.key
        if event.message.value is None:
            self._ages.drop(partition, key)
            self._shares.drop(partition, key)
            return
        touched = msgspec.msgpack.decode(event.message.value, type=Touched)
        self._ages.touch(partition, key, touched.touched_us)
        if touched.state:
            self._shares.touch(partition, key, touched.user)
        else:
            self._ages.empty(partition, key)
            self._shares.drop(partition, key)

    async def _write(self, key: bytes | None, entry: bytes | None, generation: int) -> None:
        """Change the table, or take a key out; returns when the changelog has it.

        What was computed before a rebalance rests on a state that another worker may have changed meanwhile.
        """
        tries = 0
        while True:
            if generation != self._app.consumer_generation_id:
                raise _Rebalanced
            if entry is None:
                self._table.forget(key)
            else:
                self._table[key] = entry
            try:
                await self._table.written
            except KafkaError as error:
                tries += 1
                self._note_outage("transient")
                log.warning("table %s: the changelog did not take a change, trying again: %r", self.spec.name, error)
                await asyncio.sleep(self._backoff_s(tries))
            else:
                return

    async def _bury(self, record: "_Record", error: BaseException, attempts: int) -> None:
        letter = dead_letters.letter_of(record, error, agent=self.spec.name, attempt=attempts)
        tries = 0
        while True:
            try:
                await acknowledged([await self._producer.send(letter)])
            except Exception as failure:  # noqa: BLE001 - the offset is held until the letter is written
                self._note_outage(classify(failure))
                log.warning("%s is held: %s", record, dead_letters.why_held(letter, failure))
            else:
                self.counters.dead_lettered += 1
                return
            tries += 1
            await asyncio.sleep(self._backoff_s(tries))

    def _note_outage(self, kind: str) -> None:
        if kind == "transient":
            self._held_s = time.monotonic()

    def _backoff_s(self, tries: int) -> float:
        settings = self._settings
        seconds: float = min(settings.retry_max_ms, settings.retry_initial_ms * 2 ** min(tries - 1, 20)) / 1000
        return seconds


class _Rebalanced(Exception):
    """The group has changed since the record was fetched: its next owner applies it."""


class _Record:
    """A Faust message in the shape of a consumed record."""

    def __init__(self, message: Any) -> None:
        self.topic: str = message.topic
        self.partition: int = message.partition
        self.offset: int = message.offset
        self.key: bytes | None = message.key
        self.value: bytes | None = message.value
        self._logged_us = round((message.timestamp or 0) * 1_000_000)
        headers = message.headers or []
        self.headers: Sequence[tuple[str, bytes]] = list(headers.items() if isinstance(headers, dict) else headers)

    def time_us(self, event: Event) -> int:
        """The event's time, but not later than the log's: one asker's clock that is fast makes nobody's state old."""
        return min(event.meta.time_us, self._logged_us) if self._logged_us > 0 else event.meta.time_us

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] offset {self.offset}"
