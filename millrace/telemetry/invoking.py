"""An `Invoker` that makes spans: chosen where somebody exports them, so that the plain one knows nothing of it.

An input has one span, of kind consumer, below the span that caused it; each stage of a fused run has one below that, so
a run that is cut over two workers has the same tree. A batch has a span with links to its inputs, and each input one.
Outputs carry the span they come from in their headers.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing
from typing import Any

import msgspec

from millrace.abandoning import Abandonment, Never
from millrace.agent import AgentSpec
from millrace.event import Event
from millrace.invoke import Emit, Invoker, Output, Progress
from millrace.stepping import Suspended
from millrace.telemetry import names
from millrace.telemetry.tracing import Kind, Span, Tracer, Value, context_of, ended


def invoker_of(spec: AgentSpec, tracer: Tracer | None = None) -> Invoker:
    """Executes one agent; with a tracer, with spans."""
    return Invoker(spec) if tracer is None else TracedInvoker(spec, tracer)


class TracedInvoker(Invoker):
    """Executes one agent, with spans.

    Parameters
    ----------
    spec : AgentSpec
        The agent.
    tracer : Tracer
        Makes the spans.
    clock, wall_ms
        See `Invoker`.
    """

    def __init__(
        self,
        spec: AgentSpec,
        tracer: Tracer,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        super().__init__(spec, clock=clock, wall_ms=wall_ms)
        self._tracer = tracer

    def begin(self, event: Event, ports: Any = None) -> "list[Output] | Suspended[Any]":
        """See `Invoker.begin`."""
        span = self._span_of(event)
        if span is None:
            return super().begin(event, ports)
        caused = _caused_by(span, event)
        try:
            with span.active():
                begun = super().begin(caused, ports)
        except BaseException as error:
            span.fail(error)
            span.end()
            raise
        if isinstance(begun, Suspended):
            return _Spanned(begun, caused, span)
        _told(span, begun)
        span.end()
        return begun

    async def resume(self, event: Event, suspended: "Suspended[Any]", began_s: float) -> list[Output]:
        """See `Invoker.resume`."""
        if not isinstance(suspended, _Spanned):
            return await super().resume(event, suspended, began_s)
        with ended(suspended.span):
            outputs = await super().resume(suspended.event, suspended, began_s)
            _told(suspended.span, outputs)
            return outputs

    async def run(self, event: Event, ports: Any, emit: Emit, progress: Progress) -> None:
        """See `Invoker.run`."""
        span = self._span_of(event)
        if span is None:
            await super().run(event, ports, emit, progress)
            return
        if progress.received_s is not None:
            span.set(names.WAITED_MS, round((self._clock() - progress.received_s) * 1000, 1))
        with ended(span), span.active():
            try:
                await super().run(_caused_by(span, event), ports, emit, progress)
            finally:
                span.set(names.STAGE, progress.stage)

    async def run_batch(self, events: Sequence[Event], ports: Any) -> list[list[Output] | BaseException]:
        """See `Invoker.run_batch`."""
        spans = [self._span_of(event) for event in events]
        found = [span for span in spans if span is not None]
        if not found:
            return await super().run_batch(events, ports)
        caused = [event if span is None else _caused_by(span, event) for span, event in zip(spans, events, strict=True)]
        with ExitStack() as open_spans:
            for each in found:
                open_spans.enter_context(ended(each))
            around = found[0] if len(events) == 1 else self._batch_span(found, len(events))
            if len(events) > 1:
                open_spans.enter_context(ended(around))
            open_spans.enter_context(around.active())
            results = await super().run_batch(caused, ports)
            for span, result in zip(spans, results, strict=True):
                if span is not None:
                    _told(span, result)
        return results

    async def step(self, state: Any, event: Event, ports: Any = None) -> tuple[Any, list[Output]]:
        """See `Invoker.step`."""
        span = self._span_of(event)
        if span is None:
            return await super().step(state, event, ports)
        with ended(span), span.active():
            state, outputs = await super().step(state, _caused_by(span, event), ports)
            _told(span, outputs)
            return state, outputs

    async def _results(
        self, stage: Any, event: Event, ports: Any, expires: float | None, given_up: Abandonment | Never
    ) -> AsyncGenerator[list[Output], None]:
        plain = super()._results
        context = context_of(event.meta)
        if not (self.spec.stages and context.wanted):
            async with aclosing(plain(stage, event, ports, expires, given_up)) as results:
                async for some in results:
                    yield some
            return
        span = self._tracer.start(stage.name, "internal", context, attributes=_about(stage.name, event))
        n = 0
        with ended(span):
            async with aclosing(plain(stage, _caused_by(span, event), ports, expires, given_up)) as results:
                while (found := await _next(span, results)) is not None:
                    if not n and stage.streams:
                        span.happened(names.FIRST_OUTPUT)
                    n += len(found)
                    yield found
            span.set(names.OUTPUTS, n)

    def _span_of(self, event: Event) -> Span | None:
        """Span of an input; None where its trace is not sampled."""
        context = context_of(event.meta)
        if not context.wanted:
            return None
        name = self.spec.name
        if not context.undecided:
            return self._tracer.start(name, "consumer", context, attributes=_consumed(name, event))
        span = self._tracer.start(name, "consumer", context)
        for attribute, value in _consumed(name, event).items() if span.recording else ():  # most are sampled away here
            span.set(attribute, value)
        return span

    def _batch_span(self, spans: Sequence[Span], n: int) -> Span:
        kind: Kind = "consumer"
        attributes: dict[str, Value] = {
            names.GEN_AI_AGENT: self.spec.name,
            names.MESSAGING_SYSTEM: "kafka",
            names.MESSAGING_OPERATION: "process",
            names.MESSAGING_BATCH: n,
        }
        links = [span.context for span in spans]
        return self._tracer.start(f"{self.spec.name} batch", kind, links=links, attributes=attributes)


class _Spanned(Suspended[Any]):
    """A coroutine that waits, with its span and the event it was given."""

    __slots__ = ("event", "span")

    def __init__(self, begun: "Suspended[Any]", event: Event, span: Span) -> None:
        super().__init__(begun._coroutine, begun._context, begun._waits_for)  # noqa: SLF001 - its own class's
        self.event = event
        self.span = span


async def _next(span: Span, results: AsyncIterator[list[Output]]) -> list[Output] | None:
    """Next outputs of a stage, or None at its end; only then is its span the active one."""
    with span.active():
        async for found in results:
            return found
    return None


def _caused_by(span: Span, event: Event) -> Event:
    """The event as the agent gets it: what is derived from it carries the span in its headers."""
    traceparent, tracestate = span.context
    return event.with_meta(msgspec.structs.replace(event.meta, traceparent=traceparent, tracestate=tracestate))


def _told(span: Span, outputs: Sequence[Output] | BaseException) -> None:
    if isinstance(outputs, BaseException):
        span.fail(outputs)
        return
    span.set(names.OUTPUTS, len(outputs))


def _about(stage: str, event: Event) -> dict[str, Value]:
    return {
        names.GEN_AI_AGENT: stage,
        names.EVENT_TYPE: event.meta.type,
        names.TENANT: event.meta.tenant,
    }


def _consumed(agent: str, event: Event) -> dict[str, Value]:
    meta = event.meta
    found: dict[str, Value] = {
        **_about(agent, event),
        names.MESSAGING_SYSTEM: "kafka",
        names.MESSAGING_OPERATION: "process",
        names.MESSAGING_OPERATION_TYPE: "process",
        names.MESSAGING_ID: meta.id,
        names.MESSAGING_CONVERSATION: meta.correlation_id,
        names.ATTEMPT: meta.attempt,
    }
    if (origin := meta.origin) is not None:
        found[names.MESSAGING_DESTINATION] = origin.topic
        found[names.MESSAGING_PARTITION] = str(origin.partition)
        found[names.MESSAGING_OFFSET] = origin.offset
    return found
