"""The parts of P10 run, on a tiny corpus and the embedded broker; identity is no matter of size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.datasets import FILES
from bench.replay.beside import beside
from bench.replay.identity import identity, recall
from bench.replay.reading import reading
from bench.replay.recording import Sizes, drawn, record
from bench.replay.versions import versions
from millrace.evaluation.questions import KnownQuestion
from tests.system.stacks import System, embedded_system

N_QUESTIONS = 12


def article(title: str, n_paragraphs: int) -> dict[str, object]:
    """Paragraphs of which each answers one question."""
    paragraphs = []
    for n in range(n_paragraphs):
        text = (
            f"The lock keeper of {title} opens gate {n} at {n + 5} o'clock, unless the water of the canal is too low. "
        )
        text += f"Boats that wait at gate {n} of {title} tie up at the northern pier until the signal turns green."
        answer = f"{n + 5} o'clock"
        paragraphs.append({
            "context": text,
            "qas": [{
                "id": f"{title}-{n}",
                "question": f"When is gate {n} of {title} opened?",
                "answers": [{"text": answer, "answer_start": text.index(answer)}],
            }],
        })  # fmt: skip
    return {"title": title, "paragraphs": paragraphs}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Data sets in SQuAD's format."""
    for name, titles in (("xquad", ("Emden", "Kiel", "Lehe")), ("policyqa", ("Bremen", "Husum"))):
        path = tmp_path / FILES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"data": [article(title, 4) for title in titles]}))
    return tmp_path


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[System]:
    """A stack of its own: all questions on its log are the benchmark's."""
    with embedded_system(tmp_path / "home") as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_part_measures_something(stack: System, data: Path, tmp_path: Path) -> None:
    connection = stack.connection
    async with stack.inside(name="bench"):
        recorded = await record(connection, data, Sizes(N_QUESTIONS, 0))
        assert recorded.n_changes >= 2
        same = await identity(connection, recorded, hashing=True)
        assert [check.measured for check in same.checks] == [1.0]
        assert same.numbers["identical chunk ids as of now"] < N_QUESTIONS
        near = await recall(connection, recorded, hashing=True)
        assert near.numbers["approximate mode: questions"] == N_QUESTIONS
        read = await reading(connection, 1)
        assert read.checks[0].measured > 0
        kept = await versions(connection, recorded, tmp_path)
        assert kept.numbers["superseded versions in the visibility table"] >= recorded.n_changes
        live = await beside(connection, recorded, 4, hashing=True)
        assert live.numbers["live questions with and without a replay"] == 4


def test_of_more_questions_than_there_are_all_are_asked_before_one_is_asked_again() -> None:
    there = [KnownQuestion(id=str(n), question=f"What is {n}?") for n in range(5)]
    found = drawn(there, 12)
    assert len(found) == 12
    for start in (0, 5):
        assert sorted(each.id for each in found[start : start + 5]) == list("01234")
    assert len({each.id for each in found[10:]}) == 2
