"""Run an agent on events, whoever delivers them: the worker, the memory runner and replay all call this.

An `Invoker` turns every form of agent (one event, a batch, keyed state, several fused stages; plain, async or an async
generator) into the same thing: outputs, each with the topic it goes to and with metadata derived from its cause.
"""

import asyncio
import inspect
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing, closing
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from millrace.abandoning import NEVER, Abandonment, Never
from millrace.agent import AgentSpec, Outputs, Result
from millrace.errors import (
    ConfigurationError,
    ContractError,
    DeadlineExceeded,
    TenantMismatch,
    WrongEventType,
    classify,
    error_type,
)
from millrace.event import Event, Meta, attach
from millrace.ids import output_id
from millrace.published import describe
from millrace.stepping import Suspended, first_step
from millrace.topics import Topic


class Output(NamedTuple):
    """An event that an agent gave, with metadata, and the topic it goes to."""

    topic: Topic
    event: Event

    @property
    def last(self) -> bool:
        """Whether it ends a question: such a frame is sent after everything else of its input is acknowledged."""
        return self.topic.reply and getattr(self.event, "terminal", True)


CLOCK_SKEW_S: Final = 6 * 3600.0

Emit: TypeAlias = Callable[[str, Sequence[Output]], Awaitable[None]]


class Progress(msgspec.Struct):
    """How far the run of one input came; keep it over retries, so that stages already published are not repeated.

    Attributes
    ----------
    stage : str
        Stage at work, or the one that failed.
    finished : dict
        Outputs of finished stages, by stage and id of the event they were given.
    received_s : float, optional
        When the input was received, by the invoker's clock: its budget counts from then. Default: the first run.
    """

    stage: str = ""
    received_s: float | None = None
    finished: dict[tuple[str, str], list[Output]] = {}


class Invoker:
    """Executes one agent.

    Parameters
    ----------
    spec : AgentSpec
        The agent.
    clock : callable
        Monotonic seconds, for deadlines and timings.
    wall_ms : callable
        Unix milliseconds, looked at only to leave alone what its asker has long forgotten.

    Attributes
    ----------
    inline : bool
        Whether `begin` works: one event in, its outputs all at once, and nobody who waits for them or gives up.

    Raises
    ------
    ConfigurationError
        If two sinks carry the same event type, so that an output's topic is not clear.
    """

    def __init__(
        self,
        spec: AgentSpec,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self.spec = spec
        self._clock = clock
        self._wall_ms = wall_ms
        self._stages = [_Stage(stage) for stage in spec.stages or (spec,)]
        self._failures = _Stage(spec)
        self._following = {
            (at.name, topic.name): after
            for i, at in enumerate(self._stages)
            for after in reversed(self._stages[i + 1 :])
            for topic in after.spec.sources
        }
        # Who tells an asker about failures keeps the asker's deadline; an agent that merely counts answers does not.
        self._keeps_deadline = spec.on_failure is not None
        self.inline = self._begins()

    def _begins(self) -> bool:
        spec = self.spec
        waited_for = spec.park or spec.cancel or self._keeps_deadline or any(topic.reply for topic in spec.sinks)
        return spec.form == "single" and not waited_for and not self._stages[0].streams

    def begin(self, event: Event, ports: Any = None) -> list[Output] | Suspended[Any]:
        """Run an agent on one event until it ends or waits; what it waits with is for `resume`, in the same task.

        Raises
        ------
        ContractError
            If an output is of no declared type, of another tenant, or not told apart from another.
        """
        stage = self._stages[0]
        returned = stage.function(event, ports) if self.spec.wants_ports else stage.function(event)
        if hasattr(returned, "__await__"):
            returned = first_step(returned)
            if isinstance(returned, Suspended):
                return returned
        return stage.outputs(event.meta, returned, set())

    async def resume(self, event: Event, suspended: Suspended[Any], began_s: float) -> list[Output]:
        """Go on with what `begin` began at `began_s`, by the invoker's clock.

        Raises
        ------
        TimeoutError
            If it takes longer than its ``timeout_s``, counted from its beginning.
        """
        stage = self._stages[0]
        async with asyncio.timeout(began_s + stage.spec.timeout_s - self._clock()):
            returned = await suspended
        return stage.outputs(event.meta, returned, set())

    def watch(self, event: Event, ports: Any) -> Abandonment | Never:
        """Begin to watch whether an input is given up; close what this returns."""
        signal = self.spec.cancel(event, ports) if self.spec.cancel is not None else None
        return NEVER if signal is None else Abandonment(signal, f"input {event.meta.id} of agent {self.spec.name!r}")

    async def run(self, event: Event, ports: Any, emit: Emit, progress: Progress) -> None:
        """Run a single or fused agent on one event; outputs go to `emit` as they are produced.

        Raises
        ------
        InputAbandoned
            If the agent's `cancel` hook said so before a stage or while it ran, and no terminal frame had been given.
        DeadlineExceeded
            If the asker's deadline passed before a stage or a frame.
        TimeoutError
            If a stage took longer than its ``timeout_s``.
        Exception
            Whatever a stage raised; `progress.stage` names it.
        """
        with closing(self.watch(event, ports)) as given_up:
            await self._run(event, ports, emit, progress, given_up)

    async def _run(
        self, event: Event, ports: Any, emit: Emit, progress: Progress, given_up: Abandonment | Never
    ) -> None:
        if progress.received_s is None:
            progress.received_s = self._clock()
        budget_s = self.budget_s(event)
        expires = None if budget_s is None else progress.received_s + budget_s
        waiting = deque([(self._stages[0], event)])
        while waiting:
            stage, current = waiting.popleft()
            progress.stage = stage.name
            began = self._clock()
            done = (stage.name, current.meta.id)
            outputs = progress.finished.get(done)
            if outputs is None:
                outputs = []
                async with aclosing(self._results(stage, current, ports, expires, given_up)) as results:
                    async for some in results:
                        if any(output.last for output in some):
                            given_up.close()  # it has its end, and gets no other
                        await emit(stage.name, some)
                        outputs += some
                progress.finished[done] = outputs
            elif last := [output for output in outputs if output.last]:
                given_up.close()
                await emit(stage.name, last)  # it waited for acknowledgements that did not come
            timings = {**current.meta.timings_ms, stage.name: (self._clock() - began) * 1000}
            for topic, output in outputs:
                after = self._following.get((stage.name, topic.name))
                if after is not None:
                    handed = msgspec.structs.replace(output.meta, attempt=event.meta.attempt, timings_ms=timings)
                    waiting.append((after, output.with_meta(handed)))

    async def run_batch(self, events: Sequence[Event], ports: Any) -> list[list[Output] | BaseException]:
        """Run a batch agent; per input its outputs or its failure.

        If the call raises, its inputs are tried one by one, so that one bad input fails alone. A transient failure is
        that of a dependency and is every input's.
        """
        stage = self._stages[0]
        try:
            results = await self._batch(stage, events, ports)
        except Exception as error:  # noqa: BLE001 - a result like any other: the error's class decides about each input
            if len(events) == 1 or classify(error) == "transient":
                return [error] * len(events)
            return [one for event in events for one in await self.run_batch([event], ports)]
        return [_checked(stage, event, result) for event, result in zip(events, results, strict=True)]

    async def step(self, state: Any, event: Event, ports: Any = None) -> tuple[Any, list[Output]]:
        """Run a keyed agent: the next state of the event's key, and the outputs.

        Raises
        ------
        ContractError
            If the agent returned no (state, outputs), or an output breaks its declaration.
        """
        stage = self._stages[0]
        arguments = (state, event, ports) if self.spec.wants_ports else (state, event)
        returned = stage.function(*arguments)
        if inspect.isawaitable(returned):
            async with asyncio.timeout(self.spec.timeout_s):
                returned = await returned
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], self.spec.state or ())):
            raise ContractError(
                f"keyed agent {self.spec.name!r} returned {type(returned).__name__}; expected (state, outputs)"
            )
        return returned[0], stage.outputs(event.meta, returned[1], set())

    def failed(self, event: Event, error: BaseException) -> list[Output]:
        """What to tell whoever waits for the outcome of a failed input; empty if the agent declares nothing."""
        if self.spec.on_failure is None:
            return []
        told = self.spec.on_failure(event, error_type(error), describe(error, self.spec.name))
        return self._failures.outputs(event.meta, told, set())

    def budget_s(self, event: Event) -> float | None:
        """Seconds from its receipt that an input may take; None if nobody waits for it.

        The asker's clock and this process's are never compared, for they may differ: the budget is the event's
        ``timeout_ms``, or what lies between its time and its deadline, both by the asker's clock; the smaller counts.
        Only a deadline that passed more than `CLOCK_SKEW_S` ago ends the budget by itself: no clock is off by so much.
        """
        if not self._keeps_deadline:
            return None
        meta, found = event.meta, []
        if allowed_ms := getattr(event, "timeout_ms", 0):
            found.append(allowed_ms / 1000)
        if meta.deadline_ms:
            found.append(meta.deadline_ms / 1000 - meta.time_us / 1_000_000)
            if meta.deadline_ms / 1000 + CLOCK_SKEW_S < self._wall_ms() / 1000:
                found.append(0.0)
        return min(found, default=None)

    def _left(self, stage: "_Stage", expires: float | None) -> float:
        """Seconds that a stage may take."""
        if expires is None:
            return stage.spec.timeout_s
        left = expires - self._clock()
        if left <= 0:
            raise DeadlineExceeded(
                f"the deadline passed {-left * 1000:.0f} ms before stage {stage.name!r}; ask with a longer timeout"
            )
        return min(left, stage.spec.timeout_s)

    async def _results(
        self, stage: "_Stage", event: Event, ports: Any, expires: float | None, given_up: Abandonment | Never
    ) -> AsyncGenerator[list[Output], None]:
        limit = self._left(stage, expires)
        given_up.check()
        arguments = (event, ports) if stage.spec.wants_ports else (event,)
        seen: set[tuple[type[Event], str]] = set()
        try:
            if stage.streams:
                # The limit covers waiting for the agent alone, not what the runner does with each piece.
                async with aclosing(stage.function(*arguments)) as pieces:
                    ends = self._clock() + limit
                    while True:
                        async with asyncio.timeout(ends - self._clock()):
                            with given_up:
                                piece = await anext(pieces, None)
                        if piece is None:
                            return
                        self._left(stage, expires)
                        given_up.check()
                        yield stage.outputs(event.meta, piece, seen)
            returned = stage.function(*arguments)
            if inspect.isawaitable(returned):
                async with asyncio.timeout(limit):
                    with given_up:
                        returned = await returned
            yield stage.outputs(event.meta, returned, seen)
        except TimeoutError:
            self._left(stage, expires)
            raise

    async def _batch(self, stage: "_Stage", events: Sequence[Event], ports: Any) -> Sequence[Result]:
        arguments = (events, ports) if self.spec.wants_ports else (events,)
        returned = stage.function(*arguments)
        if inspect.isawaitable(returned):
            async with asyncio.timeout(self.spec.timeout_s):
                returned = await returned
        if len(returned) != len(events):
            raise ContractError(
                f"batch agent {self.spec.name!r} returned {len(returned)} results for {len(events)} inputs; "
                "return one Result per input, in their order"
            )
        results: Sequence[Result] = returned
        return results


def _checked(stage: "_Stage", event: Event, result: Result) -> list[Output] | BaseException:
    if result.error is not None:
        return result.error
    try:
        return stage.outputs(event.meta, result.events, set())
    except ContractError as error:
        return error


class _Stage:
    """A spec with what every call needs looked up once."""

    def __init__(self, spec: AgentSpec) -> None:
        self.spec = spec
        self.name = spec.name
        self.function: Callable[..., Any] = spec.function
        self.streams = inspect.isasyncgenfunction(spec.function)
        self.source = f"millrace/agent/{spec.name}"
        self.topics: dict[type[Event], tuple[Topic, str]] = {}
        for topic in spec.sinks:
            for event in topic.events:
                other, _ = self.topics.setdefault(event, (topic, event.type_name()))
                if other is not topic:
                    raise ConfigurationError(
                        f"agent {spec.name!r}: {event.__name__} could go to {other.name} or {topic.name}; "
                        "declare one sink per event type"
                    )

    def outputs(self, cause: Meta, returned: Outputs, seen: set[tuple[type[Event], str]]) -> list[Output]:
        """Attach derived metadata to what the agent returned and find each event's topic."""
        if returned is None:
            return []
        events: Iterable[Event] = (returned,) if isinstance(returned, Event) else returned
        found = []
        for event in events:
            kind = type(event)
            known = self.topics.get(kind)
            if known is None:
                raise WrongEventType(
                    f"agent {self.name!r} emitted {kind.__name__}, declared are "
                    f"{', '.join(sorted(each.__name__ for each in self.topics)) or 'no sinks'}; add its topic to sinks"
                )
            topic, type_name = known
            if event.tenant != cause.tenant:
                raise TenantMismatch(
                    f"agent {self.name!r} emitted {kind.__name__} of tenant {event.tenant!r} for an input of tenant "
                    f"{cause.tenant!r}; outputs stay in their cause's tenant"
                )
            slot = event.slot()
            if (kind, slot) in seen:
                raise ContractError(
                    f"agent {self.name!r} emitted two {kind.__name__} with slot {slot!r} for one input, and both would "
                    f"get the same id; override {kind.__name__}.slot()"
                )
            seen.add((kind, slot))
            own = msgspec.structs.replace(event) if event.has_meta else event
            found.append(Output(topic, attach(own, self._meta(cause, type_name, slot, event.once()))))
        return found

    def _meta(self, cause: Meta, type_name: str, slot: str, once: str) -> Meta:
        return Meta(
            id=output_id(once or cause.id, self.name, type_name, slot),
            type=type_name,
            source=self.source,
            time_us=cause.time_us,
            tenant=cause.tenant,
            correlation_id=cause.correlation_id or cause.id,
            causation_id=cause.id,
            traceparent=cause.traceparent,
            tracestate=cause.tracestate,
            reply_to=cause.reply_to,
            reply_partition=cause.reply_partition,
            deadline_ms=cause.deadline_ms,
        )
