"""Laws about how every command speaks."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace import __version__
from millrace.cli import app, main
from millrace.cli.output import NotInLog, UsageError, exit_code, one_line, plain, progress
from millrace.cli.times import start_of
from millrace.errors import RequestFailed, StackNotFound, Unavailable
from millrace.positions import Since

COMMANDS = [
    ["ingest"],
    ["ask"],
    ["search"],
    ["acl", "show"],
    ["acl", "grant"],
    ["acl", "revoke"],
    ["acl", "set"],
    ["docs", "list"],
    ["docs", "show"],
    ["docs", "rm"],
    ["feedback"],
    ["trace"],
    ["tail"],
    ["produce"],
    ["topics"],
    ["dlq", "list"],
    ["dlq", "show"],
    ["dlq", "replay"],
    ["doctor"],
    ["version"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_and_a_json_form(command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert f"Example: millrace {' '.join(command)}" in " ".join(result.output.split())
    assert "--json" in result.output


def test_the_help_names_every_command_and_the_exit_codes() -> None:
    output = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for command in COMMANDS:
        assert command[0] in output
    assert "Exit codes: 0 ok, 1 error, 2 usage, 3 documents not sent, rejected or failed, 4 no stack" in output


@pytest.mark.parametrize(
    "arguments",
    [
        ["ask"],
        ["nonsense"],
        ["ask", "q", "--top-k", "0"],
        ["ingest", ".", "--label", "x"],
        ["ingest", "nowhere"],
        ["ask", "q", "--no"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_one_json_document(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().out == ""
    assert main([*arguments, "--json"]) == 2
    captured = capsys.readouterr()
    error = json.loads(captured.out)["error"]
    assert error["type"] == "usage"
    assert error["message"]
    assert f"error (usage): {error['message']}" in captured.err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["millrace"] == __version__


def test_a_broker_that_is_gone_is_exit_code_1_with_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["ask", "q"], ["topics"], ["docs", "list"], ["acl", "grant", "a", "b"]):
        assert main(["--bootstrap", "127.0.0.1:1", *command, "--json"]) == 1
        captured = capsys.readouterr()
        assert json.loads(captured.out)["error"]["type"] == "unavailable"
        assert "python -m infra status" in captured.err


def test_exit_codes_follow_the_error_tree() -> None:
    errors = (StackNotFound("x"), UsageError("x"), Unavailable("x"), RequestFailed("late", "x"), NotInLog("x"))
    assert [int(exit_code(error)) for error in errors] == [4, 2, 1, 1, 1]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_text_reaches_the_terminal_as_a_command(text: str) -> None:
    shown = plain(text)
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert "\n" not in one_line(text)
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("a\x1b]0;title\x07b", "ab"),
        ("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("a\x9b2Jb", "ab"),
        ("a\x1bcb", "ab"),
        ("a\rb\x08c", "abc"),
        ("line\n\ttab", "line\n\ttab"),
        ("Zürich 東京 🎉", "Zürich 東京 🎉"),
        ("[bold]not markup[/bold] :smile:", "[bold]not markup[/bold] :smile:"),
    ],
)
def test_terminal_commands_are_taken_out_whole(text: str, shown: str) -> None:
    assert plain(text) == shown


class Terminal:
    """Standard error that says it is a terminal."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def test_progress_shows_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)  # here, because pytest sets its own between fixtures and test
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading") as report:
        report(1, 2)
        report(2, 2, "almost\x1b[31m there")
    assert "almost there" in terminal.written


def test_progress_is_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading") as report:
        report(1, 2)
    captured: Any = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_positions_are_named_as_people_do() -> None:
    assert (start_of("beginning"), start_of("end")) == ("beginning", "end")
    assert start_of("2026-01-31T12:00:00+00:00") == Since(1_769_860_800_000)
    later, earlier = start_of("1h"), start_of("2h")
    assert isinstance(later, Since)
    assert isinstance(earlier, Since)
    assert 3_590_000 < later.timestamp_ms - earlier.timestamp_ms < 3_610_000
    with pytest.raises(UsageError, match="no position"):
        start_of("yesterday")
