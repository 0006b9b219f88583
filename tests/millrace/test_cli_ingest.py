"""Laws about `millrace ingest` as a process: how a watch speaks and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.connection import Connection
from tests.millrace.workers import Run, indexing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_watch_prints_a_line_for_each_round_that_did_something_and_ends_well(
    embedded: Connection, tenant: str, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("one")
    environment = os.environ | {
        "MILLRACE_BOOTSTRAP": embedded.bootstrap,
        "MILLRACE_PROFILE": "embedded",
        "MILLRACE_OBJECTS": embedded.objects,
    }
    arguments = ["ingest", str(folder), "--tenant", tenant, "--watch", "--every", "0.3", "--wait", "--json"]
    command = [sys.executable, "-c", "import sys; from millrace.cli import main; sys.exit(main())", *arguments]
    with (
        indexing(embedded, tenant),
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process,
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


@pytest.mark.parametrize(("module", "arguments", "extra"), [("watchfiles", ("{folder}", "--watch"), "watch")])
def test_what_is_not_installed_is_named_with_its_extra(
    embedded: Connection, tmp_path: Path, module: str, arguments: tuple[str, ...], extra: str
) -> None:
    given = [argument.format(folder=tmp_path) for argument in arguments]
    command = [sys.executable, "-c", WITHOUT, module, "--bootstrap", embedded.bootstrap, "ingest", *given]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)
    assert done.returncode == 1
    assert f"pip install 'millrace[{extra}]'" in done.stderr
