"""Keyed agents as Faust agents with a table: low-rate state that survives a crash in a changelog topic.

Faust acknowledges an event whose handler raised, so the body here never raises, and only what was applied is committed
(`streams.table_acks`). A key's entry holds its state, the last applied offset per partition and a window of event ids:
an event that is delivered again changes the state once. Outputs are acknowledged before the entry is written, so a
crash in between repeats them with the same ids; the changelog has the entry before the offset may be committed.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.errors import classify, error_type
from millrace.event import Event, Origin
from millrace.registered import once_met
from millrace.telemetry import Tracer
from millrace.telemetry.invoking import invoker_of
from streams import dead_letters
from streams.producer import Producer, acknowledged
from streams.pump.delivery import Note
from streams.pump.settings import Counters, PumpSettings
from streams.table_app import table_group

log = logging.getLogger(__name__)

_WINDOW = 256  # event ids remembered per key: catches what a producer or a replay wrote twice


class Entry(msgspec.Struct):
    """What the table holds for a key.

    Attributes
    ----------
    state : bytes
        The agent's state, as msgpack; empty before the first event.
    applied : dict of str to int
        Last applied offset, by ``topic/partition``.
    seen : list of str
        Ids of the last events.
    """

    state: bytes = b""
    applied: dict[str, int] = {}
    seen: list[str] = []

    def knows(self, event: Event) -> bool:
        """Whether an event has been applied already."""
        origin = event.meta.origin
        if origin is None:
            return event.meta.id in self.seen
        return origin.offset <= self.applied.get(f"{origin.topic}/{origin.partition}", -1) or event.meta.id in self.seen

    def after(self, event: Event, state: msgspec.Struct) -> "Entry":
        """The entry once `event` has led to `state`."""
        applied, origin = self.applied, event.meta.origin
        if origin is not None:
            applied = {**applied, f"{origin.topic}/{origin.partition}": origin.offset}
        return Entry(msgspec.msgpack.encode(state), applied, [*self.seen, event.meta.id][-_WINDOW:])


def changelog(spec: AgentSpec, settings: PumpSettings) -> str:
    """Name of a table's changelog topic: compacted, with as many partitions as the agent's sources."""
    return f"{table_group(settings, spec.name)}-changelog"


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
        self._held_s = -math.inf
        self._topics = {topic.name: topic for topic in spec.sources}
        table: Any = app.Table(spec.name, partitions=n_partitions, key_type=bytes, value_type=bytes)
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
            return
        kind = self.spec.state
        if kind is None:
            raise TypeError(f"{self.spec.name} has no state")
        state = msgspec.msgpack.decode(entry.state, type=kind) if entry.state else kind()
        state, outputs = await self._invoker.step(state, event, self._ports)
        sent = [await self._producer.send(self._codec.record(topic, output)) for topic, output in outputs]
        await acknowledged(sent)
        await self._write(record.key, msgspec.msgpack.encode(entry.after(event, state)), generation)
        self.counters.emitted += len(sent)
        for output in outputs:
            self._note(output.event)

    async def _write(self, key: bytes | None, entry: bytes, generation: int) -> None:
        """Change the table; returns when the changelog has it.

        What was computed before a rebalance rests on a state that another worker may have changed meanwhile.
        """
        tries = 0
        while True:
            if generation != self._app.consumer_generation_id:
                raise _Rebalanced
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
        headers = message.headers or []
        self.headers: Sequence[tuple[str, bytes]] = list(headers.items() if isinstance(headers, dict) else headers)

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}] offset {self.offset}"
