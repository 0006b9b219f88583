"""Laws about the command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from millrace.cli import main
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.query import Citation, QueryReceived
from tests.millrace.workers import answering, completed, indexed, indexing, settled

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(embedded: Connection, tenant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command against the embedded broker; gives exit code, standard output and standard error."""
    monkeypatch.setenv("MILLRACE_BOOTSTRAP", embedded.bootstrap)
    monkeypatch.setenv("MILLRACE_PROFILE", "embedded")
    monkeypatch.setenv("MILLRACE_OBJECTS", embedded.objects)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        found = capsys.readouterr()
        return code, found.out, found.err

    return call


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
