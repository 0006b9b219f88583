"""The adapter over OpenTelemetry's API, with an app's own provider."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import NoOpTracerProvider

from millrace.telemetry import TraceContext
from millrace.telemetry.opentelemetry import OpenTelemetryTracer
from millrace.telemetry.tracing import undecided
from tests.spans import Memory, traced

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_what_an_app_asks_is_a_child_of_the_span_in_which_it_asks() -> None:
    provider, memory = TracerProvider(shutdown_on_exit=False), Memory()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = OpenTelemetryTracer(provider)
    with provider.get_tracer("app").start_as_current_span("request") as request:
        span = tracer.start("ask", "client", undecided(TRACE))
        span.end()
        own = request.get_span_context()
    asked, _ = memory.spans
    assert asked.parent is not None
    assert (asked.parent.span_id, span.context.trace_id) == (own.span_id, f"{own.trace_id:032x}")


def test_without_a_span_of_the_app_the_question_is_a_root_of_its_own_trace() -> None:
    with traced() as (tracing, ended):
        span = tracing.tracer.start("ask", "client", undecided(TRACE))
        span.end()
        [found] = ended()
    assert (found.trace_id, found.parent_id) == (TRACE, "")
    assert span.context.trace_id == TRACE


def test_a_remote_parent_counts_whatever_is_active_here() -> None:
    with traced() as (tracing, ended):
        outer = tracing.tracer.start("outer", "internal")
        with outer.active():
            span = tracing.tracer.start("agent", "consumer", TraceContext(f"00-{TRACE}-b7ad6b7169203331-01", "a=b"))
        span.end()
        outer.end()
        inner, _ = ended()
    assert (inner.trace_id, inner.parent_id) == (TRACE, "b7ad6b7169203331")
    assert span.context.tracestate == "a=b"


def test_where_no_provider_is_configured_the_trace_goes_on_as_it_came() -> None:
    tracer = OpenTelemetryTracer(NoOpTracerProvider())
    assert tracer.start("ask", "client", undecided(TRACE)).context == undecided(TRACE)
    assert tracer.start("put_document", "producer").context == TraceContext("")


def test_headers_that_are_none_begin_a_trace() -> None:
    with traced() as (tracing, ended):
        tracing.tracer.start("agent", "consumer", TraceContext("00-x-y-01")).end()
        [found] = ended()
    assert found.parent_id == ""
