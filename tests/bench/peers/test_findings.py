"""Turns, tables, plots and the page of a comparison."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.measure import Sample
from bench.peers.faults import Cell
from bench.peers.findings import Bar, Section, in_words, latencies, matrix, rates
from bench.peers.oracle import Verdict
from bench.peers.page import Report, as_markdown, with_earlier, write
from bench.peers.plots import draw
from bench.peers.throughput import between
from bench.peers.turns import Turns, in_turns
from millrace.errors import ConfigurationError


def verdict(**changes: Any) -> Verdict:
    values: dict[str, Any] = {
        "n": 100,
        "n_bad": 0,
        "lost": 0,
        "blocked": 0,
        "repeated": 0,
        "letters": 0,
        "ordered": True,
    }
    return Verdict(**values | changes)


def cell(**changes: Any) -> Cell:
    values: dict[str, Any] = {"peer": "Somebody", "fault": "kill", "verdict": verdict()}
    return Cell(**values | changes)


def report(*sections: Section, missing: dict[str, str] | None = None, quick: bool = False) -> Report:
    return Report(
        command="python -m bench.peers", sections=sections, environment={"processor": "abacus"},
        versions={"Somebody": "somebody 1.0"}, missing=missing or {}, repetitions=5, quick=quick,
    )  # fmt: skip


async def test_a_peer_that_fails_is_left_out_and_named_and_the_others_go_on() -> None:
    order: list[str] = []

    async def good(name: str) -> int:
        order.append(name)
        return len(order)

    async def bad() -> int:
        order.append("bad")
        raise OSError("no such peer")

    turns = await in_turns({"a": lambda: good("a"), "bad": bad, "b": lambda: good("b")}, 3)
    assert order == ["a", "bad", "b", "b", "a", "b", "a"]
    assert turns.samples.keys() == {"a", "b"}
    assert turns.failures == {"bad": "OSError: no such peer"}


def test_rates_come_fastest_first_with_our_ratio_of_the_same_turns() -> None:
    ours, theirs = [Sample(10, 1.0), Sample(10, 2.0), Sample(10, 1.0)], [Sample(10, 2.0)] * 3
    found = rates("x", "X", "", Turns({"Millrace": ours, "Somebody": theirs}, {}), "Millrace", "events")
    assert [row[0] for row in found.rows] == ["Millrace", "Somebody"]
    assert found.rows[1][-1] == "2.00"
    assert found.rows[0][1:3] == ("10", "5 .. 10")
    assert found.bars[0] == Bar("Millrace", 10.0, 5.0, 10.0)


def test_latencies_stand_over_the_floor_of_the_same_turn() -> None:
    turns = Turns({"floor": [[1.0, 1.0], [2.0, 2.0]], "slow": [[4.0, 4.0], [8.0, 8.0]]}, {})
    found = latencies("x", "X", "", turns, "floor")
    assert [(row[0], row[-1]) for row in found.rows] == [("floor", "1.00"), ("slow", "4.00")]


def test_answers_are_timed_by_the_broker_from_the_warm_up_on() -> None:
    stamps = [1000] * 10 + [1500] * 5 + [2000] * 5 + [9999]
    found = between(stamps, 20, 10, 0.5)
    assert (found.n, found.seconds, found.cpu_seconds) == (10, 1.0, 5.0)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cell(), "0 lost"),
        (cell(verdict=verdict(lost=3)), "**3 lost**"),
        (cell(verdict=verdict(blocked=1200)), "0 lost, **stands still**, 1,200 not reached"),
        (cell(verdict=verdict(n_bad=4, letters=4)), "0 lost, 4 of 4 dead-lettered"),
        (cell(verdict=verdict(repeated=12, ordered=False)), "0 lost, 12 repeated, **order of a key broken**"),
        (cell(deaths=1), "0 lost, **died once**"),
        (cell(deaths=2), "0 lost, **died 2 times**"),
        (cell(term_s=0.42, term_status=0), "0 lost, ended in 0.4 s"),
        (cell(term_s=0.01, term_status=-15), "0 lost, ended in 0.0 s (status -15)"),
        (cell(term_s=30.0), "0 lost, **did not end within 30 s**"),
        (cell(verdict=None, error="OSError: no broker"), "not run: OSError: no broker"),
        (None, "not run"),
    ],
)
def test_a_cell_of_the_matrix_says_what_happened(found: Cell | None, words: str) -> None:
    assert in_words(found) == words


def test_a_cell_that_could_not_be_run_is_a_failure_of_the_section() -> None:
    found = matrix("", [cell(), cell(fault="poison", verdict=None, error="OSError: no broker")])
    assert found.failures == {"Somebody, poison": "OSError: no broker"}
    assert not report(found).complete


def test_the_page_names_what_is_missing_and_what_failed() -> None:
    section = Section(name="x", title="X", columns=("", "a"), rows=(("Somebody", "1"),), failures={"Other": "it broke"})
    text = as_markdown(report(section, missing={"Nobody": "no wheel\nfor this system"}))
    assert "**Nobody is missing**: no wheel for this system" in text
    assert "**Other could not be measured**: it broke" in text
    assert "| Somebody | 1 |" in text
    assert "| Somebody | somebody 1.0 |" in text
    assert "mean nothing" not in text
    assert "mean nothing" in as_markdown(report(section, quick=True))


def test_a_report_is_complete_when_nobody_is_missing() -> None:
    assert report(Section(name="x", title="X")).complete
    assert not report(Section(name="x", title="X"), missing={"Nobody": "why"}).complete


def test_a_report_is_written_with_its_plots_between_the_marks_of_results(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "page.md"
    page.parent.mkdir()
    page.write_text("# Page\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n")
    found = rates("x", "X", "Like so.", Turns({"Millrace": [Sample(10, 1.0)]}, {}), "Millrace", "events")
    write(report(found), tmp_path / "build" / "peers.json", page)
    text = page.read_text()
    assert text.startswith("# Page\n<!-- results: begin -->\nWritten by")
    assert text.endswith("<!-- results: end -->\nafter\n")
    assert "(plots/peers-x.svg)" in text
    assert (page.parent / "plots" / "peers-x.svg").read_text().count("Millrace") >= 1
    samples = json.loads((tmp_path / "build" / "peers.json").read_bytes())["sections"][0]["data"]
    assert samples == {"Millrace": [{"n": 10, "seconds": 1.0, "cpu_seconds": 0.0}]}


def test_the_same_numbers_give_the_same_plot(tmp_path: Path) -> None:
    bars = [Bar("Millrace", 3.0, 2.0, 4.0), Bar("Somebody", 1.0, 1.0, 1.0)]
    draw(tmp_path / "a.svg", "Title", bars, "events a second")
    draw(tmp_path / "b.svg", "Title", bars, "events a second")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "Somebody" in (tmp_path / "a.svg").read_text()


def test_comparisons_of_an_earlier_run_stay_until_they_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    old, other = Section(name="b", title="B", measured="then"), Section(name="a", title="A", measured="then")
    write(report(old, other, missing={"Nobody": "why"}), path, tmp_path / "peers.md")
    whole = with_earlier(report(Section(name="b", title="B", measured="now")), path, ["a", "b"])
    assert [(section.name, section.measured) for section in whole.sections] == [("a", "then"), ("b", "now")]
    assert not whole.complete
    assert with_earlier(report(old), tmp_path / "none.json", ["a", "b"]) == report(old)
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match="leave --add out"):
        with_earlier(report(old), path, ["a", "b"])


def test_the_fault_matrix_may_be_measured_peer_by_peer(tmp_path: Path) -> None:
    path = tmp_path / "peers.json"
    first = matrix("", [cell(peer="one"), cell(peer="other", verdict=None, error="no broker")])
    write(report(msgspec.structs.replace(first, seconds=2.0, measured="then")), path, tmp_path / "peers.md")
    again = msgspec.structs.replace(matrix("", [cell(peer="other")]), seconds=1.0, measured="now")
    [whole] = with_earlier(report(again), path, ["faults"]).sections
    assert [row[0] for row in whole.rows] == ["one", "other"]
    assert (whole.failures, whole.seconds, whole.measured) == ({}, 3.0, "then to now")


def test_who_cannot_be_disturbed_so_says_why() -> None:
    assert in_words(cell(verdict=None, unlike="no groups")) == "no groups"
