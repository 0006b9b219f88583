"""Run agents in memory: events in, events out. For tests and notebooks; ships with the SDK.

>>> from millrace.testing import run
>>> outputs = run(spec_of(my_agent), [MyEvent(tenant="acme", ...)])  # doctest: +SKIP

Every event goes through its schema, and every state through its codec, as it would on a broker; ids, causes and order
per key are those of a worker. What a worker would dead-letter is in `Memory.dead_letters`.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.errors import MillraceError, WrongEventType, classify
from millrace.event import E, Event, Meta, Origin
from millrace.ids import derived
from millrace.invoke import Invoker, Output, Progress
from millrace.topics import Topic


class DeadLetter(NamedTuple):
    """An input that failed for good: the agent (or stage) that failed, and why."""

    event: Event
    agent: str
    error: BaseException


def run(specs: AgentSpec | Iterable[AgentSpec], events: Iterable[Event], ports: Any = None) -> list[Event]:
    """Run agents on events until nothing is left to do.

    Parameters
    ----------
    specs : AgentSpec or iterable of AgentSpec
        The agents; an output on a topic that another one reads reaches it.
    events : iterable of Event
        What arrives, in this order. Events without metadata get some.
    ports : Any
        What agents get as their second parameter: the ports, or a dict of ports by agent name.

    Returns
    -------
    list of Event
        Everything emitted, in order.

    Raises
    ------
    Exception
        What an agent raised that a worker would dead-letter, or retry for ever.
    """
    return asyncio.run(run_async(specs, events, ports))


async def run_async(specs: AgentSpec | Iterable[AgentSpec], events: Iterable[Event], ports: Any = None) -> list[Event]:
    """Do the same as `run`, inside a running event loop."""
    memory = Memory(specs, ports=ports)
    emitted = await memory.feed(events)
    if memory.dead_letters:
        raise memory.dead_letters[0].error
    return emitted


def delivered(event: E, *, origin: Origin | None = None, **meta: Any) -> E:
    """Give an event the metadata it would have on arrival; its id is derived from its content.

    Parameters
    ----------
    origin : Origin, optional
        Where it was read.
    **meta : Any
        Fields of `Meta` to set, such as ``correlation_id``.
    """
    kind = type(event).type_name()
    fields: dict[str, Any] = {
        "id": derived("given", kind, msgspec.json.encode(event)),
        "source": "millrace/testing",
        "time_us": 0,
        **meta,
    }
    return event.with_meta(Meta(type=kind, tenant=event.tenant, origin=origin, **fields))


class Memory:
    """Agents and their topics in memory, one record at a time.

    Parameters
    ----------
    specs : AgentSpec or iterable of AgentSpec
        The agents.
    ports : Any
        Ports, or a dict of ports by agent name.

    Attributes
    ----------
    topics : dict of str to list of Event
        Every record of every topic, as read back from its bytes.
    dead_letters : list of DeadLetter
        Inputs that failed for good.
    """

    def __init__(self, specs: AgentSpec | Iterable[AgentSpec], *, ports: Any = None) -> None:
        self.topics: dict[str, list[Event]] = {}
        self.dead_letters: list[DeadLetter] = []
        self._specs = [specs] if isinstance(specs, AgentSpec) else list(specs)
        self._ports = ports
        self._codec = Codec(_events(self._specs))
        self._runners = [Invoker(spec) for spec in self._specs]
        self._pending: list[deque[Event]] = [deque() for _ in self._specs]
        self._states: dict[tuple[str, str], bytes] = {}
        self._emitted: list[Event] = []

    async def feed(self, events: Iterable[Event]) -> list[Event]:
        """Let events arrive and run the agents until all is quiet; gives what was emitted, in order.

        Raises
        ------
        WrongEventType
            If no agent reads such an event.
        MillraceError
            A transient failure that stays: a worker would wait and try again.
        """
        sources = {topic.name: topic for spec in self._specs for topic in spec.sources}
        first = len(self._emitted)
        for event in events:
            topics = [topic for topic in sources.values() if type(event) in topic.events]
            if not topics:
                raise WrongEventType(f"no agent reads {type(event).__name__}; they read {', '.join(sorted(sources))}")
            for topic in topics:
                self._append(topic, event if event.has_meta else delivered(event), _place(topic, event))
        while any(self._pending):
            for invoker, pending in zip(self._runners, self._pending, strict=True):
                if pending:
                    await self._work(invoker, pending)
        return self._emitted[first:]

    def state(self, agent: str, key: str) -> Any:
        """State that a keyed agent holds for a record key; None before its first event."""
        found = self._states.get((agent, key))
        spec = next(spec for spec in self._specs if spec.name == agent)
        return None if found is None or spec.state is None else msgspec.msgpack.decode(found, type=spec.state)

    def _append(self, topic: Topic, event: Event, place: Origin | None = None) -> Event:
        """Write an event and read it back, as a broker would hand it on; what others write is taken as read."""
        log = self.topics.setdefault(topic.name, [])
        origin = place or Origin(topic.name, 0, len(log))
        if topic.read is None:
            record = self._codec.record(topic, event)
            read = self._codec.read(topic, record.key, record.value, record.headers, origin)
        else:
            read = event.with_meta(msgspec.structs.replace(event.meta, origin=origin))
        log.append(read)
        for spec, pending in zip(self._specs, self._pending, strict=True):
            if any(source.name == topic.name for source in spec.sources):
                pending.append(read)
        return read

    async def _work(self, invoker: Invoker, pending: deque[Event]) -> None:
        spec = invoker.spec
        if spec.form == "batch":
            events = _distinct(spec, pending)
            results = await invoker.run_batch(events, self._ports_of(spec))
            for event, result in zip(events, results, strict=True):
                if isinstance(result, BaseException):
                    self._failed(invoker, event, spec.name, result)
                else:
                    self._emit(result)
            return
        event = pending.popleft()
        progress = Progress(stage=spec.name)
        try:
            if spec.form == "keyed":
                await self._step(invoker, event)
            else:
                await self._park(spec, event)
                await self._run(invoker, event, progress)
        except Exception as error:  # noqa: BLE001 - its class decides, as in a worker
            self._failed(invoker, event, progress.stage, error)

    async def _park(self, spec: AgentSpec, event: Event) -> None:
        parked = spec.park(event, self._ports_of(spec)) if spec.park else None
        if parked is not None:
            async with asyncio.timeout(spec.timeout_s):
                await parked

    async def _run(self, invoker: Invoker, event: Event, progress: Progress) -> None:
        held: list[Output] = []

        async def emit(_: str, outputs: Sequence[Output]) -> None:
            held.extend(output for output in outputs if output.last)
            self._emit([output for output in outputs if not output.last])

        for attempt in range(1, invoker.spec.max_attempts + 1):
            try:
                await invoker.run(event, self._ports_of(invoker.spec), emit, progress)
            except Exception as error:
                if classify(error) != "unknown" or attempt == invoker.spec.max_attempts:
                    raise
            else:
                break
        self._emit(held)

    async def _step(self, invoker: Invoker, event: Event) -> None:
        spec = invoker.spec
        kind = spec.state or msgspec.Struct
        topic = next(topic for topic in spec.sources if type(event) in topic.events)
        at = (spec.name, topic.key(event))
        stored = self._states.get(at)
        state = msgspec.msgpack.decode(stored, type=kind) if stored else kind()
        state, outputs = await invoker.step(state, event, self._ports_of(spec))
        self._states[at] = msgspec.msgpack.encode(state)
        self._emit(outputs)

    def _emit(self, outputs: Iterable[Output]) -> None:
        for topic, event in outputs:
            self._emitted.append(self._append(topic, event))

    def _failed(self, invoker: Invoker, event: Event, stage: str, error: BaseException) -> None:
        if isinstance(error, MillraceError) and classify(error) == "transient":
            raise error
        self._emit(invoker.failed(event, error))
        self.dead_letters.append(DeadLetter(event, stage, error))

    def _ports_of(self, spec: AgentSpec) -> Any:
        return self._ports.get(spec.name) if isinstance(self._ports, Mapping) else self._ports


def _place(topic: Topic, event: Event) -> Origin | None:
    """Where an event was read before, so that an agent that names the place names it again."""
    origin = event.meta.origin if event.has_meta else None
    return origin if origin is not None and origin.topic == topic.name else None


def _distinct(spec: AgentSpec, pending: deque[Event]) -> list[Event]:
    """Take the next batch: events of distinct keys, in order; stops at the first key that repeats."""
    found: dict[str, Event] = {}
    most = spec.batch.max_items if spec.batch else 1
    while pending and len(found) < most:
        key = next(topic for topic in spec.sources if type(pending[0]) in topic.events).key(pending[0])
        if key in found:
            break
        found[key] = pending.popleft()
    return list(found.values())


def _events(specs: Collection[AgentSpec]) -> list[type[Event]]:
    stages = [stage for spec in specs for stage in (spec, *spec.stages)]
    return list(dict.fromkeys(e for stage in stages for topic in (*stage.sources, *stage.sinks) for e in topic.events))
