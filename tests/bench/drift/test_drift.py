"""Drift is noticed soon, once, and only where there is some: on streams made here, and on real questions."""

import json
import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from agents.learn.policy import LearnPolicy
from bench.drift.__main__ import met, parts
from bench.drift.alarms import listen, middle
from bench.drift.answers import BASE, PLAIN, RESTRICTED, Answers, Asked
from bench.drift.streams import REQUIRED, STREAMS, bursts, same, whole

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"


def made(seed: int = 0) -> Answers:
    """Answers about 12 articles that differ, and about 12 policies that all are much worse to find."""
    rng = random.Random(seed)

    def about(name: str, best: float, gap: float, sure: float) -> list[Asked]:
        found = []
        for topic in range(12):
            own = rng.gauss(0, 1)
            for _ in range(25):
                values = {
                    "lexical_top1": best + 5 * own + rng.gauss(0, 5),
                    "score_gap": gap + 0.05 * own + rng.gauss(0, 0.12),
                    "confidence": sure + 0.05 * own + rng.gauss(0, 0.15),
                }
                found.append(Asked(f"{name} {topic}", values))
        return found

    return {
        BASE: about("article", 24.0, 0.7, 0.95),
        PLAIN: about("policy", 12.0, 0.3, 0.8),
        RESTRICTED: about("policy", 7.0, 0.5, 0.7),
    }


def test_a_stream_goes_topic_after_topic_in_an_order_of_its_seed() -> None:
    asked = made()[BASE]
    order = bursts(asked, random.Random(1))
    topics = [each.topic for each in order]
    assert sum(one != other for one, other in pairwise(topics)) == 11
    assert sorted(map(repr, order)) == sorted(map(repr, asked))
    assert order == bursts(asked, random.Random(1)) != bursts(asked, random.Random(2))


@pytest.mark.timeout(180)
def test_a_change_is_noticed_in_time_and_bursts_of_topics_are_none() -> None:
    answers = made()
    found = [listen(name, STREAMS[name], answers, range(4), LearnPolicy()) for name in REQUIRED]
    assert met(found)
    assert all(order.n_requests == 1 for each in found for order in each.orders)
    quiet = listen("same", same, answers, range(2), LearnPolicy())
    assert quiet.n_silent == 2


@pytest.mark.timeout(180)
def test_without_the_span_of_its_values_bursts_raise_alarms() -> None:
    """Control: with values taken to lie between 0 and 1 the detector believes every article to be a change."""
    policy = LearnPolicy(drift_lexical_span=0.0)
    assert listen("bursts", whole(PLAIN), made(), range(4), policy).n_silent < 4


def test_halves_have_no_topic_in_common() -> None:
    one, other = parts(made())
    for name in (BASE, PLAIN, RESTRICTED):
        assert not {each.topic for each in one[name]} & {each.topic for each in other[name]}
        assert len(one[name]) == len(other[name]) == 150


def test_a_change_that_most_orders_miss_has_no_median() -> None:
    assert middle([3, 5, 40]) == 5
    assert middle([3, None, None]) == float("inf")


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
def test_on_real_questions_drift_is_noticed_in_time_and_never_before(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    command = [sys.executable, "-m", "bench.drift", "--data", str(DATA), "--policies", "200", "--json"]
    command += ["--cache", str(tmp_path / "embeddings.db"), "--answers", str(tmp_path / "answers.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=890)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["met"] is True
    assert [each["name"] for each in found["streams"][:2]] == list(REQUIRED)
    assert all(len(each["orders"]) == 10 for each in found["streams"])
