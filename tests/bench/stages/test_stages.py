"""The stage that is broken is the stage that is named."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from agents.learn.policy import LearnPolicy
from agents.query.policy import QueryPolicy
from bench.datasets import DataSet, Document
from bench.quality.stack import open_stack
from bench.stages.__main__ import agreement, markdown
from bench.stages.cases import Case, Part, cases_of, parts_of
from bench.stages.chain import Chain
from bench.stages.faults import STAGES, garbled, shuffled, truncated
from infra.settings import load as load_settings
from millrace.evaluation.questions import KnownQuestion, read_questions
from millrace.events.query import Hit

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared" / "data"
HANDBOOK = ROOT / "examples" / "handbook"
QUESTION = "How many paddles does the great wheel have?"


def case(fault: str, stage: str, **fields: object) -> Case:
    return Case("1", "xquad", "held out", fault, corrected=True, stage=stage, rule="", **fields)  # type: ignore[arg-type]


def test_the_matrix_counts_what_was_named_for_each_fault() -> None:
    cases = [case("row removed", "retrieval"), case("row removed", "reading"), case("reader broken", "reading")]
    assert agreement(cases) == pytest.approx(2 / 3)
    table = markdown(cases)
    assert "| row removed | 0 | 1 | 0 | 1 | 0 | 0 | 0 | 1 of 2 |" in table
    assert "| all | 3 | 66.7% |" in table


def test_no_article_is_in_both_parts() -> None:
    questions = tuple(KnownQuestion(id=str(n), question="?", doc=(f"d{n % 7}",)) for n in range(70))
    parts = parts_of(DataSet((), questions))
    of: dict[str, set[str]] = {}
    for question, part in zip(questions, parts, strict=True):
        of.setdefault(question.documents[0], set()).add(part)
    assert all(len(found) == 1 for found in of.values())
    assert set(parts) == set(get_args(Part))


def test_what_is_broken_differs_from_what_was_whole() -> None:
    rng = random.Random(1)
    assert all(garbled(QUESTION, rng).split()[:1] == ["How"] for _ in range(20))
    assert sum(garbled(QUESTION, rng) != QUESTION for _ in range(20)) == 20
    assert QUESTION.startswith(truncated(QUESTION, rng))
    hits = [Hit(str(n), "d", 1, n, 1.0 - n / 100, 0.5, 1.0) for n in range(1, 51)]
    for scores in (False, True):
        mixed = shuffled(hits, 10, rng, scores=scores)
        assert [hit.rank for hit in mixed] == list(range(1, 11))
        assert [hit.chunk_id for hit in mixed] != [hit.chunk_id for hit in hits[:10]]
        assert (sorted((hit.score for hit in mixed), reverse=True) == [hit.score for hit in mixed]) == scores


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_broken_stages_are_named_in_the_handbook(tmp_path: Path) -> None:
    names = [
        path.relative_to(HANDBOOK).as_posix() for path in HANDBOOK.rglob("*.md") if path.parent.name != "revisions"
    ]
    names = sorted({*names, *(path.relative_to(HANDBOOK).as_posix() for path in HANDBOOK.rglob("*.txt"))})
    names = [name for name in names if name.split("/")[0] in {"everyone", "finance", "hr"}]
    documents = [Document(name, (HANDBOOK / name).read_text()) for name in names]
    asked = [
        each for each in read_questions(HANDBOOK / "questions.jsonl").questions if set(each.documents) & set(names)
    ]
    async with open_stack(
        tmp_path, load_settings().settings.cache / "models", tmp_path / "embeddings.db", QueryPolicy()
    ) as stack:
        await stack.ingest(documents)
        chain = Chain(stack, sorted(stack.groups), LearnPolicy())
        questions: list[tuple[KnownQuestion, Part]] = [(question, "held out") for question in asked * 6]
        found = await cases_of("handbook", questions, chain, 10, 0)
    assert Counter(each.fault for each in found.cases) == dict.fromkeys(STAGES, 10)
    assert agreement(found.cases) >= 0.9, markdown(found.cases)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(900)
def test_broken_stages_are_named_in_real_articles_and_policies(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there")
    command = [sys.executable, "-m", "bench.stages", "--data", str(DATA), "--each", "12"]
    command += ["--cache", str(tmp_path / "embeddings.db"), "--json", str(tmp_path / "stages.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=890)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = [each for found in json.loads((tmp_path / "stages.json").read_bytes()) for each in found["cases"]]
    assert Counter(each["fault"] for each in cases) == dict.fromkeys(STAGES, 12)
