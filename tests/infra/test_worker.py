"""``python -m infra worker``: what it says when it cannot run, and how it ends."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer

from infra.launch.stack import Stack, read_stack
from infra.launch.workers import report_path
from infra.worker import load_agents, worker_name
from millrace.codec import Codec
from millrace.errors import ConfigurationError
from millrace.event import Meta, attach
from streams.producer import Producer, acknowledged
from tests.conditions import wait_until
from tests.faults.log_access import scan

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_agent"
_STARTED_S = 90  # a busy machine takes long to import everything
pytestmark = pytest.mark.timeout(200)
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def stack(home: Path) -> Iterator[Stack]:
    command = [sys.executable, "-m", "infra"]
    subprocess.run([*command, "up", "--no-workers", "--home", str(home)], check=True, timeout=50, capture_output=True)
    found = read_stack(home)
    assert found is not None
    yield found
    subprocess.run([*command, "down", "--home", str(home)], check=True, timeout=50, capture_output=True)


@pytest.fixture
def start(home: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def worker(*agents: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "infra", "worker", "--home", str(home), "--name", "desk"]
        environment = {**os.environ, "PYTHONPATH": f"{EXAMPLE}{os.pathsep}{Path.cwd()}"}
        report_path(home, "desk").unlink(missing_ok=True)
        with (tmp_path / "desk.log").open("ab") as output:
            modules = [part for module in agents for part in ("--agents", module)]
            process = subprocess.Popen([*command, *modules], stdout=output, stderr=output, env=environment)
        started.append(process)
        return process

    yield worker
    for each in started:
        each.kill()
        each.wait()


def said(home: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(report_path(home, "desk").read_bytes())
    except FileNotFoundError:
        return {"state": "starting"}
    return found


def test_a_module_that_is_not_there_is_named_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"'no_such_desk.agents' was not found.*PYTHONPATH"):
        load_agents(["no_such_desk.agents"])


def test_a_module_without_agents_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"millrace.keys: no @agent there"):
        load_agents(["millrace.keys"])


def test_a_worker_that_finds_no_agents_reports_it_and_exits_2(home: Path, start: Start) -> None:
    assert start("no_such_desk").wait(_STARTED_S) == 2
    report = said(home)
    assert report["state"] == "failed"
    assert "'no_such_desk' was not found" in report["detail"]


@pytest.mark.parametrize("name", ["../../x", "/x", "", "a b", "x\n"])
def test_a_name_that_would_lead_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(typer.BadParameter, match="letters, digits"):
        worker_name(name)


def test_a_worker_with_a_name_that_is_none_writes_nothing(home: Path) -> None:
    command = [sys.executable, "-m", "infra", "worker", "--home", str(home), "--name", "../../x"]
    ended = subprocess.run(command, capture_output=True, timeout=50, check=False)
    assert (ended.returncode, home.exists()) == (2, False)
    assert b"is no name of a worker" in b" ".join(ended.stderr.split())


@pytest.mark.slow
def test_a_worker_whose_broker_has_gone_ends_all_the_same_and_does_not_fill_its_log(
    stack: Stack, home: Path, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_WORKER__DRAIN_TIMEOUT_MS", "1000")
    worker = start("agents.usage")  # an agent with a table, whose client waits for its broker for ever
    wait_until(lambda: said(home)["state"] == "ready", _STARTED_S)
    next(record for record in stack.processes if record.name == "broker").kill()
    output = tmp_path / "desk.log"
    wait_until(lambda: "Unable connect to node" in output.read_text(), 30)
    worker.terminate()
    assert worker.wait(60) in {0, 1}
    assert len(output.read_text().splitlines()) < 300  # each attempt of each consumer would be a line: 200 a second


def test_a_worker_without_a_stack_reports_what_to_start(home: Path, start: Start) -> None:
    assert start("own_agent.agents").wait(_STARTED_S) != 0
    report = said(home)
    assert report["state"] == "failed"
    assert "python -m infra up" in report["detail"]


@pytest.mark.usefixtures("stack")
def test_an_agent_that_cannot_start_fails_the_worker_with_its_own_words(home: Path, start: Start) -> None:
    assert start("tests.infra.failing_agents").wait(_STARTED_S) == 2
    report = said(home)
    assert report["state"] == "failed"
    assert "set DESK_LEDGER to its folder" in report["detail"]


@pytest.mark.faults
async def test_an_agent_of_ones_own_runs_is_ended_under_load_and_loses_nothing(
    home: Path, stack: Stack, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    events: Any = import_module("own_agent.events")
    first = start("own_agent.agents")
    wait_until(lambda: said(home)["state"] == "ready" or first.poll() is not None, _STARTED_S)
    codec = Codec([events.TicketOpened])
    tickets = [events.TicketOpened(tenant="acme", ticket=str(n), text="all is down") for n in range(4000)]
    for ticket in tickets:
        attach(ticket, Meta(id=f"t-{ticket.ticket}", type=ticket.type_name(), source="test", time_us=1, tenant="acme"))

    def escalated() -> set[bytes | None]:
        return {raw.key for raw in scan(stack.bootstrap, [events.TICKETS_ESCALATED.name])}

    async with Producer({"bootstrap_servers": stack.bootstrap}) as producer:
        await acknowledged([await producer.send(codec.record(events.TICKETS_OPENED, each)) for each in tickets])
    began = time.monotonic()
    first.terminate()
    assert first.wait(20) == 0
    assert time.monotonic() - began < 10
    second = start("own_agent.agents")
    wait_until(lambda: len(escalated()) == len(tickets) or second.poll() is not None, _STARTED_S)
    second.terminate()
    assert second.wait(20) == 0
