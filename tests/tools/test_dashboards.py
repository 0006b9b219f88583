"""Dashboards and alerts are what is declared, and ask for nothing that no process says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.telemetry import metrics as m
from tests.docs.pages import anchors
from tools.alerts import ALERTS, RUNBOOK
from tools.dashboards import FOLDER, files, main
from tools.promql import gauge, rate, ratio

ROOT = Path(__file__).parents[2]
OTHERS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
FUNCTIONS = {"sum", "min", "max", "avg", "by", "rate", "increase", "deriv", "histogram_quantile", "and", "or", "unless"}
TOKEN = re.compile(
    r"""\s*(?:(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<text>"[^"]*")|(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd]?)"""
    r"""|(?P<sign>==|!=|>=|<=|=~|!~|[-+*/<>=(){}\[\],]))"""
)


def expressions() -> Iterator[tuple[str, str]]:
    for name, text in files().items():
        if name.endswith(".json"):
            for panel in json.loads(text)["panels"]:
                for target in panel.get("targets", ()):
                    yield f"{name}: {panel['title']}", target["expr"]
        else:
            for group in yaml.safe_load(text)["groups"]:
                for rule in group["rules"]:
                    yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())


def tokens(expression: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(expression.rstrip()):
        match = TOKEN.match(expression, at)
        assert match, f"{expression[at:]!r} is no PromQL"
        kind = match.lastgroup if match.lastgroup != "unit" else "number"
        found.append((str(kind), match.group().strip()))
        at = match.end()
    return found


def metric_of(series: str) -> m.Metric | None:
    return next((metric for metric in m.METRICS.values() if series in metric.series), None)


def test_the_files_are_what_is_declared() -> None:
    assert main(["--check"]) == 0, "run `python -m tools.dashboards`"


def test_a_stale_file_is_seen_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], tmp_path) == 0
    (tmp_path / "alerts.yml").write_text("groups: []\n")
    assert main(["--check"], tmp_path) == 1
    assert "alerts.yml is not what is declared" in capsys.readouterr().err
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_a_query_is_well_formed_and_names_only_what_is_said(where: str, expression: str) -> None:
    found = tokens(expression)
    depth: list[str] = []
    pairs = {")": "(", "]": "[", "}": "{"}
    for _, text in found:
        if text in pairs.values():
            depth.append(text)
        elif text in pairs:
            assert depth.pop() == pairs[text], expression
    assert not depth, expression
    series, labels = set(), set()
    brackets = 0
    previous = ""
    for kind, text in found:
        brackets += text in {"{", "("} and (text == "{" or previous == "by")
        if kind == "name" and brackets:
            labels.add(text)
        elif kind == "name" and text not in FUNCTIONS:
            series.add(text)
        brackets -= brackets > 0 and text in {"}", ")"}
        previous = text
    for name in series - OTHERS:
        assert metric_of(name) is not None, f"{where}: nobody says {name}"
    known = {label for name in series if (metric := metric_of(name)) for label in metric.labels}
    assert labels <= known | {"le", "instance", "job"}, where
    counters = {name for name in series if (metric := metric_of(name)) and metric.kind != "gauge"}
    assert all(re.search(rf"(rate|increase)\({name}(\{{[^}}]*\}})?\[", expression) for name in counters), where


def test_every_metric_of_a_worker_and_of_the_gateway_is_on_a_dashboard_or_in_an_alert() -> None:
    text = " ".join(expression for _, expression in EXPRESSIONS)
    unseen = {name for name, metric in m.METRICS.items() if not any(series in text for series in metric.series)}
    assert unseen <= {m.WORKER_INFO.name}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_to_do(alert: Any) -> None:
    assert alert.name.startswith("Millrace")
    assert re.fullmatch(r"\d+[mh]", alert.lasts)
    assert alert.summary.endswith(".")
    page = ROOT / RUNBOOK
    assert alert.name.lower() in anchors(page.read_text()), f"{RUNBOOK} has no heading {alert.name}"


def test_a_query_of_the_wrong_kind_or_of_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="is a gauge"):
        rate(m.CONSUMER_LAG)
    with pytest.raises(ValueError, match="no label 'tenant'"):
        rate(m.EVENTS_CONSUMED, "tenant")
    with pytest.raises(ValueError, match="no label 'user'"):
        ratio(m.CACHE_LOOKUPS, 'user="ann"')
    with pytest.raises(ValueError, match="put together by"):
        gauge(m.CONSUMER_LAG, "median")


def test_prometheus_own_checker_takes_the_rules_and_every_query(tmp_path: Path) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus); the tests above hold the shape")
    queries = {
        "groups": [
            {"name": "queries", "rules": [{"record": f"q:{n}", "expr": e} for n, (_, e) in enumerate(EXPRESSIONS)]}
        ]
    }
    (tmp_path / "queries.yml").write_text(yaml.safe_dump(queries))
    for path in (FOLDER / "alerts.yml", tmp_path / "queries.yml"):
        run = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
