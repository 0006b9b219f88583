"""Reports: a table for the terminal, Markdown for the docs, JSON for machines."""

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.measure import Check, Outcome
from infra.servers.apicurio import APICURIO_VERSION
from infra.servers.kafka import KAFKA_VERSION
from infra.servers.triton import TRITON_VERSION
from infra.servers.weaviate import WEAVIATE_VERSION

_PARTS = (
    "aiokafka", "confluent-kafka", "fastavro", "msgspec", "faust-streaming", "mode-streaming", "lancedb", "onnxruntime",
    "tokenizers", "numpy", "millrace",
)  # fmt: skip
_SERVERS = f"Weaviate {WEAVIATE_VERSION}, Triton {TRITON_VERSION}, Apicurio Registry {APICURIO_VERSION}"
_BEGIN, _END = "<!-- results: begin -->", "<!-- results: end -->"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A benchmark's outcome, or why there is none.

    Attributes
    ----------
    id, title : str
        Which benchmark.
    seconds : float
        How long it took.
    outcome : Outcome or None
        None if it failed.
    error : str
        Why it failed.
    """

    id: str
    title: str
    seconds: float
    outcome: Outcome | None = None
    error: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings of a run, and what they were measured on."""

    findings: tuple[Finding, ...]
    environment: dict[str, str]
    repetitions: int
    quick: bool

    @property
    def met(self) -> bool:
        """Whether every budget was measured and kept."""
        return all(
            finding.outcome is not None and all(check.met for check in finding.outcome.checks)
            for finding in self.findings
        )


def environment(root: Path, profile: str = "kafka") -> dict[str, str]:
    """What the numbers depend on: commit, machine, broker and libraries."""
    git = ["git", "-C", str(root)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return {
        "measured at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": (commit.strip() or "unknown") + (", with changes" if changed.strip() else ""),
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "load at the start": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "broker": f"Apache Kafka {KAFKA_VERSION}, one KRaft node on loopback",
        **({} if profile == "kafka" else {"servers": _SERVERS}),
        "libraries": ", ".join(f"{part} {version(part)}" for part in _PARTS),
    }


def print_table(report: Report, console: Console | None = None) -> None:
    """Print budget, measured, and met or missed."""
    table = Table(title="Budgets" + (" (quick: sizes are tiny, numbers mean nothing)" if report.quick else ""))
    for column in ("", "what", "budget", "measured", "spread", ""):
        table.add_column(column)
    for finding in report.findings:
        for check in finding.outcome.checks if finding.outcome else ():
            colour = "green" if check.met else "red"
            verdict = f"[{colour}]{_verdict(check)}[/]"
            table.add_row(check.id, check.what, _budget(check), _measured(check), _spread(check), verdict)
        if finding.outcome is None:
            table.add_row(finding.id, finding.title, "", "", finding.error.splitlines()[0][:100], "[red]failed[/]")
    (console or Console(width=None if sys.stdout.isatty() else 120)).print(table)


def as_json(report: Report) -> bytes:
    """The whole report, samples included."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    for finding, found in zip(report.findings, plain["findings"], strict=True):
        for check, each in (
            zip(finding.outcome.checks, found["outcome"]["checks"], strict=True) if finding.outcome else ()
        ):
            each |= {"measured": check.measured, "met": check.met, "spread": [min(check.values), max(check.values)]}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def as_markdown(report: Report) -> str:
    """Table of all budgets, then the numbers behind each benchmark."""
    lines = ["| | what | budget | measured | spread | |", "|---|---|---|---|---|---|"]
    for finding in report.findings:
        if finding.outcome is None:
            lines.append(f"| {finding.id} | {finding.title} | | | {finding.error.splitlines()[0]} | **failed** |")
            continue
        for check in finding.outcome.checks:
            verdict = _verdict(check) if check.met else "**missed**"
            row = (check.id, check.what, _budget(check), _measured(check), _spread(check), verdict)
            lines.append(f"| {' | '.join(row)} |")
    lines += ["", f"Medians of {report.repetitions} interleaved repetitions; the spread is the lowest and the highest."]
    for finding in report.findings:
        if finding.outcome is None:
            continue
        lines += ["", f"### {finding.id}: {finding.title}", "", finding.outcome.notes, "", "| | |", "|---|---|"]
        lines += [f"| {name} | {_number(value)} |" for name, value in finding.outcome.numbers.items()]
        lines.append(f"| took | {finding.seconds:.0f} s |")
    lines += ["", "### Measured on", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in report.environment.items()]
    return "\n".join(lines) + "\n"


def write_markdown(report: Report, path: Path) -> None:
    """Write the report; in a file that has the marks of results, between them alone."""
    write_results(as_markdown(report), path)


def write_results(text: str, path: Path) -> None:
    """Write results into a file; between the marks of results alone, if it has them."""
    before = path.read_text() if path.exists() else ""
    if _BEGIN in before and _END in before:
        marked = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
        text = marked.sub(lambda _: f"{_BEGIN}\n{text}{_END}", before)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _verdict(check: Check) -> str:
    if check.limit is None:
        return "-"
    return "met" if check.met else "missed"


def _budget(check: Check) -> str:
    if check.limit is None:
        return "none"
    return f"{check.relation} {_number(check.limit)} {check.unit}"


def _measured(check: Check) -> str:
    return f"{_number(check.measured)} {check.unit}"


def _spread(check: Check) -> str:
    return f"{_number(min(check.values))} .. {_number(max(check.values))}"


def _number(value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return statistics.mode(names) if names else platform.machine()
