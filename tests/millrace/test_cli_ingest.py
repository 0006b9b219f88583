"""Laws about `millrace ingest` as a process: how a watch speaks and ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.ingest import News, expanded
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.corpus import SourceChanged
from millrace.ingest.run import Report
from millrace.ingest.source import Skipped
from tests.millrace.workers import Run, indexed, indexing, settled


def environment_of(embedded: Connection) -> dict[str, str]:
    return os.environ | {
        "MILLRACE_BOOTSTRAP": embedded.bootstrap,
        "MILLRACE_PROFILE": "embedded",
        "MILLRACE_OBJECTS": embedded.objects,
        "MILLRACE_INGEST_STATE": f"{embedded.objects}-state",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_prints_a_line_for_each_round_that_did_something_and_ends_well(
    embedded: Connection, tenant: str, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("one")
    arguments = ["ingest", str(folder), "--tenant", tenant, "--watch", "--every", "0.3", "--wait", "--json"]
    command = [sys.executable, "-c", "import sys; from millrace.cli import main; sys.exit(main())", *arguments]
    with (
        indexing(embedded, tenant),
        subprocess.Popen(command, env=environment_of(embedded), stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        while not first["sent"]:  # the file was put off because it was just written
            first = json.loads(process.stdout.readline())
        (folder / "b.md").write_text("two")
        second = json.loads(process.stdout.readline())
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stdout.read() == ""
    assert [outcome["document"] for outcome in first["outcomes"] + second["outcomes"]] == ["a.md", "b.md"]


def test_what_the_first_rounds_put_off_is_told_and_a_later_round_without_changes_is_not() -> None:
    news = News()
    fresh, rested = Report(n_put_off=2), Report(n_found=2, n_unchanged=2)
    assert [news.has(report) for report in (fresh, fresh, rested, rested)] == [True, False, True, False]
    assert not news.has(Report(n_found=1, n_unchanged=1, n_put_off=1))
    assert news.has(Report(n_found=2, skipped=[Skipped("a.md", "undecodable", "byte 0 is not UTF-8")]))


def test_what_is_still_rejected_is_told_with_its_reason_and_code(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("one")
    with indexing(embedded, tenant, lambda change: [settled(change, "rejected", "broken", "mend it")]):
        run("ingest", str(folder), "--tenant", tenant, "--wait")
        code, out, _ = run("ingest", str(folder), "--tenant", tenant, "--wait")
        _, data, _ = run("ingest", str(folder), "--tenant", tenant, "--wait", "--json")
    assert code == 3
    assert "still rejected (broken): a.md: mend it" in out
    assert "0 sent (0 bytes), 1 unchanged" in out
    assert [row["reason"] for row in json.loads(data)["still_rejected"]] == ["broken"]


def test_files_of_other_formats_are_counted(run: Run, embedded: Connection, tenant: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a.md", "b.json", "c.json", "d.png"):
        (folder / name).write_text("{}")
    with indexing(embedded, tenant):
        code, out, _ = run("ingest", str(folder), "--tenant", tenant, "--wait")
        _, data, _ = run("ingest", str(folder), "--tenant", tenant, "--json")
    assert code == 0
    assert "2 .json, 1 .png" in out
    assert json.loads(data)["passed_over"] == {".json": 2, ".png": 1}


def test_a_watch_tells_of_a_rejected_document_once(embedded: Connection, tenant: str, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "bad.md").write_text("one")

    def behaviour(change: SourceChanged) -> list[Event]:
        return [settled(change, "rejected", "broken") if change.document == "bad.md" else indexed(change)]

    arguments = ["ingest", str(folder), "--tenant", tenant, "--watch", "--every", "0.1", "--wait", "--json"]
    command = [sys.executable, "-c", "import sys; from millrace.cli import main; sys.exit(main())", *arguments]
    with (
        indexing(embedded, tenant, behaviour),
        subprocess.Popen(command, env=environment_of(embedded), stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        while not first["sent"]:
            first = json.loads(process.stdout.readline())
        (folder / "b.md").write_text("two")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert [row["outcome"] for row in first["outcomes"]] == ["rejected"]
    assert [row["document"] for row in second["outcomes"]] == ["b.md"]
    assert [row["document"] for row in second["still_rejected"]] == ["bad.md"]


def test_a_database_is_read_with_its_url_from_the_environment(
    run: Run, embedded: Connection, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("create table notes (id integer primary key, body text)")
        database.execute("insert into notes values (1, 'Hello.')")
        database.commit()
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path}/shop.db")
    monkeypatch.setenv("MILLRACE_INGEST_STATE", str(tmp_path / "state"))
    arguments = ("${SHOP}", "--table", "notes", "--column", "content=body", "--tenant", tenant, "--wait", "--json")
    with indexing(embedded, tenant):
        code, out, err = run("ingest", *arguments)
    assert (code, err) == (0, "")
    assert [outcome["document"] for outcome in json.loads(out)["outcomes"]] == ["notes/1"]
    assert list((tmp_path / "state").glob("shop.notes-*.json"))


def test_a_password_from_the_environment_may_hold_any_character() -> None:
    environment = {"SECRET": "p@ss/word", "URL": "sqlite:///x.db"}
    assert expanded("postgresql://ada:${SECRET}@host/db", environment) == "postgresql://ada:p%40ss%2Fword@host/db"
    assert expanded("${URL}", environment) == "sqlite:///x.db"
    assert expanded("$HOME/notes", environment) == "$HOME/notes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("${NO_SUCH_NAME}",), "${NO_SUCH_NAME} is not set"),
        (("sqlite:///x.db",), "--table"),
        (("sqlite:///x.db", "--table", "t", "--column", "id=a"), "known are cursor, key"),
        (("http://127.0.0.1/", "--allow-network", "here"), "10.1.0.0/16"),
        (("nowhere",), "does not exist"),
        ((".", "--table", "t"), "name its URL"),
        (("https://example.com/", "--exclude", "x"), "choose files and objects"),
    ],
)
def test_what_means_nothing_is_refused_with_a_remedy(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run("ingest", *arguments)
    assert code in {1, 2}
    assert message in err


def test_an_address_that_means_nothing_is_one_json_document(run: Run) -> None:
    code, out, _ = run("ingest", "http://[::1", "--json")
    assert code == 1
    assert json.loads(out)["error"]["type"] == "rejected"


def test_every_is_refused_without_watch(run: Run, tmp_path: Path) -> None:
    code, _, err = run("ingest", str(tmp_path), "--every", "5")
    assert code == 2
    assert "--watch" in err


WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from millrace.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("module", "arguments", "extra"),
    [
        ("watchfiles", ("{folder}", "--watch"), "watch"),
        ("feedparser", ("https://example.com/feed",), "web"),
        ("protego", ("https://example.com/feed",), "web"),
        ("obstore", ("file://{folder}",), "objects"),
        ("dlt", ("sqlite:///{folder}/x.db", "--table", "t"), "sql"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    embedded: Connection, tmp_path: Path, module: str, arguments: tuple[str, ...], extra: str
) -> None:
    given = [argument.format(folder=tmp_path) for argument in arguments]
    command = [sys.executable, "-c", WITHOUT, module, "--bootstrap", embedded.bootstrap, "ingest", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode == 1
    assert f"pip install 'millrace[{extra}]'" in done.stderr
