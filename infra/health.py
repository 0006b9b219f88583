"""``python -m infra health``: ask a worker of this home folder how it is, as a container's health check does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from infra.launch.workers import last_report, report_path
from infra.servers.server import serves

_QUESTIONS: Final = ("ready", "alive")


def unwell(home: Path, name: str) -> str:
    """What is wrong with the worker `name`; empty when it is ready and moves."""
    report = last_report(home, name)
    if report is None:
        folder = report_path(home, name).parent
        return f"no worker {name!r} reports in {folder}; start it with `python -m infra worker --name {name}`"
    if report.state != "ready":
        return f"worker {name!r} is {report.state}: {report.detail}"
    wrong = [question for question in _QUESTIONS if not serves(report.health_port, f"/{question}")]
    return f"worker {name!r} is not {' and not '.join(wrong)}; see its log" if wrong else ""
