"""Where exported spans end in tests: in memory, or at a server that speaks OTLP over HTTP."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from infra.settings import TelemetrySettings
from infra.tracing import Tracing


@dataclass(frozen=True)
class Seen:
    """A span, as a backend has it."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    events: tuple[str, ...]
    failed: bool
    service: str
    instance: str
    text: str = field(repr=False, default="")
    """Everything in it, to be searched."""


class Memory(SpanExporter):
    """Keeps what is exported."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


@contextlib.contextmanager
def traced(redact: Callable[[str], str] = str, **settings: Any) -> Iterator[tuple[Tracing, Callable[[], list[Seen]]]]:
    """Spans of this process; gives what makes them, and what gives all that have ended."""
    memory = Memory()
    found = Tracing(TelemetrySettings(export=True, interval_s=60, **settings), memory, instance="test", redact=redact)

    def ended() -> list[Seen]:
        found.flush()
        return [_seen(span) for span in memory.spans]

    try:
        yield found, ended
    finally:
        found.stop()


_KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


class Receiver:
    """A server that takes spans as a collector does.

    Attributes
    ----------
    requests : list
        Path and headers of each request.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._spans: list[Seen] = []
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver._take(self.path, dict(self.headers), body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        """Where spans go."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    @property
    def spans(self) -> list[Seen]:
        """What came so far."""
        with self._changed:
            return list(self._spans)

    def until(self, enough: Callable[[list[Seen]], bool], timeout_s: float = 30.0) -> list[Seen]:
        """Spans, once they are enough."""
        with self._changed:
            if not self._changed.wait_for(lambda: enough(self._spans), timeout_s):
                raise AssertionError(f"not enough spans within {timeout_s:g} s: {[span.name for span in self._spans]}")
            return list(self._spans)

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        found = []
        for resource in request.resource_spans:
            about = _attributes(resource.resource.attributes)
            found += [_decoded(span, about) for scope in resource.scope_spans for span in scope.spans]
        with self._changed:
            self.requests.append((path, {name.lower(): value for name, value in headers.items()}))
            self._spans += found
            self._changed.notify_all()

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Receiver]:
        """Serve while the context lasts."""
        receiver = cls()
        thread = threading.Thread(target=receiver._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            receiver._server.shutdown()
            receiver._server.server_close()
            thread.join()


def path(spans: Iterable[Seen], span: Seen) -> list[str]:
    """Names from the root down to a span."""
    by_id = {each.span_id: each for each in spans}
    found = [span.name]
    while span.parent_id:
        span = by_id[span.parent_id]
        found.append(span.name)
    return found[::-1]


def whole(spans: Iterable[Seen]) -> bool:
    """Whether the parent of each span is among them: processes send theirs one after another."""
    found = list(spans)
    return {span.parent_id for span in found if span.parent_id} <= {span.span_id for span in found}


def _decoded(span: Any, about: Mapping[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        kind=_KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        events=tuple(event.name for event in span.events),
        failed=span.status.code == 2,
        service=about["service.name"],
        instance=about["service.instance.id"],
        text=str(span),
    )


def _attributes(found: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found}


def _seen(span: ReadableSpan) -> Seen:
    assert span.context is not None
    assert span.resource is not None
    return Seen(
        name=span.name,
        kind=span.kind.name.lower(),
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent else "",
        attributes=dict(span.attributes or {}),
        links=tuple((f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links),
        events=tuple(event.name for event in span.events),
        failed=not span.status.is_ok,
        service=str(span.resource.attributes["service.name"]),
        instance=str(span.resource.attributes["service.instance.id"]),
        text=span.to_json(),
    )
