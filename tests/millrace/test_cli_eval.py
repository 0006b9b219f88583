"""Laws about `millrace eval`: what it asks, what it prints, and with which exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.corpus import ChunkRef, DocumentIndexed
from millrace.events.query import AnswerFailed, AnswerProduced, Citation, Hit, QueryReceived
from tests.millrace.workers import Run, answering, completed

QUESTIONS = (
    {"id": "first", "question": "right first", "doc": "a.md", "spans": [[2, 5]]},
    {"id": "second", "question": "right second", "doc": "a.md", "spans": [[2, 5]], "groups": ["hr"]},
    {"id": "nothing", "question": "nothing", "answers": [], "labels": {"team": "x"}},
)
HITS = (Hit("c1", "a.md", 1, 1, 0.9, 0.8, 3.0), Hit("c2", "a.md", 1, 2, 0.5, 0.4, 1.0))


def file_of(tmp_path: Path, rows: Sequence[object] = QUESTIONS) -> str:
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def answer(question: QueryReceived) -> Iterable[Event]:
    """Chunk c1 is right: it comes first, second, or there is no answer."""
    found = question.question != "nothing"
    ordered = HITS if question.question != "right second" else HITS[::-1]
    hits = tuple(Hit(h.chunk_id, h.document, 1, place, h.score, 0, 0) for place, h in enumerate(ordered, 1))
    quotes = (Citation("a.md", 1, "c1", "", "", 0, 6, "The \x1b[31mquote."),) if found else ()
    correlation = question.meta.correlation_id
    yield AnswerProduced(
        tenant=question.tenant, conversation=question.conversation, correlation=correlation,
        status="answered" if found else "not_found", confidence=0.9 if found else 0.2,
    )  # fmt: skip
    yield completed(question, found=found, hits=hits, citations=quotes, timings_ms={"read": 2.0})


@pytest.fixture
def tenant(embedded: Connection, tenant: str) -> str:
    """A tenant whose document a.md has two chunks."""
    chunks = (ChunkRef("c1", 0, 10, 0, 0), ChunkRef("c2", 10, 20, 0, 0))

    async def write() -> None:
        async with Millrace(embedded) as client:
            await client.produce(
                DocumentIndexed(tenant=tenant, document="a.md", version=1, headings=("",), chunks=chunks)
            )

    asyncio.run(write())
    return tenant


def test_every_question_is_asked_once_as_its_line_and_the_options_say(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    with answering(embedded, tenant, answer) as worker:
        code, out, err = run(
            "eval", file_of(tmp_path), "--tenant", tenant, "--as", "ada", "--groups", "staff", "--label", "site=x",
            "--top-k", "20", "--json",
        )  # fmt: skip
    found = json.loads(out)
    assert (code, err) == (0, "")
    asked = {question.question: question for question in worker.seen}
    assert len(worker.seen) == len(asked) == 3
    assert all(question.explain and question.top_k == 20 and question.user == "ada" for question in worker.seen)
    assert asked["right first"].groups == ("staff",)
    assert asked["right second"].groups == ("hr",)
    assert asked["nothing"].labels == {"site": "x", "team": "x"}
    assert found["retrieval"]["recall@1"] == 0.5
    assert found["retrieval"]["recall@5"] == 1.0
    assert found["answers"]["sentence_top1"] == 1.0
    assert found["answers"]["refused_unanswerable"] == 1.0
    assert found["answers"]["no_answer_auroc"] == 1.0
    assert found["latency_ms"]["read"]["p50"] == 2.0
    assert [each["signal"] for each in found["run"]["judgements"]] == [0.9, 0.9, 0.2]


def test_the_table_shows_values_with_intervals_and_a_missed_requirement_is_exit_code_1(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    saved = tmp_path / "runs" / "run.json"
    with answering(embedded, tenant, answer):
        command = ("eval", file_of(tmp_path), "--tenant", tenant, "--save", str(saved))
        code, out, err = run(*command, "--require", "r@1=0.8", "--require", "r@5=0.8")
    assert code == 1
    assert "0.500 [0.000, 1.000]" in out
    assert "stages, p50: read 2.0 ms" in out
    assert err.splitlines() == ["missed: recall@1 >= 0.8: found 0.5"]
    html = tmp_path / "report.html"
    code, out, err = run("eval", "--saved", str(saved), "--against", str(saved), "--html", str(html))
    assert (code, err) == (0, "")
    assert "+0.000 [+0.000, +0.000]" in out
    assert "no clear difference" in out
    assert "right chunk at place 2" in html.read_text()
    assert "\x1b" not in out


def test_questions_that_fail_are_counted_and_are_exit_code_1(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    def fail_one(question: QueryReceived) -> Iterable[Event]:
        if question.question != "right first":
            return answer(question)
        correlation = question.meta.correlation_id
        return [AnswerFailed(tenant=question.tenant, correlation=correlation, error_type="internal", message="broke")]

    with answering(embedded, tenant, fail_one):
        code, out, err = run("eval", file_of(tmp_path), "--tenant", tenant, "--json")
    found = json.loads(out)
    assert (code, found["n_failed"], found["errors"]) == (1, 1, {"internal": 1})
    assert "1 of 3 questions failed: internal: broke" in err
    assert found["retrieval"]["recall@5"] == 0.5


def test_a_question_that_may_be_asked_again_is(run: Run, embedded: Connection, tenant: str, tmp_path: Path) -> None:
    seen = 0

    def once_not_ready(question: QueryReceived) -> Iterable[Event]:
        nonlocal seen
        seen += 1
        if seen > 1:
            return answer(question)
        correlation = question.meta.correlation_id
        busy = AnswerFailed(tenant=question.tenant, correlation=correlation, error_type="not_ready", message="wait")
        return [busy.replace(retry_after_ms=1)]

    with answering(embedded, tenant, once_not_ready):
        code, _, err = run("eval", file_of(tmp_path, QUESTIONS[:1]), "--tenant", tenant)
    assert (code, err, seen) == (0, "", 2)


def test_right_documents_that_the_index_does_not_have_are_named(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    rows = [*QUESTIONS, {"question": "where?", "doc": "missing.md", "type": "x"}]
    with answering(embedded, tenant, answer):
        code, _, err = run("eval", file_of(tmp_path, rows), "--tenant", tenant)
    assert code == 0
    assert "1 lines have a field 'type'" in err
    assert "1 right documents are not in the index, such as missing.md" in err


def test_usage_is_checked_before_anything_is_asked(run: Run, tmp_path: Path) -> None:
    questions = file_of(tmp_path)
    assert run("eval")[0] == 2
    assert run("eval", questions, "--saved", "run.json")[0] == 2
    code, _, err = run("eval", questions, "--require", "recall@7=1")
    assert code == 2
    assert "there is no measure 'recall@7'" in err
    assert run("eval", questions, "--against", str(tmp_path / "missing.json"))[0] == 1
    assert run("eval", questions, "--top-k", "5")[0] == 2


def test_questions_that_cannot_be_read_are_one_json_document(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"question": ' + "[" * 20_000)
    code, out, _ = run("eval", str(path), "--json")
    assert code == 1
    assert "recursion" in json.loads(out)["error"]["message"]
