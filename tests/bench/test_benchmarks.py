"""Every benchmark runs, on tiny sizes, and its report has all fields. What it measures then means nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS
from infra.servers.triton import TritonParts
from tests.brokers import KafkaParts

ROOT = Path(__file__).parent.parent.parent
CHECK = {"id", "what", "relation", "limit", "unit", "values", "measured", "met", "spread"}


def quick(names: list[str], tmp_path: Path) -> None:
    """Run benchmarks as a user does, and look at what they wrote."""
    command = [sys.executable, "-m", "bench", *names, "--quick"]
    command += ["--json", str(tmp_path / "b.json"), "--markdown", str(tmp_path / "b.md")]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=170)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, output
    report = json.loads((tmp_path / "b.json").read_text())
    assert {"processor", "broker", "libraries", "commit"} <= report["environment"].keys()
    assert [finding["id"] for finding in report["findings"]] == names
    for finding in report["findings"]:
        outcome = finding["outcome"]
        assert outcome["checks"], finding
        assert outcome["notes"]
        assert outcome["numbers"]
        for check in outcome["checks"]:
            assert check.keys() == CHECK
            assert check["values"]
    text = (tmp_path / "b.md").read_text()
    assert all(f"| {name} |" in text for name in names)
    assert "Budgets" in output


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_benchmarks_without_a_broker_run(tmp_path: Path) -> None:
    quick([name for name, benchmark in BENCHMARKS.items() if not benchmark.broker and name != "P9"], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_benchmark_of_the_model_server_runs(tmp_path: Path, triton_parts: TritonParts) -> None:
    quick(["P9"], tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", [name for name, benchmark in BENCHMARKS.items() if benchmark.broker])
def test_a_benchmark_on_kafka_runs(name: str, tmp_path: Path, kafka_installed: KafkaParts) -> None:
    quick([name], tmp_path)
