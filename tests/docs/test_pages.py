"""The documentation says what is so: its examples run, and its links lead somewhere."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.docs.pages import ROOT, anchors, links, pages, run, steps, unseen

INSTALLED = {
    "kafka": "kafka_installed",
    "registry": "apicurio_installed",
    "triton": "triton_parts",
    "weaviate": "weaviate_program",
}
"""Fixtures that fetch a server, and skip where it cannot be had."""


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _runnable() -> list[Any]:
    """Pages that are run: those at the top hold fragments and instructions to people."""
    found = [(page, page.read_text()) for page in pages()]
    return [
        pytest.param(page, id=_name(page), marks=_marks(text))
        for page, text in found
        if page.parent != ROOT and any(steps(text))
    ]


def _servers(text: str) -> list[str]:
    """Servers that a page lets the launcher start: ``<!-- servers: kafka registry -->``."""
    return [name for names in re.findall(r"^<!-- servers: (.+) -->$", text, re.MULTILINE) for name in names.split()]


def _marks(text: str) -> list[pytest.MarkDecorator]:
    """What a page needs beside the embedded stack: a Kafka of its own, or other servers."""
    servers = _servers(text)
    kafka = any(name in text for name in ("$KAFKA", "$DATABASE")) or "kafka" in servers
    native = any(name in text for name in ("$DATABASE", "$WEAVIATE")) or set(servers) - {"kafka"}
    chosen = [pytest.mark.kafka] if kafka else []
    return [*chosen, pytest.mark.native, pytest.mark.timeout(1800)] if native else chosen


def _terminal() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "PYTEST_"))}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "CHECKOUT": str(ROOT), "COLUMNS": "200"}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A terminal in an empty folder, with the virtual environment active; a stack that a page starts there is ended."""
    found = _terminal()
    yield found
    for worker in tmp_path.rglob("*.pid"):  # of a page that failed before it ended what it had started
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(int(worker.read_text()))
            if Path(process.cwd()).is_relative_to(tmp_path):
                process.terminate()
    for stack in tmp_path.rglob("stack.json"):
        down = ["python", "-m", "infra", "down", "--home", str(stack.parent)]
        subprocess.run(down, cwd=tmp_path, env=found, check=True, capture_output=True, timeout=60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", _runnable())
def test_the_examples_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    text = page.read_text()
    if "$DATABASE" in text:
        chain = request.getfixturevalue("capture_chain")
        connect = f"http://{chain.connect.address('rest')}"
        environment |= {"KAFKA": chain.bootstrap, "DATABASE": chain.postgres.url, "CONNECT": connect}
    elif "$KAFKA" in text:
        environment["KAFKA"] = request.getfixturevalue("start_kafka")().bootstrap
    if "$WEAVIATE" in text:
        weaviate = request.getfixturevalue("weaviate")
        environment |= {"WEAVIATE": weaviate.address.url, "WEAVIATE_GRPC": weaviate.address.grpc}
        environment |= {"WEAVIATE_KEY": weaviate.keys.worker, "COLLECTION": weaviate.collection}
    for name in _servers(text):
        request.getfixturevalue(INSTALLED[name])
    environment["MILLRACE_MODELS__EMBEDDER"] = "minilm" if "<!-- embedder: minilm -->" in text else "hashing"
    for step in steps(text):
        wrong = run(step, tmp_path, environment)
        assert not wrong, f"{_name(page)}, {wrong}"


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in links(page.read_text()):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{_name(page)} links to {link}"
        assert not anchor or anchor in anchors(found.read_text()), f"{_name(page)} links to {link}"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    reached = {(index.parent / link.partition("#")[0]).resolve() for link in links(index.read_text())}
    missing = {_name(page) for page in ROOT.glob("docs/*/*.md")} - {_name(page) for page in reached}
    assert not missing, f"docs/README.md does not link to {sorted(missing)}"


def test_a_page_whose_command_fails_or_prints_something_else_is_noticed(tmp_path: Path) -> None:
    commands = "```console\n$ echo one\none\n$ echo two; false\n$ echo three\nfour\n```\n"
    program = "```python\nprint(5)\n```\n```text\n6\n```\n"
    wrong = [bool(run(step, tmp_path, _terminal())) for step in steps(commands + program)]
    assert wrong == [False, True, True, True]


def test_expected_lines_are_sought_in_order_and_dots_stand_for_anything() -> None:
    printed = "id   4711  ready\nend\n"
    assert unseen(("id ... ready", "end"), printed) is None
    assert unseen(("end", "id"), printed) == "id"
    assert unseen(("id ... gone",), printed) == "id ... gone"
