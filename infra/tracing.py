"""Spans out of a worker or the gateway: OpenTelemetry's SDK, filled in where the settings say so.

Export stands beside the work and never in its way: a bounded queue, a thread of its own, a bounded end. What does not
fit or cannot be sent is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Status, get_current_span

from infra.settings import TelemetrySettings
from millrace.telemetry.opentelemetry import ROOT_ID, OpenTelemetryTracer

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

log = logging.getLogger(__name__)

_ENDS_WITHIN_S: Final = 3.0


class Tracing:
    """What makes and sends the spans of one process; make it with `tracing`.

    Attributes
    ----------
    tracer : OpenTelemetryTracer
        For the worker, the ports and the client.
    """

    def __init__(
        self,
        settings: TelemetrySettings,
        exporter: SpanExporter,
        *,
        instance: str,
        redact: Callable[[str], str] = str,
    ) -> None:
        self._counted = _Counted(_Redacted(exporter, redact))
        self._queue = _Queue(self._counted, settings)
        self.provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            resource=Resource.create(
                {
                    "service.name": settings.service,
                    "service.version": version("millrace"),
                    "service.instance.id": f"{socket.gethostname()}/{os.getpid()}/{instance}",
                }
            ),
            shutdown_on_exit=False,
            id_generator=_Ids(),
        )
        self.provider.add_span_processor(self._queue)
        self.tracer = OpenTelemetryTracer(self.provider)

    @property
    def exported(self) -> int:
        """Spans that were sent."""
        return self._counted.n_sent

    @property
    def dropped(self) -> int:
        """Spans that did not fit into the queue, or could not be sent."""
        return self._queue.n_refused + self._counted.n_failed

    def flush(self) -> None:
        """Send what waits, now."""
        self._queue.force_flush()

    def stop(self) -> None:
        """Send what waits, for a bounded time; then the rest is dropped."""
        ending = threading.Thread(target=self.provider.shutdown, name="millrace-spans", daemon=True)
        ending.start()
        ending.join(_ENDS_WITHIN_S)
        if ending.is_alive():
            self._counted.shutdown()
            log.warning("spans could not be sent before the end; %d were dropped in all", self.dropped)


@contextmanager
def tracing(
    settings: TelemetrySettings, *, instance: str, redact: Callable[[str], str] = str
) -> Iterator[Tracing | None]:
    """Export spans as the settings say; gives None where they say not to.

    Parameters
    ----------
    settings : TelemetrySettings
        Where to, how many.
    instance : str
        Name of this process, such as that of the worker.
    redact : callable
        Masks what must not leave this process in attributes, events and statuses.
    """
    if not settings.export:
        yield None
        return
    exporter = OTLPSpanExporter(settings.endpoint, headers=settings.header_fields(), timeout=settings.timeout_s)
    found = Tracing(settings, exporter, instance=instance, redact=redact)
    log.info("spans go to %s", settings.endpoint)
    try:
        yield found
    finally:
        found.stop()


def active_trace_id() -> str:
    """Trace of the span that is active now; empty where there is none."""
    context = get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""


class _Ids(RandomIdGenerator):
    """Random ids; a root gets the trace id that its event already has."""

    def generate_trace_id(self) -> int:
        return ROOT_ID.get() or super().generate_trace_id()


class _Queue(SpanProcessor):
    """Spans that wait for the thread that sends them; refuses what does not fit, without a word each time."""

    def __init__(self, exporter: _Counted, settings: TelemetrySettings) -> None:
        self._batches = BatchSpanProcessor(
            exporter,
            max_queue_size=settings.queue,
            schedule_delay_millis=settings.interval_s * 1000,
            max_export_batch_size=settings.batch,
        )
        self._exporter = exporter
        self._most = settings.queue
        self._n_taken = 0
        self.n_refused = 0

    def on_end(self, span: ReadableSpan) -> None:
        if self._n_taken - self._exporter.n_given >= self._most:
            self.n_refused += 1
            return
        self._n_taken += 1
        self._batches.on_end(span)

    def shutdown(self) -> None:
        self._batches.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._batches.force_flush(timeout_millis)


class _Counted(SpanExporter):
    """Counts what is sent and what fails; a failure is the span's, not the worker's."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.n_given = self.n_sent = self.n_failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self.n_given += len(spans)
            if result is SpanExportResult.SUCCESS:
                self.n_sent += len(spans)
            else:
                self.n_failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Redacted(SpanExporter):
    """Masks texts in attributes, events and statuses, in the thread that sends."""

    def __init__(self, exporter: SpanExporter, redact: Callable[[str], str]) -> None:
        self._exporter = exporter
        self._redact = redact

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self._masked(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _masked(self, span: ReadableSpan) -> ReadableSpan:
        status = span.status
        return ReadableSpan(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=self._attributes(span.attributes),
            events=[Event(each.name, self._attributes(each.attributes), each.timestamp) for each in span.events],
            links=span.links,
            kind=span.kind,
            status=Status(status.status_code, status.description and self._redact(status.description)),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def _attributes(self, attributes: Attributes) -> dict[str, Any]:
        return {
            name: self._redact(value) if isinstance(value, str) else value for name, value in (attributes or {}).items()
        }
