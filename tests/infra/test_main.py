"""``python -m infra``: what it prints, and its exit codes."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from infra.launch.processes import ProcessRecord
from infra.launch.stack import read_stack
from tests.conditions import wait_until

WORKER = Path(__file__).with_name("launch_worker.py")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    def infra(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra", *arguments, "--home", str(tmp_path / "home")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)

    yield infra
    infra("down")


def test_a_stack_is_started_looked_at_and_ended(run: Run) -> None:
    up = run("up", "--no-workers", "--json")
    assert up.returncode == 0
    started = json.loads(up.stdout)
    assert (started["joined"], started["started"]) == (False, ["broker"])
    status = run("status", "--json")
    assert status.returncode == 0
    found = json.loads(status.stdout)
    assert (found["state"], found["stack"]["bootstrap"]) == ("running", started["bootstrap"])
    down = run("down", "--json")
    assert (down.returncode, json.loads(down.stdout)) == (0, {"ended": ["broker"]})


def test_people_are_told_where_it_listens_and_how_to_end_it(run: Run) -> None:
    said = run("up", "--no-workers").stdout
    assert "broker 127.0.0.1:" in said
    assert "python -m infra down" in said
    assert "joined the stack that runs" in run("up", "--no-workers").stdout
    assert "running: profile embedded" in run("status").stdout
    assert "ended: broker" in run("down").stdout


def test_status_of_nothing_exits_3_with_the_remedy(run: Run) -> None:
    status = run("status")
    assert status.returncode == 3
    assert "python -m infra up" in status.stdout


def test_down_of_nothing_is_no_failure(run: Run) -> None:
    assert run("down").returncode == 0


@pytest.mark.parametrize("as_json", [True, False])
def test_wrong_settings_exit_2_and_name_the_remedy(run: Run, as_json: bool) -> None:
    result = run("up", "--profile", "compose", *(["--json"] if as_json else []))
    assert result.returncode == 2
    message = json.loads(result.stdout)["message"] if as_json else result.stderr
    assert "use 'embedded', 'kafka' or 'native'" in message
    assert (result.stderr if as_json else result.stdout) == ""


def test_config_shows_every_setting_with_its_origin(run: Run, tmp_path: Path) -> None:
    shown = json.loads(run("config", "--json").stdout)
    assert shown["home"] == {"value": str(tmp_path / "home"), "origin": "flag"}
    assert shown["worker.max_uncommitted"] == {"value": 1000, "origin": "default"}
    assert "worker.max_uncommitted" in run("config").stdout


def test_sigterm_in_mid_start_leaves_no_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = f"""
import sys
from infra.__main__ import exit_on_sigterm
from infra.launch.up import up
from infra.settings import load

exit_on_sigterm()
up(load({{"home": {str(home)!r}}}), worker_command=[sys.executable, {str(WORKER)!r}, "starting"])
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2]) as up:
        wait_until(lambda: len(_processes(home)) == 2)
        processes = _processes(home)
        up.terminate()
        assert up.wait(20) == 128 + signal.SIGTERM
    assert not any(record.alive for record in processes)
    assert read_stack(home) is None


def _processes(home: Path) -> Sequence[ProcessRecord]:
    stack = read_stack(home)
    return stack.processes if stack is not None else ()
