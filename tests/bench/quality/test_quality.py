"""The agents are measured beside the reference on real questions."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.datasets import DataSet
from bench.quality.__main__ import SETS, sampled
from bench.quality.measures import NAMES
from millrace.evaluation.questions import KnownQuestion

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"


def test_a_sample_is_of_questions_alone_and_the_same_for_a_seed() -> None:
    data = DataSet((), tuple(KnownQuestion(id=str(i), question="?") for i in range(50)))
    assert sampled(data, 5, 1) == sampled(data, 5, 1)
    assert sampled(data, 5, 1) != sampled(data, 5, 2)
    assert len(sampled(data, 5, 1).questions) == 5
    assert sampled(data, 0, 1) is sampled(data, 99, 1) is data


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
def test_the_shipped_configuration_holds_its_own_on_real_questions(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    command = [sys.executable, "-m", "bench.quality", "--data", str(DATA), "--questions", "150"]
    command += ["--cache", str(tmp_path / "embeddings.db"), "--json", str(tmp_path / "quality.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=890)
    assert done.returncode in {0, 1}, done.stderr
    found = json.loads((tmp_path / "quality.json").read_bytes())
    assert [each["name"] for each in found] == list(SETS)
    for each in found:
        assert each["fusion"].keys() == set(NAMES)
        for name, ratio in each["fusion"].items():  # three points less than of all questions: these are 150
            assert ratio["ratio"] >= 0.95, (each["name"], name, ratio)
        assert each["shipped"]["answerable"] <= 0.05
    assert found[0]["shipped"]["removed"] >= 0.85
