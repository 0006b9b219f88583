"""The page of a fault run: made of several runs, never of a test that failed last."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

from tests.faults.report import FaultRow, Kept, in_order, page, rows_of

ONE, OTHER = FaultRow("A1", "kafka", note="first"), FaultRow("A2", "embedded")


def test_rows_are_read_from_what_tests_noted_in_their_call() -> None:
    noted = [("fault_row", json.dumps(vars(ONE))), ("another", "x")]
    reports = [
        SimpleNamespace(nodeid="a", when="call", user_properties=noted),
        SimpleNamespace(nodeid="a", when="teardown", user_properties=noted),
        SimpleNamespace(nodeid="b", when="call", user_properties=[]),
    ]
    assert rows_of(reports) == {"a": [ONE]}


def test_a_run_in_parts_keeps_the_rows_of_earlier_parts_but_not_of_tests_that_fail(tmp_path: Path) -> None:
    file = tmp_path / "build" / "rows.json"
    assert Kept(file, 1.0).add({"a": [ONE]}, []) == {"a": [ONE]}
    assert in_order(Kept(file, 1.0).add({"b": [OTHER]}, [])) == [ONE, OTHER]
    assert in_order(Kept(file, 1.0).add({}, ["a"])) == [OTHER]
    assert Kept(file, 0.5).add({}, []) == {}  # another scale is another table


def test_the_page_shows_each_row_and_the_scale() -> None:
    text = page([ONE, OTHER], 0.5)
    assert "| A1 | kafka | 0 | 0 | 0 | 0 | - | first |" in text
    assert "full workload: 0.5." in text
