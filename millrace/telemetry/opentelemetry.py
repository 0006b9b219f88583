"""Spans by OpenTelemetry's API: needs ``millrace[telemetry]``, and a tracer provider that somebody configured.

>>> from millrace.telemetry.opentelemetry import OpenTelemetryTracer
>>> client = Millrace(tracer=OpenTelemetryTracer())  # doctest: +SKIP

An app's own provider serves: what it asks then is a child of the span in which it asks.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from millrace.errors import classify, error_type
from millrace.telemetry import names
from millrace.telemetry.tracing import Kind, Span, TraceContext, Value

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_MESSAGE_CHARS: Final = 300
ROOT_ID: ContextVar[int] = ContextVar("millrace_root_trace_id", default=0)
"""Trace id that the next root should have; an id generator may look at it."""


class OpenTelemetryTracer:
    """Makes spans with a provider's tracer.

    Parameters
    ----------
    provider : opentelemetry.trace.TracerProvider, optional
        By default the global one.
    """

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = (provider or trace.get_tracer_provider()).get_tracer("millrace")

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext | None = None,
        *,
        links: Sequence[TraceContext] = (),
        attributes: Mapping[str, Value] = {},
    ) -> Span:
        """See `millrace.telemetry.Tracer.start`."""
        remote = None if parent is None else _span_context(parent)
        linked = [trace.Link(found) for each in links if (found := _span_context(each)) is not None]
        context: Context | None = None
        token = None
        if parent is not None and remote is not None:
            if not parent.undecided:
                context = trace.set_span_in_context(NonRecordingSpan(remote), Context())
            else:
                token = ROOT_ID.set(remote.trace_id)
        try:
            span = self._tracer.start_span(
                name, context=context, kind=_KINDS[kind], attributes=attributes, links=linked, record_exception=False
            )
        finally:
            if token is not None:
                ROOT_ID.reset(token)
        return _Span(span, parent or TraceContext(""))

    def below(self, name: str, kind: Kind, attributes: Mapping[str, Value] = {}) -> Span | None:
        """See `millrace.telemetry.Tracer.below`."""
        if not trace.get_current_span().is_recording():
            return None
        return _Span(self._tracer.start_span(name, kind=_KINDS[kind], attributes=attributes, record_exception=False))


class _Span:
    """A span of OpenTelemetry."""

    __slots__ = ("_context", "_span")

    def __init__(self, span: trace.Span, parent: TraceContext | None = None) -> None:
        self._span = span
        # Where no provider is configured there is no span: what came goes on as it came.
        self._context = None if span.get_span_context().is_valid else parent

    @property
    def context(self) -> TraceContext:
        if self._context is None:
            found = self._span.get_span_context()
            parent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags:02x}"
            self._context = TraceContext(parent, found.trace_state.to_header())
        return self._context

    @property
    def recording(self) -> bool:
        return self._span.is_recording()

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def happened(self, name: str) -> None:
        self._span.add_event(name)

    def fail(self, error: BaseException) -> None:
        if not self._span.is_recording():
            return
        kind = error_type(error)
        # What is about a server or a setting may be told; what is about an input may quote it, and the log has it.
        message = str(error)[:_MESSAGE_CHARS] if classify(error) in {"transient", "fatal"} else ""
        self._span.set_attribute(names.ERROR_TYPE, kind)
        self._span.add_event(
            names.EXCEPTION, {names.EXCEPTION_TYPE: type(error).__qualname__, names.EXCEPTION_MESSAGE: message}
        )
        self._span.set_status(Status(StatusCode.ERROR, kind))

    def end(self) -> None:
        self._span.end()

    def active(self) -> AbstractContextManager[object]:
        return trace.use_span(self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def _span_context(found: TraceContext) -> SpanContext | None:
    """Context of OpenTelemetry's own kind; None for headers that are none."""
    parts = found.traceparent.split("-")
    try:
        trace_id, span_id, flags = int(parts[1], 16), int(parts[2], 16), int(parts[3], 16)
    except (IndexError, ValueError):
        return None
    state = TraceState.from_header([found.tracestate]) if found.tracestate and not found.undecided else None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags), trace_state=state)
    return context if context.is_valid else None
