"""Write the Grafana dashboards and Prometheus alert rules from the declared metrics.

``python -m tools.dashboards``          write ``infra/monitoring/``
``python -m tools.dashboards --check``  fail when a file is not what the declarations say
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from millrace.telemetry import metrics as m
from millrace.telemetry.metrics import Metric
from tools.alerts import ALERTS, RUNBOOK
from tools.promql import gauge, quantile, rate, ratio

FOLDER: Final = Path(__file__).parent.parent / "infra" / "monitoring"
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_NOTE: Final = "# Written by `python -m tools.dashboards`; edit tools/alerts.py instead.\n"

Panel = tuple[str, str, tuple[tuple[str, str], ...]]
"""Title, unit in Grafana's words, and what is drawn: expression and legend."""
AGENT: Final = "{{agent}}"


def panel(title: str, unit: str, *drawn: tuple[str, str]) -> Panel:
    """A panel."""
    return title, unit, drawn


def latency(metric: Metric, *by: str) -> tuple[tuple[str, str], ...]:
    """p50 and p99 of a histogram."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return tuple((quantile(metric, q, *by), f"p{round(q * 100)} {legend}".strip()) for q in (0.5, 0.99))


WORKERS: Final[dict[str, tuple[Panel, ...]]] = {
    "Workers": (
        panel(
            "Ready and alive", "short", (gauge(m.WORKER_READY, "sum"), "ready"), (gauge(m.WORKER_ALIVE, "sum"), "alive")
        ),
        panel("Memory", "bytes", ("process_resident_memory_bytes", "{{instance}}")),
        panel("Processor", "percentunit", ("rate(process_cpu_seconds_total[5m])", "{{instance}}")),
    ),
    "Agents": (
        panel("Events consumed", "ops", (rate(m.EVENTS_CONSUMED, "agent"), AGENT)),
        panel("Events emitted", "ops", (rate(m.EVENTS_EMITTED, "agent"), AGENT)),
        panel("Lag", "short", (gauge(m.CONSUMER_LAG, "sum", "agent"), AGENT)),
        panel("Time at work", "s", *latency(m.HANDLING_SECONDS, "agent")),
        panel("In flight", "short", (gauge(m.EVENTS_IN_FLIGHT, "sum", "agent"), AGENT)),
        panel("Parked", "short", (gauge(m.EVENTS_PARKED, "sum", "agent"), AGENT)),
        panel("Failures", "ops", (rate(m.EVENTS_FAILED, "agent", "stage", "error_type"), "{{stage}} {{error_type}}")),
        panel(
            "Retries and dead letters",
            "ops",
            (rate(m.EVENTS_RETRIED, "agent"), f"retried {AGENT}"),
            (rate(m.EVENTS_DEAD_LETTERED, "agent"), f"dead-lettered {AGENT}"),
        ),
        panel(
            "Keys forgotten, of tenants or users with too many",
            "ops",
            (rate(m.KEYS_FORGOTTEN, "agent"), AGENT),
        ),
        panel("Batch size, median", "short", (quantile(m.BATCH_EVENTS, 0.5, "agent"), AGENT)),
        panel("Commits", "ops", (rate(m.COMMITS, "outcome"), "{{outcome}}")),
    ),
    "Visibility": (
        panel("Since the end of the log was confirmed", "s", (gauge(m.VISIBILITY_AGE, "max"), "oldest")),
        panel("Yet to fold", "short", (gauge(m.VISIBILITY_LAG, "max"), "events")),
        panel(
            "Index",
            "short",
            (gauge(m.VISIBLE_DOCUMENTS, "max"), "documents"),
            (gauge(m.VISIBLE_CHUNKS, "max"), "chunks"),
        ),
        panel("Records passed over", "ops", (rate(m.UNDECODABLE), "undecodable")),
    ),
    "Models and stores": (
        panel("Embedder calls", "ops", (rate(m.EMBEDDING_CALLS, "outcome"), "{{outcome}}")),
        panel("Texts embedded", "ops", (rate(m.EMBEDDING_TEXTS), "texts")),
        panel("Embedder time", "s", *latency(m.EMBEDDING_SECONDS)),
        panel("Embedding cache hits", "percentunit", (ratio(m.CACHE_LOOKUPS, 'outcome="hit"'), "hits")),
        panel("Models available", "short", (gauge(m.MODEL_AVAILABLE, "min", "model"), "{{model}}")),
        panel("Store time", "s", *latency(m.STORE_SECONDS, "operation")),
        panel(
            "Store failures", "ops", (rate(m.STORE_FAILURES, "operation", "error_type"), "{{operation}} {{error_type}}")
        ),
        panel("Parsing", "ops", (rate(m.PARSED, "outcome"), "{{outcome}}")),
        panel("Parser time", "s", *latency(m.PARSE_SECONDS)),
    ),
    "Guards": (
        panel("Verdicts", "ops", (rate(m.VERDICTS, "stage", "kind", "action"), "{{stage}} {{kind}} {{action}}")),
        panel("Scans", "ops", (rate(m.SCANS, "outcome"), "{{outcome}}")),
        panel("Scan time", "s", *latency(m.SCAN_SECONDS)),
    ),
    "Learning": (
        panel("Changes of traffic", "ops", (rate(m.DRIFT_DETECTED, "signal"), "{{signal}}")),
        panel("Requests for training", "ops", (rate(m.TRAINING_REQUESTED, "model", "reason"), "{{model}} {{reason}}")),
    ),
    "Traces": (panel("Spans", "ops", (rate(m.SPANS_EXPORTED), "exported"), (rate(m.SPANS_DROPPED), "dropped")),),
}

GATEWAY: Final[dict[str, tuple[Panel, ...]]] = {
    "Requests": (
        panel("Requests", "ops", (rate(m.GATEWAY_REQUESTS, "route", "status"), "{{route}} {{status}}")),
        panel("Request time", "s", *latency(m.GATEWAY_SECONDS, "route")),
        panel("Not let in", "ops", (rate(m.GATEWAY_REFUSED, "reason"), "{{reason}}")),
    ),
    "Questions": (
        panel("Questions by end", "ops", (rate(m.GATEWAY_QUESTIONS, "outcome"), "{{outcome}}")),
        panel("First frame", "s", *latency(m.GATEWAY_FIRST_FRAME)),
        panel(
            "Waiting",
            "short",
            (gauge(m.GATEWAY_PENDING, "sum"), "pending"),
            (gauge(m.GATEWAY_STREAMS, "sum"), "streams"),
        ),
        panel("Event loop", "s", (gauge(m.GATEWAY_LOOP_LAG, "max"), "late by")),
    ),
}


def dashboard(uid: str, title: str, rows: dict[str, tuple[Panel, ...]]) -> dict[str, Any]:
    """A Grafana dashboard: rows of panels, three beside each other."""
    return {
        "uid": uid,
        "title": title,
        "tags": ["millrace"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
        },
        "panels": list(_panels(rows)),
    }


def _panels(rows: dict[str, tuple[Panel, ...]]) -> Iterator[dict[str, Any]]:
    number = y = 0
    for title, panels in rows.items():
        number += 1
        yield {"id": number, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}, "panels": []}
        y += 1
        for i, (name, unit, drawn) in enumerate(panels):
            number += 1
            place = {"x": i % 3 * 8, "y": y + i // 3 * 8, "w": 8, "h": 8}
            yield {
                "id": number,
                "type": "timeseries",
                "title": name,
                "gridPos": place,
                "datasource": _DATASOURCE,
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [
                    {"refId": chr(ord("A") + n), "datasource": _DATASOURCE, "expr": expression, "legendFormat": legend}
                    for n, (expression, legend) in enumerate(drawn)
                ],
            }
        y += (len(panels) + 2) // 3 * 8


def rules() -> dict[str, Any]:
    """Alert rules in Prometheus' form."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for alert in ALERTS:
        groups.setdefault(alert.group, []).append(
            {
                "alert": alert.name,
                "expr": alert.expression,
                "for": alert.lasts,
                "labels": {"severity": alert.severity},
                "annotations": {"summary": alert.summary, "runbook_url": f"{RUNBOOK}#{alert.name.lower()}"},
            }
        )
    return {"groups": [{"name": name, "rules": found} for name, found in groups.items()]}


def files() -> dict[str, str]:
    """Text of every file by name."""
    dashboards = {
        "workers.json": dashboard("millrace-workers", "Millrace: workers", WORKERS),
        "gateway.json": dashboard("millrace-gateway", "Millrace: gateway", GATEWAY),
    }
    found = {name: json.dumps(each, indent=2) + "\n" for name, each in dashboards.items()}
    return {**found, "alerts.yml": _NOTE + yaml.safe_dump(rules(), sort_keys=False, width=1_000)}


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Write or check the files; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    check = parser.parse_args(arguments).check
    stale = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    for name in stale:
        what = "is not what is declared; run `python -m tools.dashboards`" if check else "written"
        sys.stderr.write(f"infra/monitoring/{name} {what}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
