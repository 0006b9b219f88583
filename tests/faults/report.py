"""The table of a fault run: what was lost, doubled, stale or dead-lettered, and how long progress took.

Tests note their rows by the `fault_row` fixture; the process that the user started prints them, and writes them as
Markdown where `REPORT_VARIABLE` names a file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

REPORT_VARIABLE = "MILLRACE_FAULT_REPORT"
_PROPERTY = "fault_row"
_COLUMNS = ("fault", "broker", "lost", "doubled", "stale", "dead letters", "seconds to progress", "note")


@dataclass(frozen=True)
class FaultRow:
    """A line of the table.

    Attributes
    ----------
    fault : str
        Number and short name.
    broker : str
        ``embedded``, ``kafka`` or ``native``.
    lost, doubled, stale : int
        Violations of I1, I2 and I3.
    dead_letters : int
        Dead letters found; all of them expected.
    progress_s : float
        Longest time until work went on after the fault, in seconds; 0 where nothing had to.
    note : str
        What else was measured.
    """

    fault: str
    broker: str
    lost: int = 0
    doubled: int = 0
    stale: int = 0
    dead_letters: int = 0
    progress_s: float = 0.0
    note: str = ""

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        values = asdict(self) | {"progress_s": f"{self.progress_s:.1f}" if self.progress_s else "-"}
        return tuple(str(value) for value in values.values())


@pytest.fixture
def fault_row(record_property: Callable[[str, object], None]) -> Callable[[FaultRow], None]:
    """Note a row of the table."""
    return lambda row: record_property(_PROPERTY, json.dumps(asdict(row)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what notes a row, and the controls, wherever they stand."""
    for item in items:
        said = getattr(getattr(item, "function", None), "__doc__", None) or ""
        if "fault_row" in getattr(item, "fixturenames", ()) or said.startswith("Control of"):
            item.add_marker(pytest.mark.faults)


def rows_of(reports: Iterable[Any]) -> dict[str, list[FaultRow]]:
    """Rows that each test noted."""
    found: dict[str, list[FaultRow]] = {}
    for report in reports:
        if getattr(report, "when", "") == "call":
            noted = [FaultRow(**json.loads(str(value))) for name, value in report.user_properties if name == _PROPERTY]
            if noted:
                found[report.nodeid] = noted
    return found


def in_order(rows: Mapping[str, Sequence[FaultRow]]) -> list[FaultRow]:
    """All rows, by fault and broker."""
    return sorted((row for noted in rows.values() for row in noted), key=lambda row: (row.fault, row.broker))


class Kept:
    """Rows of runs at one scale, by test, kept beside the page: a long run may be made in parts.

    A test that fails loses its rows.
    """

    def __init__(self, file: Path, scale: float) -> None:
        self._file = file
        self._scale = scale

    def add(self, passed: Mapping[str, Sequence[FaultRow]], failed: Iterable[str]) -> dict[str, list[FaultRow]]:
        """Rows of this run and of earlier ones."""
        rows = self._read() | {test: list(noted) for test, noted in passed.items()}
        for test in failed:
            rows.pop(test, None)
        noted = {test: [asdict(row) for row in each] for test, each in rows.items()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"scale": self._scale, "rows": noted}, indent=1) + "\n")
        return rows

    def _read(self) -> dict[str, list[FaultRow]]:
        try:
            kept = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        if kept["scale"] != self._scale:
            return {}
        return {test: [FaultRow(**row) for row in each] for test, each in kept["rows"].items()}


def markdown(rows: Sequence[FaultRow]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    return "\n".join([*lines, *("| " + " | ".join(row.cells()) + " |" for row in rows)]) + "\n"


def page(rows: Sequence[FaultRow], scale: float) -> str:
    """The page that is committed."""
    return (
        "# Faults\n\n"
        "Written by `make test-faults`. Lines A to D are tests that start real worker processes on a real broker, "
        "disturb them, and let an independent oracle compare everything that was acknowledged with full scans of the "
        "topics, of the index and of the visibility table. `native` is Kafka with a schema registry, Weaviate and, "
        "where a model matters, Triton; the oracle then scans Weaviate with the server's own client, and asks whether "
        "a search by its own vector finds each row. Each has a control: the same test without the defence, in which "
        "the damage must be found; so has each invariant that the oracle checks. Some lines of B2, B4 and B6 are of "
        "the client of a server alone, and lines E10 and E11 of a server. A full disk is a limit on the size of the "
        "files of one process, set while it runs. What a kill repeats "
        "is counted from the output topic, by partition and process; that a question ends once is read from the reply "
        "topic. A line is kept until its test runs again; one that fails loses its line. Share of the full workload: "
        f"{scale:g}.\n\n" + markdown(rows)
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the table, and write it where a file is named."""
    passed, failed = rows_of(terminalreporter.stats.get("passed", [])), terminalreporter.stats.get("failed", [])
    if passed:
        terminalreporter.write_sep("-", "faults")
        terminalreporter.write(markdown(in_order(passed)))
    if (target := os.environ.get(REPORT_VARIABLE)) and (passed or failed):
        from tests.faults.workload import scale  # noqa: PLC0415 - only the run that writes the page needs it

        rows = Kept(Path(target).with_suffix(".json"), scale()).add(passed, [report.nodeid for report in failed])
        Path(target).write_text(page(in_order(rows), scale()))
