"""Metrics are those that are declared, under bounded labels, in a form that Prometheus reads."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import Metrics as GatewayMetrics
from infra.metrics import MAX_VALUES, OTHER, Metrics, Sample
from infra.worker_metrics import WorkerSamples, counted
from millrace.event import Event
from millrace.events.learn import DriftDetected, TrainingRequested
from millrace.telemetry import metrics as m
from streams.pump.settings import Counters

UNBOUNDED = {"tenant", "user", "document", "chunk", "question", "correlation", "trace", "id", "key", "offset", "path"}


class VerdictGiven(Event, frozen=True, kw_only=True):
    """Like that of the guards."""

    namespace: ClassVar[str] = "test.metrics"

    tenant: Annotated[str, "Tenant."]
    stage: Annotated[str, "Agent."]
    kind: Annotated[str, "Kind."]
    action: Annotated[str, "Action."]


def values(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


@pytest.mark.parametrize("metric", m.METRICS.values(), ids=lambda metric: metric.name)
def test_a_metric_is_named_by_the_rule_and_has_help_and_bounded_labels(metric: m.Metric) -> None:
    assert re.fullmatch(r"millrace_[a-z]+(_[a-z]+)*", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert bool(metric.bounds) == (metric.kind == "histogram")
    assert metric.help.endswith(".")
    assert set(metric.labels) <= set(m.LABELS)
    assert not set(metric.labels) & UNBOUNDED


def test_every_label_that_is_described_is_used() -> None:
    assert {label for metric in m.METRICS.values() for label in metric.labels} == set(m.LABELS)


def test_labels_are_bounded_whatever_their_values() -> None:
    metrics = Metrics()
    for n in range(3 * MAX_VALUES):
        metrics.add(m.STORE_FAILURES, "search", f"error_{n}")
        metrics.add(m.STORE_FAILURES, f"ann{n}@example.org", "x")
        metrics.observe(m.STORE_SECONDS, 0.1, f"t/acme/d/{n} with blanks")
    metrics.read(lambda: [Sample(m.CONSUMER_LAG, (f"agent-{n}",), 1) for n in range(MAX_VALUES)])
    found = values(metrics)
    failures = [labels for name, labels in found if name == m.STORE_FAILURES.name]
    assert len(failures) <= MAX_VALUES + 2
    assert not any("@" in value or " " in value for _, labels in found for _, value in labels)
    assert (m.STORE_FAILURES.name, (("error_type", OTHER), ("operation", "search"))) in found


def test_a_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="has labels"):
        Metrics().add(m.STORE_FAILURES, "search")


def test_acknowledged_verdicts_are_counted_and_the_note_of_the_agent_is_kept() -> None:
    metrics = Metrics()
    noted: list[Event] = []
    notes = counted({"answer_question": noted.append}, ["answer_question", "guard"], metrics)
    verdict = VerdictGiven(tenant="acme", stage="mask", kind="personal_data", action="mask")
    for name in ("answer_question", "guard"):
        notes[name](verdict)
    labels = (("action", "mask"), ("kind", "personal_data"), ("stage", "mask"))
    assert values(metrics)[m.VERDICTS.name, labels] == 2
    assert noted == [verdict]


def test_changes_of_traffic_and_requests_for_training_are_counted() -> None:
    metrics = Metrics()
    detected = DriftDetected(
        tenant="acme", signal="score_gap", n_seen=9, n_since=5, before=1, after=0, statistic=1, threshold=0.5
    )
    metrics.note(detected)
    metrics.note(TrainingRequested(tenant="acme", model="reader", base="", reason="drift", cause="x"))
    found = values(metrics)
    assert found[m.DRIFT_DETECTED.name, (("signal", "score_gap"),)] == 1
    assert found[m.TRAINING_REQUESTED.name, (("model", "reader"), ("reason", "drift"))] == 1


@dataclass
class Spec:
    name: str = "relay"


@dataclass
class Pump:
    counters: Counters
    spec: Spec = field(default_factory=Spec)
    lag: int = 7
    in_flight: int = 2
    parking: tuple[int, ...] = (1,)


@dataclass
class Worker:
    pumps: list[Pump]
    tables: tuple[Pump, ...] = ()
    ready: bool = True
    alive: bool = True


@dataclass
class View:
    n_undecodable: int = 1
    behind: int = 3
    confirmed_age_s: float | None = 0.5
    n_sized: int = 0

    def size(self) -> tuple[int, int]:
        self.n_sized += 1
        return 4, 40


@dataclass
class Models:
    def available(self) -> dict[str, bool]:
        return {"embed-bulk": False}


@dataclass
class Spans:
    exported: int = 9
    dropped: int = 8


def test_a_worker_says_everything_that_is_declared_for_it() -> None:
    counters = Counters(consumed=5, emitted=4, dead_lettered=1, retried=2, commits=6, failed_commits=1)
    counters.errors["rejected", "read"] += 3
    counters.batch(5)
    counters.seconds.add(0.002, 2)
    counters.seconds.add(120.0)
    metrics, view = Metrics(), View()
    running = Worker([Pump(counters)], (Pump(Counters(crowded_out=3), Spec("tally")),))
    metrics.read(WorkerSamples(lambda: running, view=view, models=Models(), tracing=Spans()))  # type: ignore[arg-type, return-value]
    values(metrics)
    found = values(metrics)
    agent = ("agent", "relay")
    assert found[m.EVENTS_CONSUMED.name, (agent,)] == 5
    assert found[m.EVENTS_FAILED.name, (agent, ("error_type", "rejected"), ("stage", "read"))] == 3
    assert found[m.CONSUMER_LAG.name, (agent,)] == 7
    assert found[m.EVENTS_PARKED.name, (agent,)] == 1
    assert found[f"{m.HANDLING_SECONDS.name}_bucket", (agent, ("le", "0.0025"))] == 2
    assert found[f"{m.HANDLING_SECONDS.name}_bucket", (agent, ("le", "60"))] == 2
    assert found[f"{m.HANDLING_SECONDS.name}_bucket", (agent, ("le", "+Inf"))] == 3
    assert found[f"{m.HANDLING_SECONDS.name}_sum", (agent,)] == pytest.approx(120.004)
    assert found[f"{m.BATCH_EVENTS.name}_bucket", (agent, ("le", "8"))] == 1
    assert found[f"{m.BATCH_EVENTS.name}_sum", (agent,)] == 5
    assert found[m.KEYS_FORGOTTEN.name, (("agent", "tally"),)] == 3
    assert found[m.MODEL_AVAILABLE.name, (("model", "embed-bulk"),)] == 0
    assert found[m.VISIBILITY_AGE.name, ()] == 0.5
    assert found[m.SPANS_DROPPED.name, ()] == 8
    assert view.n_sized == 1, "counting documents is not repeated at once"
    said = {name for name, _ in found}
    as_they_happen = {"models", "stores", "guards", "gateway", "learning"}
    expected = [metric for metric in m.METRICS.values() if metric.part not in as_they_happen]
    assert {series for metric in expected for series in metric.series} <= said


def test_before_it_runs_a_worker_says_that_it_is_not_ready() -> None:
    metrics = Metrics()
    metrics.read(WorkerSamples(lambda: None))
    assert values(metrics)[m.WORKER_READY.name, ()] == 0


def test_the_gateway_counts_under_the_declared_names() -> None:
    counted_there = {name for name in GatewayMetrics().registry._names_to_collectors if name.startswith("millrace_")}
    declared = {series for metric in m.METRICS.values() if metric.part == "gateway" for series in metric.series}
    assert declared <= counted_there
