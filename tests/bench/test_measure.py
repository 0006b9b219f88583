"""How measurements are made and reported."""

import json
from pathlib import Path

import pytest

from bench.measure import Check, Outcome, Sample, interleaved, percentile, rate_ratios
from bench.report import Finding, Report, as_json, as_markdown, write_markdown


def check(relation: str, limit: float | None, *values: float) -> Check:
    return Check(id="P0", what="this against that", relation=relation, limit=limit, unit="x", values=values)  # type: ignore[arg-type]


def report(*checks: Check, error: str = "") -> Report:
    outcome = None if error else Outcome(checks=checks, numbers={"a second": 12345.0}, notes="Measured like so.")
    finding = Finding(id="P0", title="nothing", seconds=1.5, outcome=outcome, error=error)
    return Report(findings=(finding,), environment={"broker": "none"}, repetitions=3, quick=False)


async def test_contenders_take_turns_and_each_begins_as_often() -> None:
    order: list[str] = []

    async def run(name: str) -> Sample:
        order.append(name)
        return Sample(len(order), 1.0)

    samples = await interleaved({"a": lambda: run("a"), "b": lambda: run("b")}, 4)
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert [sample.n for sample in samples["a"]] == [1, 4, 5, 8]


def test_a_ratio_compares_runs_of_the_same_turn() -> None:
    ours, peer = [Sample(10, 1.0), Sample(10, 2.0)], [Sample(10, 2.0), Sample(10, 2.0)]
    assert rate_ratios(ours, peer) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("relation", "values", "met"),
    [(">=", (0.4, 0.5, 0.9), True), (">=", (0.4, 0.49, 0.9), False), ("<=", (0.5,), True), ("<=", (0.51,), False)],
)
def test_the_median_decides_whether_a_budget_is_met(relation: str, values: tuple[float, ...], met: bool) -> None:
    assert check(relation, 0.5, *values).met == met


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert percentile(range(1, 101), share) == expected


def test_a_report_is_met_when_every_budget_is() -> None:
    assert report(check(">=", 0.5, 0.6)).met
    assert not report(check(">=", 0.5, 0.6), check(">=", 0.5, 0.4)).met
    assert not report(error="Unavailable: no broker").met


def test_the_reports_hold_measured_budget_spread_and_verdict() -> None:
    found = report(check(">=", 0.5, 0.4, 0.6, 0.7), check("<=", 2, 3))
    markdown = as_markdown(found)
    assert "| P0 | this against that | >= 0.5 x | 0.6 x | 0.4 .. 0.7 | met |" in markdown
    assert "| **missed** |" in markdown
    assert "Measured like so." in markdown
    assert "| a second | 12,345 |" in markdown
    each = json.loads(as_json(found))["findings"][0]["outcome"]["checks"][0]
    assert each == {
        "id": "P0", "what": "this against that", "relation": ">=", "limit": 0.5, "unit": "x", "values": [0.4, 0.6, 0.7],
        "measured": 0.6, "met": True, "spread": [0.4, 0.7],
    }  # fmt: skip


def test_a_cost_without_a_budget_is_a_line_that_cannot_be_missed() -> None:
    found = report(check("<=", None, 4, 5, 6))
    assert found.met
    assert "| P0 | this against that | none | 5 x | 4 .. 6 | - |" in as_markdown(found)


def test_a_benchmark_that_failed_is_reported_as_failed() -> None:
    found = report(error="Unavailable: no broker")
    assert "Unavailable: no broker | **failed** |" in as_markdown(found)
    assert json.loads(as_json(found))["findings"][0]["error"] == "Unavailable: no broker"


def test_results_replace_what_stands_between_their_marks_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("# Page\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    write_markdown(report(check(">=", 0.5, 0.6)), page)
    text = page.read_text()
    assert text.startswith("# Page\n<!-- results: begin -->\n| | what |")
    assert text.endswith("<!-- results: end -->\nafter\n")
    assert "old" not in text
