"""``python -m infra health``: ask a worker of this home folder how it is, as a container's health check does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from infra.launch.workers import report_path
from infra.servers.server import serves

_QUESTIONS: Final = ("ready", "alive")


class _Report(msgspec.Struct):
    state: str
    detail: str = ""
    health_port: int = 0


def unwell(home: Path, name: str) -> str:
    """What is wrong with the worker `name`; empty when it is ready and moves."""
    path = report_path(home, name)
    try:
        report = msgspec.json.decode(path.read_bytes(), type=_Report)
    except (FileNotFoundError, msgspec.MsgspecError):
        return f"no worker {name!r} reports in {path.parent}; start it with `python -m infra worker --name {name}`"
    if report.state != "ready":
        return f"worker {name!r} is {report.state}: {report.detail}"
    wrong = [question for question in _QUESTIONS if not serves(report.health_port, f"/{question}")]
    return f"worker {name!r} is not {' and not '.join(wrong)}; see its log" if wrong else ""
