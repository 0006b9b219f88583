"""The headers that carry a trace, and that the SDK needs no tracing of anyone."""

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.telemetry import TraceContext, names
from millrace.telemetry.tracing import UNDECIDED, context_of, trace_id_of, undecided
from tests.streams.pump_world import ordered

TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("flags", "tracestate", "wanted"),
    [("01", "", True), ("03", "a=b", True), ("00", "", False), ("02", "", False), ("00", UNDECIDED, True)],
)
def test_a_span_is_wanted_where_the_trace_is_sampled_or_nobody_has_said(
    flags: str, tracestate: str, *, wanted: bool
) -> None:
    assert TraceContext(f"00-{TRACE}-b7ad6b7169203331-{flags}", tracestate).wanted is wanted


@pytest.mark.parametrize("broken", ["", "00", "x-y", "no traceparent"])
def test_headers_that_are_none_name_no_trace(broken: str) -> None:
    assert TraceContext(broken).trace_id == ""
    assert not TraceContext(broken).wanted


def test_an_event_without_headers_has_an_undecided_trace_named_after_its_correlation() -> None:
    named = context_of(ordered("a", 1, correlation_id=TRACE).meta)
    assert (named.trace_id, named.undecided, named.wanted) == (TRACE, True, True)
    first, second = (context_of(ordered("a", n, correlation_id="c-a").meta) for n in (1, 2))
    assert first == second, "all events of one chain are in one trace, whoever decides first"
    assert len(first.trace_id) == 32


def test_the_trace_of_an_id_is_its_digits_where_it_has_as_many() -> None:
    assert trace_id_of("0af76519-16cd-43dd-8448-eb211c80319c") == TRACE
    assert trace_id_of("t/acme") != trace_id_of("t/acm") != TRACE
    assert undecided(TRACE).traceparent == f"00-{TRACE}-{TRACE[16:]}-00"


def test_no_name_of_an_attribute_is_that_of_a_text_or_of_a_person() -> None:
    assert {"gen_ai.operation.name", "messaging.system", "millrace.tenant", "error.type"} <= names.ATTRIBUTES
    forbidden = {"question", "text", "document", "user", "content", "query", "title", "group"}
    assert not [name for name in names.ATTRIBUTES if forbidden & set(name.replace("_", ".").split("."))]
    assert not names.ATTRIBUTES & names.EVENTS


def test_the_sdk_and_the_runners_work_where_opentelemetry_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('not installed')\n")
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not installed')\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r});"
        "import millrace.client, millrace.cli, millrace.testing, millrace.telemetry.invoking, streams.worker;"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert run.returncode == 0, run.stderr
