"""Every peer's program does its job on a real broker; sizes are tiny, so its speed means nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.lab import Lab
from bench.peers import throughput
from bench.peers.faults import SCENARIOS, Cell, Scenario, run
from bench.peers.roster import PEERS, Peer
from bench.peers.running import ROOT, Installed, install
from millrace.errors import ConfigurationError
from tests.brokers import Broker, KafkaParts, StartKafka

BY_NAME = {peer.name: peer for peer in PEERS}
POISON = next(each for each in SCENARIOS if each.name == "poison")


def installed(peer: Peer) -> Installed:
    """The peer; skips, loudly, where it cannot be had."""
    try:
        return install(peer, print)
    except ConfigurationError as error:
        pytest.skip(f"{peer.title} did not run: {error}")


def marked(peer: Peer) -> object:
    """A peer with an environment of its own is fetched on first use."""
    return pytest.param(peer, id=peer.name, marks=[pytest.mark.native] if peer.lock else [])


@pytest.fixture
def lab(kafka_broker: Broker, tmp_path: Path) -> Lab:
    """The Kafka node of the test run, with tiny sizes."""
    return Lab(kafka_broker.bootstrap, tmp_path, repetitions=1, quick=True)


async def cell(lab: Lab, name: str, scenario: Scenario) -> Cell:
    found = await run(lab, installed(BY_NAME[name]), scenario)
    assert not found.error
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("peer", [marked(peer) for peer in PEERS if peer.timed])
@pytest.mark.parametrize("answering", [False, True], ids=["consume", "answer"])
async def test_a_peer_handles_all_readings(peer: Peer, answering: bool, lab: Lab) -> None:
    section = await throughput.measure(lab, [installed(peer)], answering=answering)
    assert section.failures == {}
    assert [row[0] for row in section.rows] == [peer.title]


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
async def test_millrace_stands_in_the_matrix_as_promised(scenario: Scenario, lab: Lab, start_kafka: StartKafka) -> None:
    if scenario.name == "broker":
        lab.broker = await asyncio.to_thread(start_kafka)
        lab.bootstrap = lab.broker.bootstrap
    found = await cell(lab, "millrace", scenario)
    verdict = found.verdict
    assert verdict is not None
    assert (verdict.lost, verdict.blocked, verdict.ordered, found.deaths) == (0, 0, True, 0)
    assert verdict.letters == verdict.n_bad
    assert bool(verdict.n_bad) == (scenario.name in {"poison", "failing"})
    if scenario.name == "sigterm":
        assert found.term_status == 0
        assert found.term_s is not None
        assert found.term_s <= 10


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.timeout(300)
async def test_a_loop_without_dead_letters_fails_the_matrix(lab: Lab) -> None:
    found = await cell(lab, "aiokafka", POISON)
    assert found.verdict is not None
    assert found.verdict.blocked
    assert found.verdict.letters == 0
    assert found.deaths


@pytest.mark.slow
@pytest.mark.native
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ["ask", "ingest"])
def test_the_command_compares_and_writes_its_reports(name: str, tmp_path: Path, kafka_installed: KafkaParts) -> None:
    command = [sys.executable, "-m", "bench.peers", name, "--quick", "--json", str(tmp_path / "peers.json")]
    process = subprocess.Popen(
        [*command, "--markdown", str(tmp_path / "peers.md")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=580)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    found = json.loads((tmp_path / "peers.json").read_bytes())
    if found["missing"]:
        pytest.skip(f"did not run: {found['missing']}")
    assert process.returncode == 0, output
    assert [section["name"] for section in found["sections"]] == [name]
    assert f"plots/peers-{name}.svg" in (tmp_path / "peers.md").read_text()
    assert (tmp_path / "plots" / f"peers-{name}.svg").exists()
