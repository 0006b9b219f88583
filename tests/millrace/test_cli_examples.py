"""Laws about `millrace examples`: what it shows, what it exports, that `millrace eval` reads it, and what it checks."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Iterable
from pathlib import Path

import pytest

from millrace.client import Millrace
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.corpus import AclChanged, ChunkRef, DocumentIndexed
from millrace.events.learn import ExampleCurated
from millrace.events.query import AnswerProduced, Citation, Hit, QueryReceived
from millrace.examples.content import ExampleContent
from millrace.objects import ObjectFolder
from millrace.withdrawal import withdrawn as withheld
from tests.millrace.examples.curated_examples import content, curated, withdrawn
from tests.millrace.workers import Run, answering, completed

LONG = content("How long is leave?", "Sixteen weeks.", "a.md")
FAR = content("How far is it?", "Two \x1b[31mmiles.", "b.md")
MAIL = content("Whom do I ask?", "Ask jane@example.org.", "c.md")


class Log:
    """Writes events of one tenant, and objects."""

    def __init__(self, connection: Connection, tenant: str) -> None:
        self._connection, self.tenant = connection, tenant
        self.objects = ObjectFolder(Path(connection.objects), flush=False)

    def write(self, *events: Event) -> None:
        async def produce() -> None:
            async with Millrace(self._connection) as client:
                for event in events:
                    await client.produce(event)

        asyncio.run(produce())

    def example(self, texts: ExampleContent, **fields: object) -> ExampleCurated:
        self.objects.put_sync(texts.encode())
        return curated(texts, self.tenant, **fields)


@pytest.fixture
def log(embedded: Connection, tenant: str) -> Log:
    return Log(embedded, tenant)


def test_examples_that_count_are_listed_and_shown_with_what_they_came_from(run: Run, log: Log) -> None:
    first = log.example(LONG, causes=("quality", "proposal"))
    gone, other = log.example(MAIL, source="approved"), log.example(FAR, split="train")
    log.write(first, gone, other, withdrawn(gone))
    code, out, err = run("examples", "list", "--tenant", log.tenant, "--json")
    assert (code, err) == (0, "")
    assert [(row["example"], row["split"]) for row in json.loads(out)["examples"]] == [
        (first.example, "eval"), (other.example, "train"),
    ]  # fmt: skip
    code, out, _ = run("examples", "list", "--tenant", log.tenant, "--split", "train")
    assert (code, first.example in out, other.example in out) == (0, False, True)
    assert f"1 examples of tenant {log.tenant} taken: 1 train" in out
    code, out, _ = run("examples", "list", "--tenant", log.tenant, "--rejected")
    assert (code, gone.example in out, "not taken: 1 disliked" in out) == (0, True, True)
    code, out, _ = run("examples", "show", other.example, "--tenant", log.tenant)
    assert (code, "\x1b" in out, "target: Two miles." in out) == (0, False, True)
    code, out, _ = run("examples", "show", first.example, "--tenant", log.tenant, "--json")
    found = json.loads(out)
    assert (found["causes"], found["content"]["question"]) == (["quality", "proposal"], LONG.question)
    code, out, err = run("examples", "show", gone.example, "--tenant", log.tenant)
    assert (code, "it was rejected: disliked" in err) == (1, True)


def test_examples_of_a_document_that_was_withdrawn_or_deleted_count_no_more_until_it_is_back(
    run: Run, log: Log, tmp_path: Path
) -> None:
    def listed() -> tuple[list[str], str]:
        code, out, err = run("examples", "list", "--tenant", log.tenant, "--json")
        assert code == 0
        return [row["document"] for row in json.loads(out)["examples"]], err

    def acl(document: str, version: int, *groups: str) -> AclChanged:
        return AclChanged(tenant=log.tenant, document=document, version=version, groups=groups)

    one = log.example(LONG)
    log.write(one, log.example(FAR), log.example(MAIL), acl("a.md", 1, "*"))
    log.write(DocumentIndexed(tenant=log.tenant, document="b.md", version=1), acl("c.md", 1))
    assert listed() == (["a.md", "b.md", "c.md"], ""), "the control; a document that nobody may read yet is not gone"
    deleted = DocumentIndexed(tenant=log.tenant, document="b.md", version=2, deleted=True)
    log.write(acl("a.md", 2, *withheld(["*", "hr"])), deleted, acl("a.md", 1, "*"))  # the last one comes late
    log.write(*(acl("c.md", 2, *withheld(["*"])).replace(tenant=f"{log.tenant}-other{n}") for n in range(16)))
    assert listed() == (["c.md"], "2 examples do not count, because their documents were withdrawn or deleted\n")
    path = tmp_path / "questions.jsonl"
    run("examples", "export", str(path), "--tenant", log.tenant)
    assert [json.loads(line)["question"] for line in path.read_text().splitlines()] == [MAIL.question]
    code, _, err = run("examples", "show", one.example, "--tenant", log.tenant)
    assert (code, "its document 'a.md' was withdrawn or deleted" in err) == (1, True)
    log.write(acl("a.md", 3, "hr"))
    assert listed()[0] == ["a.md", "c.md"]


def answer(question: QueryReceived) -> Iterable[Event]:
    """Everything is answered from a.md, with the sentence that is right for one question."""
    hits = (Hit("c1", "a.md", 1, 1, 0.9, 0.8, 3.0),)
    quotes = (Citation("a.md", 1, "c1", "", "", 0, 14, "Sixteen weeks."),)
    yield AnswerProduced(
        tenant=question.tenant, conversation=question.conversation, correlation=question.meta.correlation_id,
        status="answered", confidence=0.9,
    )  # fmt: skip
    yield completed(question, "Sixteen weeks.", hits=hits, citations=quotes)


def test_what_is_exported_is_asked_by_eval_and_grows_with_the_log(
    run: Run, log: Log, embedded: Connection, tmp_path: Path
) -> None:
    parsed = log.objects.put_sync(b"Sixteen weeks.")
    chunk = ChunkRef("c1", 0, 14, 0, 0)
    log.write(
        DocumentIndexed(tenant=log.tenant, document="a.md", version=1, headings=("",), chunks=(chunk,), text=parsed),
        log.example(LONG),
        log.example(MAIL, split="train"),
        curated(content("Erased?"), log.tenant),
    )
    path = tmp_path / "sets" / "questions.jsonl"
    code, out, err = run("examples", "export", str(path), "--tenant", log.tenant)
    assert (code, f"1 eval examples of tenant {log.tenant} written" in out) == (0, True)
    assert err == "1 examples are left out, because their texts were erased\n"
    log.write(log.example(FAR))
    code, out, _ = run("examples", "export", str(path), "--tenant", log.tenant, "--json")
    assert {name: json.loads(out)[name] for name in ("n", "n_missing", "n_masked")} == {
        "n": 2, "n_missing": 1, "n_masked": 0,
    }  # fmt: skip
    with answering(embedded, log.tenant, answer) as worker:
        code, out, err = run("eval", str(path), "--json")
    assert code == 0, err
    assert {question.question for question in worker.seen} == {LONG.question, FAR.question}
    found = json.loads(out)
    assert (found["n"], found["n_failed"], found["answers"]["em"]) == (2, 0, 0.5)
    assert [each["id"] for each in found["run"]["judgements"]] == [curated(LONG).example, curated(FAR).example]


def test_rows_to_train_on_are_those_of_the_other_split(run: Run, log: Log, tmp_path: Path) -> None:
    log.write(log.example(LONG), log.example(FAR, split="train"))
    path = tmp_path / "train.jsonl"
    path.touch()  # it may be there from before, readable by all
    path.chmod(0o644)
    code, _, _ = run("examples", "export", str(path), "--tenant", log.tenant, "--split", "train")
    [row] = map(json.loads, path.read_text().splitlines())
    assert (code, row["question"], row["context"][0]["document"]) == (0, FAR.question, "b.md")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_check_fails_on_what_should_not_be_trained_on(run: Run, log: Log) -> None:
    log.write(log.example(LONG), log.example(FAR))
    code, out, err = run("examples", "check", "--tenant", log.tenant)
    assert (code, err) == (0, "")
    assert f"2 examples of tenant {log.tenant}: nothing wrong" in out
    log.write(log.example(MAIL), curated(content("Erased?"), log.tenant))
    code, out, err = run("examples", "check", "--tenant", log.tenant)
    assert (code, "personal_data: it holds EMAIL_ADDRESS" in out, "jane" in out) == (1, True, False)
    assert err == "1 examples were not looked at, because their texts were erased\n"
    code, out, _ = run("examples", "check", "--tenant", log.tenant, "--json")
    assert (code, json.loads(out)["found"]) == (1, {"personal_data": 1})
    code, _, _ = run("examples", "check", "--tenant", log.tenant, "--finder", "none")
    assert code == 0


def test_what_cannot_look_for_personal_data_is_no_clean_result(run: Run, log: Log) -> None:
    code, _, err = run("examples", "check", "--tenant", log.tenant, "--finder", "no_such_module:Finder")
    assert (code, "--finder none" in err) == (2, True)
