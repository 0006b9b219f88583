"""The seam of tracing: what the SDK and the runners ask of a tracer, and the two headers that carry a trace.

A trace is named by the first 32 digits of ``traceparent``. Who sends a root event without tracing anything leaves it to
the first process that does trace whether the event is sampled: the trace is *undecided* then.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Literal, NamedTuple, Protocol

from millrace.event import Meta
from millrace.ids import derived

Kind = Literal["internal", "client", "producer", "consumer"]
Value = str | int | float | bool

UNDECIDED: Final = "millrace=undecided"
"""``tracestate`` of a trace of which nobody has said yet whether it is sampled."""
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_ODD: Final = frozenset("13579bdf")


class TraceContext(NamedTuple):
    """The two headers that carry a trace from one process to the next."""

    traceparent: str
    tracestate: str = ""

    @property
    def trace_id(self) -> str:
        """32 hex digits; empty if the header is none."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) == 4 else ""

    @property
    def undecided(self) -> bool:
        """Whether nobody has said yet whether the trace is sampled."""
        return UNDECIDED in self.tracestate

    @property
    def wanted(self) -> bool:
        """Whether a span may be worth making: the trace is sampled, or undecided."""
        return self.traceparent[-1:] in _ODD or self.undecided


class Span(Protocol):
    """One piece of work in a trace."""

    @property
    def context(self) -> TraceContext:
        """Headers of what this work causes."""

    @property
    def recording(self) -> bool:
        """Whether anything that is said of it is kept; not where its trace is not sampled."""

    def set(self, name: str, value: Value) -> None:
        """Say something of it; `name` is one of `millrace.telemetry.names`."""

    def happened(self, name: str) -> None:
        """Note that something happened in it now."""

    def fail(self, error: BaseException) -> None:
        """Say that it failed, by type; the message stands only where it is about a server or a setting."""

    def end(self) -> None:
        """End it."""

    def active(self) -> AbstractContextManager[object]:
        """Have `Tracer.below` make children of this span while the context lasts."""


class Tracer(Protocol):
    """Makes spans."""

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext | None = None,
        *,
        links: Sequence[TraceContext] = (),
        attributes: Mapping[str, Value] = {},
    ) -> Span:
        """Begin a span. Without a parent, or with one that is undecided, it may be a root: then it is sampled or not.

        The root of an undecided trace has its trace id, where the tracer can choose one.
        """

    def below(self, name: str, kind: Kind, attributes: Mapping[str, Value] = {}) -> Span | None:
        """Begin a child of the active span; None where no span is active or it is not sampled."""


def undecided(trace_id: str, span_id: str = "") -> TraceContext:
    """Context of a root event whose sender traces nothing."""
    return TraceContext(f"00-{trace_id}-{span_id or trace_id[16:]}-00", UNDECIDED)


def context_of(meta: Meta) -> TraceContext:
    """Trace of an event; one that came without headers has an undecided trace named after its correlation id."""
    if meta.traceparent:
        return TraceContext(meta.traceparent, meta.tracestate)
    return undecided(trace_id_of(meta.correlation_id or meta.id))


def trace_id_of(identity: str) -> str:
    """Trace id that belongs to an id: a uuid's digits, else digits derived from it."""
    digits = identity.replace("-", "")
    return digits if _TRACE_ID.fullmatch(digits) else derived("trace", identity).replace("-", "")


@contextmanager
def ended(span: Span) -> Iterator[None]:
    """End a span with the block, as failed where the block raises; to be cancelled or closed is no failure."""
    try:
        yield
    except Exception as error:
        span.fail(error)
        raise
    finally:
        span.end()
