"""Laws about the command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.query import AnswerDelta, Citation, Dropped, Hit, QueryReceived
from tests.millrace.workers import Run, answering, completed, indexed, indexing, settled


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "handbook"
    docs.mkdir()
    (docs / "leave.md").write_text("# Leave\n\nSixteen weeks.\n")
    (docs / "rivers.md").write_text("# Rivers\n\nThe Aare.\n")
    return docs


def cite(question: QueryReceived) -> Iterable[Event]:
    quote = Citation("leave.md", 3, "c1", "Leave", "Leave\x1b]0;owned\x07", 0, 5, "Sixteen\x1b[31m weeks\u202e.")
    return [completed(question, "Sixteen weeks [1].\x9b2J", citations=(quote,), timings_ms={"read": 1.5})]


def test_an_answer_is_printed_with_citations_and_without_terminal_commands(
    run: Run, embedded: Connection, tenant: str
) -> None:
    with answering(embedded, tenant, cite):
        code, out, err = run("ask", "how long?", "--tenant", tenant, "--as", "ada", "--groups", "staff,hr")
    assert (code, err) == (0, "")
    assert "Sixteen weeks [1]." in out
    assert "[1] leave.md#Leave (version 3): Sixteen weeks." in out
    assert "trace " in out
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(out)


def test_json_is_one_document_on_standard_output(run: Run, embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, cite):
        code, out, err = run("ask", "how long?", "--tenant", tenant, "--json")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["text"][:7], found["citations"][0]["document"]) == ("Sixteen", "leave.md")
    assert out.isascii()


def test_ingest_reports_every_outcome_and_says_when_some_are_rejected(
    run: Run, embedded: Connection, tenant: str, folder: Path
) -> None:
    def reject_rivers(change: Any) -> Iterable[Event]:
        if change.document == "rivers.md":
            return [settled(change, "rejected", "language", "no such language")]
        return [indexed(change)]

    with indexing(embedded, tenant, reject_rivers):
        code, out, err = run("ingest", str(folder), "--tenant", tenant, "--wait", "--json")
        found = json.loads(out)
        assert (code, err) == (3, "")
        assert {row["document"]: row["outcome"] for row in found["outcomes"]} == {
            "leave.md": "indexed",
            "rivers.md": "rejected",
        }
        code, out, _ = run("docs", "list", "--tenant", tenant, "--json")
        listed = {row["document"]: row for row in json.loads(out)["documents"]}
        assert code == 0
        assert listed["leave.md"]["status"] == "indexed"
        assert listed["leave.md"]["groups"] == ["*"]
        assert listed["rivers.md"]["status"] == "rejected"
        code, out, _ = run("docs", "list", "--tenant", tenant, "--status", "rejected")
        assert "language: no such language" in out
        code, out, _ = run("docs", "show", "leave.md", "--tenant", tenant)
        assert code == 0
        assert "visible: version 1" in out
        code, out, _ = run("acl", "grant", "leave.md", "staff", "--tenant", tenant, "--json")
        assert json.loads(out)["groups"] == ["*", "staff"]
        code, out, _ = run("docs", "rm", "leave.md", "--tenant", tenant, "--wait")
        assert (code, "leave.md: deleted" in out) == (0, True)


def test_without_a_stack_every_command_says_how_to_start_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MILLRACE_BOOTSTRAP", raising=False)
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    for command in (["ask", "hi"], ["topics"], ["docs", "list"], ["tail", "acl.changed"], ["dlq", "list"]):
        assert main([*command, "--json"]) == 4, command
        captured = capsys.readouterr()
        assert json.loads(captured.out)["error"]["type"] == "stack_not_found"
        assert "python -m infra up" in captured.err


def test_a_streamed_answer_is_printed_once_as_it_grows(run: Run, embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        for attempt, n, text in ((0, 0, "stale "), (1, 0, "a wide\x1b[31m "), (1, 1, "river")):
            yield AnswerDelta(tenant=tenant, correlation=question.meta.correlation_id, attempt=attempt, n=n, text=text)
        yield completed(question, "a wide river")

    with answering(embedded, tenant, behaviour):
        code, out, _ = run("ask", "what?", "--tenant", tenant, "--stream")
    assert code == 0
    assert out.startswith("stale \n(started anew)\na wide river\ntrace ")


def test_a_conversation_goes_on_from_its_last_answer_in_the_next_command(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / ".millrace"
    (home / "run").mkdir(parents=True)
    stack = {"format": 1, "bootstrap": embedded.bootstrap, "profile": "embedded", "home": str(home), "log_epoch": "e1"}
    (home / "stack.json").write_text(json.dumps(stack))
    monkeypatch.setenv("MILLRACE_HOME", str(home))

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        return [completed(question, watermark=f"after:{question.question}")]

    ask = ("--tenant", tenant, "--conversation", "c")
    with answering(embedded, tenant, behaviour) as worker:
        run("ask", "one", *ask)
        run("ask", "two", *ask, "--stream")
        run("ask", "three", *ask, "--watermark", "given")
        run("ask", "four", "--tenant", tenant, "--conversation", "other")
        run("ask", "five", "--tenant", tenant)
        (home / "stack.json").write_text(json.dumps(stack | {"log_epoch": "e2"}))
        run("ask", "six", *ask)
    assert [question.watermark for question in worker.seen] == ["", "after:one", "given", "", "", ""]
    assert [path.stat().st_mode & 0o777 for path in (home / "run").iterdir()] == [0o600]


def test_a_failed_question_is_exit_code_1_with_its_reason(run: Run, embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: []):
        code, out, err = run("ask", "what?", "--tenant", tenant, "--timeout", "0.3", "--json")
    assert (code, json.loads(out)["error"]["type"]) == (1, "deadline_exceeded")
    assert "millrace doctor" in err


def test_a_search_explains_what_was_dropped(run: Run, embedded: Connection, tenant: str) -> None:
    hits = (Hit("c1", "a.md", 2, 1, 0.9, 0.8, 7.0),)

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        assert (question.mode, question.explain, question.top_k, question.exact) == ("search", True, 3, True)
        return [completed(question, "", hits=hits, dropped=(Dropped("forbidden", 4),), watermark="w9")]

    arguments = ("search", "river", "--tenant", tenant, "--explain", "--exact", "--top-k", "3")
    with answering(embedded, tenant, behaviour):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "dropped: 4 forbidden" in out
        _, out, _ = run(*arguments, "--json")
    assert json.loads(out)["hits"][0]["chunk_id"] == "c1"


def test_a_receipt_travels_from_ingest_to_ask(run: Run, embedded: Connection, tenant: str, folder: Path) -> None:
    with indexing(embedded, tenant), answering(embedded, tenant, lambda question: [completed(question)]) as worker:
        _, out, _ = run("ingest", str(folder), "--tenant", tenant, "--groups", "a,b", "--groups", "c", "--json")
        receipt = json.loads(out)["receipt"]
        code, _, _ = run("ask", "what?", "--tenant", tenant, "--after", receipt)
        assert code == 0
        code, _, err = run("ask", "what?", "--tenant", tenant, "--after", receipt[:-9])
        assert (code, "receipt" in err) == (1, True)
    assert {(r.document, r.version, r.acl_version) for r in worker.seen[0].after} == {
        ("leave.md", 1, 1),
        ("rivers.md", 1, 1),
    }


def test_sync_that_would_delete_too_much_says_how_to_confirm(
    run: Run, embedded: Connection, tenant: str, folder: Path
) -> None:
    with indexing(embedded, tenant):
        run("ingest", str(folder), "--tenant", tenant, "--wait")
        (folder / "leave.md").unlink()
        code, _, err = run("ingest", str(folder), "--tenant", tenant, "--sync")
        assert (code, "repeat with --yes" in err) == (1, True)
        code, out, _ = run("ingest", str(folder), "--tenant", tenant, "--sync", "--yes", "--wait", "--json")
    assert (code, json.loads(out)["deleted"], json.loads(out)["counts"]) == (0, 1, {"deleted": 1})


def test_tenant_and_groups_come_from_the_settings_where_no_flag_names_them(
    run: Run, embedded: Connection, tenant: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "millrace.toml").write_text(f'[tenant]\nid = "{tenant}"\ngroups = ["staff", "board"]\n')
    with indexing(embedded, tenant), answering(embedded, tenant, lambda question: [completed(question)]):
        assert run("ingest", str(folder), "--wait")[0] == 0
        _, out, _ = run("docs", "list", "--json")
        assert (json.loads(out)["tenant"], len(json.loads(out)["documents"])) == (tenant, 2)
        assert "leave.md: board, staff (access version 1)" in run("acl", "show", "leave.md")[1]
        assert run("ask", "what?")[0] == 0
        assert run("docs", "show", "leave.md", "--tenant", f"{tenant}-other")[0] == 1
        monkeypatch.setenv("MILLRACE_TENANT__ID", f"{tenant}-third")
        assert run("trace", "leave.md")[0] == 1


def test_access_of_a_document_that_never_came_is_written_with_a_hint(run: Run, tenant: str) -> None:
    code, _, err = run("acl", "grant", "typo.md", "staff", "--tenant", tenant)
    assert (code, "no document 'typo.md'" in err) == (0, True)


@pytest.mark.parametrize("command", [["trace"], ["docs", "show"], ["docs", "rm"]], ids=" ".join)
def test_what_the_log_does_not_have_is_an_error_and_no_wrong_usage(run: Run, tenant: str, command: list[str]) -> None:
    code, out, _ = run(*command, "nothing.md", "--tenant", tenant, "--json")
    assert (code, json.loads(out)["error"]["type"]) == (1, "not_found")


def test_access_is_shown_and_set(run: Run, embedded: Connection, tenant: str) -> None:
    assert "nobody" in run("acl", "show", "a.md", "--tenant", tenant)[1]
    assert run("acl", "set", "a.md", "staff", "board", "--tenant", tenant)[0] == 0
    assert "a.md: board, staff (access version 1)" in run("acl", "show", "a.md", "--tenant", tenant)[1]
    code, out, _ = run("acl", "revoke", "a.md", "staff", "board", "--tenant", tenant, "--json")
    assert (code, json.loads(out)["groups"], json.loads(out)["acl_version"]) == (0, [], 2)
