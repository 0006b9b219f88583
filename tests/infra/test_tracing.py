"""Export of spans: bounded, counted, masked, and never in the way of the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from pydantic import SecretStr, ValidationError

from infra.redaction import MASK, Redaction
from infra.settings import TelemetrySettings
from infra.tracing import Tracing, active_trace_id, tracing
from millrace.errors import Unavailable
from millrace.telemetry import names
from tests.conditions import wait_until
from tests.spans import Receiver, traced

SECRET = "collector-4714"  # noqa: S105 - seeded


class Stuck(SpanExporter):
    """An endpoint that takes its time."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.entered = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.go_on.wait(30)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.go_on.set()


class Failing(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise OSError("no route to the collector")

    def shutdown(self) -> None:
        pass


def settings(**values: Any) -> TelemetrySettings:
    return TelemetrySettings(export=True, **values)


def make(found: Tracing, n: int) -> None:
    for _ in range(n):
        found.tracer.start("work", "internal").end()


def test_nothing_is_made_where_export_is_off() -> None:
    with tracing(TelemetrySettings(), instance="x") as found:
        assert found is None


def test_spans_arrive_with_the_headers_of_the_settings() -> None:
    with Receiver.running() as receiver:
        chosen = settings(endpoint=receiver.endpoint, headers=SecretStr(f"x-key={SECRET}, x-org=acme"), service="desk")
        with tracing(chosen, instance="worker-1") as found:
            assert found is not None
            make(found, 3)
        assert [span.name for span in receiver.spans] == ["work"] * 3
        assert {(span.service, span.instance.rpartition("/")[2]) for span in receiver.spans} == {("desk", "worker-1")}
        assert all((headers["x-key"], headers["x-org"]) == (SECRET, "acme") for _, headers in receiver.requests)
        assert (found.exported, found.dropped) == (3, 0)


def test_what_does_not_fit_into_the_queue_is_dropped_and_counted_while_work_goes_on() -> None:
    stuck = Stuck()
    found = Tracing(settings(queue=8, batch=4, interval_s=0.01), stuck, instance="x")
    make(found, 4)
    assert stuck.entered.wait(10)
    began = time.monotonic()
    make(found, 100)
    assert time.monotonic() - began < 5
    assert found.dropped == 104 - 8
    stuck.go_on.set()
    wait_until(lambda: found.exported == 8)
    found.stop()


def test_an_endpoint_that_fails_is_counted_and_raises_nothing() -> None:
    found = Tracing(settings(), Failing(), instance="x")
    make(found, 5)
    found.stop()
    assert (found.exported, found.dropped) == (0, 5)


def test_the_end_does_not_wait_for_an_endpoint_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.tracing._ENDS_WITHIN_S", 0.2)
    stuck = Stuck()
    found = Tracing(settings(), stuck, instance="x")
    make(found, 1)
    began = time.monotonic()
    found.stop()
    assert time.monotonic() - began < 10


def test_secrets_are_masked_in_attributes_events_and_statuses() -> None:
    def failing(redact: Any) -> str:
        with traced(redact) as (found, ended):
            span = found.tracer.start("work", "client", attributes={names.STATUS: f"key {SECRET}"})
            span.fail(Unavailable(f"refused with {SECRET}"))
            span.end()
            [seen] = ended()
            assert seen.attributes[names.ERROR_TYPE] == "unavailable"
            return seen.text

    assert SECRET in failing(str), "without the mask the same span would have told it"
    masked = failing(Redaction([SECRET]))
    assert SECRET not in masked
    assert masked.count(MASK) == 2


def test_logs_name_the_trace_that_is_active() -> None:
    with traced() as (found, _):
        assert active_trace_id() == ""
        span = found.tracer.start("work", "internal")
        with span.active():
            assert active_trace_id() == span.context.trace_id
        span.end()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"endpoint": "collector:4318"}, "whole address"),
        ({"endpoint": "http://ann:key@collector:4318/v1/traces"}, "no place in an address"),
        ({"batch": 10, "queue": 5}, "larger than queue"),
        ({"sample_ratio": 1.5}, "less than or equal to 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**values)
