"""``python -m infra health``: what a worker says of itself, and what its port says."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.health import unwell
from infra.worker import Report
from streams import health


@dataclass
class Running:
    """A worker as its health port sees it."""

    ready: bool
    alive: bool

    def report(self) -> Mapping[str, Any]:
        return {}


def _report(home: Path, port: int, state: Any = "ready", detail: str = "") -> None:
    report = Report(home, "desk")
    report.health_port = port
    report.write(state, detail)


@pytest.mark.parametrize(
    ("running", "wrong"),
    [
        (Running(ready=True, alive=True), ""),
        (Running(ready=False, alive=True), "worker 'desk' is not ready; see its log"),
        (Running(ready=True, alive=False), "worker 'desk' is not alive; see its log"),
    ],
)
async def test_a_worker_is_well_when_it_is_ready_and_moves(tmp_path: Path, running: Running, wrong: str) -> None:
    async with health.serve(lambda: running) as port:
        _report(tmp_path, port)
        assert await asyncio.to_thread(unwell, tmp_path, "desk") == wrong


async def test_one_whose_port_is_gone_is_not(tmp_path: Path) -> None:
    async with health.serve(lambda: None) as port:
        pass
    _report(tmp_path, port)
    assert "is not ready and not alive" in await asyncio.to_thread(unwell, tmp_path, "desk")


@pytest.mark.parametrize("state", ["starting", "failed"])
def test_one_that_starts_or_failed_says_why(tmp_path: Path, state: str) -> None:
    _report(tmp_path, 0, state, "joining consumer groups")
    assert unwell(tmp_path, "desk") == f"worker 'desk' is {state}: joining consumer groups"


def test_one_that_never_reported_is_named_with_the_remedy(tmp_path: Path) -> None:
    assert "python -m infra worker --name desk" in unwell(tmp_path, "desk")


def test_the_command_exits_1_for_a_container_to_see(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra", "health", "--name", "desk", "--home", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, timeout=50, check=False)
    assert ended.returncode == 1
    assert b"'desk'" in ended.stdout
