"""Only a process with the recorded id and start time is found, and ended."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from infra.launch.processes import ProcessRecord, end_all, spawn, tail
from infra.settings import process_environment
from millrace.errors import ConfigurationError
from tests.conditions import wait_until

POLITE = "import signal; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('ready', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


class _Spawn:
    """Starts processes whose output says when they have come to their wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.records: list[ProcessRecord] = []

    def __call__(self, code: str) -> ProcessRecord:
        name = f"process-{len(self.records)}"
        record = spawn(name, [sys.executable, "-c", code], self._folder / name, process_environment())
        self.records.append(record)
        wait_until(lambda: "ready" in tail(Path(record.log)))
        return record


@pytest.fixture
def start(tmp_path: Path) -> Iterator[_Spawn]:
    spawner = _Spawn(tmp_path)
    yield spawner
    for record in spawner.records:
        record.kill()


def test_a_spawned_process_is_alive_in_a_session_of_its_own_and_writes_to_its_log(start: _Spawn) -> None:
    record = start(POLITE)
    assert record.alive
    assert tail(Path(record.log)) == "ready"
    session = subprocess.run(["ps", "-o", "sid=", "-p", str(record.pid)], capture_output=True, text=True, check=True)
    assert int(session.stdout) == record.pid


def test_sigterm_suffices_for_a_process_that_listens(start: _Spawn) -> None:
    record = start(POLITE)
    assert record.end(10.0)
    assert not record.alive


def test_a_deaf_process_is_killed_after_its_time(start: _Spawn) -> None:
    record = start(DEAF)
    assert not record.end(0.2)
    assert not record.alive


def test_processes_are_ended_together_and_the_killed_ones_named(start: _Spawn) -> None:
    polite, deaf, other_deaf = start(POLITE), start(DEAF), start(DEAF)
    began = time.monotonic()
    assert end_all([polite, deaf, other_deaf], 0.5) == [deaf.name, other_deaf.name]
    assert time.monotonic() - began < 5
    assert not any(record.alive for record in start.records)


def test_a_process_with_another_start_time_is_not_found_and_not_ended(start: _Spawn) -> None:
    record = start(POLITE)
    other = replace(record, create_time=record.create_time - 60)
    assert not other.alive
    assert other.end(0.1)
    other.kill()
    assert end_all([other], 0.1) == []
    assert record.alive


def test_a_process_that_has_ended_is_gone_even_when_nobody_reaps_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        record = ProcessRecord("child", child.pid, float(psutil.Process(child.pid).create_time()), "")
        before = record.alive
        child.send_signal(signal.SIGKILL)
        wait_until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert [before, record.alive] == [True, False]
        assert record.end(0.1)
        assert record.memory_mb() is None


def test_a_program_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="broker: program '/no/such/program' not found"):
        spawn("broker", ["/no/such/program"], tmp_path / "log", {})
