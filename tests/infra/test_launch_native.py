"""The native profile as a whole: every server at once, every command on them, nothing left behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.capture import Database
from infra.launch.change_capture import database_url
from infra.launch.running import load_running
from infra.launch.status import read_status
from infra.launch.up import down, up
from infra.servers.triton.server import region_prefix
from infra.settings import Loaded, load, process_environment
from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.errors import MillraceError
from tests.conditions import eventually

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(400)]

MAPPING = """
name = "desk"
[tables."public.notes"]
title = "title"
content = ["body"]
"""
SERVERS = {"registry", "weaviate", "triton", "postgres", "connect"}
QUESTION = "What is the hotel limit?"


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[Loaded]:
    """Settings of a stack with all there is: passwords on Kafka, and a capture."""
    (tmp_path / "capture.toml").write_text(MAPPING)
    found = load(
        {
            "home": str(tmp_path / "home"),
            "profile": "native",
            "kafka": {"secured": True, "heap_mb": 256, "start_timeout_s": 120.0},
            "registry": {"timeout_s": 20.0},
            "capture": {"run": True, "mapping": str(tmp_path / "capture.toml")},
            "worker": {"ready_timeout_s": 120.0},
        }
    )
    yield found
    down(found.settings)


def command(loaded: Loaded, *arguments: str) -> Mapping[str, Any]:
    """What a command prints with ``--json``; its settings come by the environment, as a user's do."""
    run = subprocess.run(
        [sys.executable, "-m", "infra", *arguments, "--json"],
        capture_output=True, text=True, check=False, timeout=120,
        env=process_environment(**loaded.flags_as_variables()),
    )  # fmt: skip
    assert run.returncode == 0, f"{arguments}: {run.stdout}{run.stderr}"
    found: Mapping[str, Any] = json.loads(run.stdout)
    return found


def changed(loaded: Loaded, *statements: str) -> None:
    """Run statements in the stack's database."""
    stack = up(loaded).stack  # joins
    with contextlib.closing(Database.at(database_url(loaded.settings, stack)).connect()) as database:
        for statement in statements:
            database.cursor().execute(statement)


async def quoted(loaded: Loaded, text: str) -> None:
    """Wait until an answer quotes a text; what fails while servers come back is asked again."""
    async with Millrace(find_connection(home=loaded.settings.home, environ={})) as millrace:

        async def quotes() -> bool:
            with contextlib.suppress(MillraceError):
                return text in (await millrace.ask(QUESTION, timeout_s=20.0)).text
            return False

        await eventually(quotes, timeout_s=90.0)


def shared_memory_of(triton: Path) -> list[Path]:
    """What model processes of a Triton have left."""
    return list(Path("/dev/shm").glob(f"*{region_prefix(triton)}*"))  # noqa: S108 - where the system keeps it


@pytest.mark.usefixtures(
    "kafka_installed", "apicurio_installed", "weaviate_program", "triton_parts", "capture_installed"
)
async def test_every_server_starts_serves_comes_back_after_a_kill_and_ends(loaded: Loaded) -> None:
    home = loaded.settings.home
    stack = up(loaded).stack
    names = [record.name for record in stack.processes]
    assert set(names) == {"broker", "worker-1", *SERVERS}
    status = command(loaded, "status")
    assert (status["state"], {each["name"]: each["state"] for each in status["processes"]}) == (
        "running", dict.fromkeys(names, "ready")
    )  # fmt: skip
    assert all(each["memory_mb"] > 5 for each in status["processes"])
    assert set(stack.versions) >= {"kafka", *SERVERS}
    for private in ("weaviate-keys.json", "postgres/password", "kafka/secrets/admin.json", "stack.json"):
        assert (home / private).stat().st_mode & 0o077 == 0, private

    changed(
        loaded,
        "CREATE TABLE notes (id int PRIMARY KEY, title text, body text)",
        "INSERT INTO notes VALUES (1, 'Hotels', 'The hotel limit is 140 euros a night.')",
    )
    assert command(loaded, "capture") == {"connector": "millrace_desk_0", "tables": ["public.notes"]}
    await quoted(loaded, "140 euros")
    assert command(loaded, "topics")["drifts"] == []
    assert command(loaded, "register")["added"] == []

    for record in stack.servers:
        record.kill()
    gone = SERVERS - {"postgres"}
    found = read_status(loaded.settings)
    assert (found.state, {each.name for each in found.processes if each.state == "ended"}) == ("degraded", gone)
    again = up(loaded)
    assert (set(again.started), again.stack.ports["weaviate"]["rest"]) == (gone, stack.ports["weaviate"]["rest"])
    await quoted(loaded, "140 euros")
    changed(loaded, "UPDATE notes SET body = 'The hotel limit is 155 euros a night.'")
    await quoted(loaded, "155 euros")

    processes = [process for record in again.stack.processes if (process := record.find())]
    family = [*processes, *(child for process in processes for child in process.children(recursive=True))]
    said: list[str] = []
    assert set(down(load_running(home).settings, said.append)) == {"broker", "worker-1", *SERVERS}
    assert said == []
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]
    assert not shared_memory_of(home / "triton")
