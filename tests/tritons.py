"""Triton for tests: one server with the embedding model that a test process shares, and servers for a single test.

- `triton` is the shared one; nobody harms it.
- `start_triton` starts one for a single test, to be killed, cut off or restarted, on a repository of its own.

Tests that ask for either are marked `native`, and skipped, loudly, where Triton cannot be installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest

from inference.minilm.artefact import Artefact
from inference.model_repository import ServingPolicy, write_model
from infra.servers.triton import TritonParts, TritonServer, install_triton
from infra.settings import load, process_environment
from millrace.errors import ConfigurationError

_GATE = """

import time

_execute = TritonPythonModel.execute


def _wait_at_gate(self, requests):
    gate = Path(__file__).parent.parent / "closed"
    while gate.exists():
        time.sleep(0.002)
    return _execute(self, requests)


TritonPythonModel.execute = _wait_at_gate
"""


class StartTriton(Protocol):
    """Starts a server for one test; see `TritonServer` for its arguments."""

    def __call__(self, repository: Path, models: Sequence[str], **options: Any) -> TritonServer: ...


@pytest.fixture(scope="session")
def triton_parts() -> TritonParts:
    """The installed server; skips where it cannot be had."""
    try:
        return _installed()
    except ConfigurationError as error:
        pytest.skip(f"Triton skipped: {error}")


@pytest.fixture(scope="session")
def triton(
    tmp_path_factory: pytest.TempPathFactory, triton_parts: TritonParts, artefact: Artefact
) -> Iterator[TritonServer]:
    """The server of this test process, with both lanes of the embedding model."""
    folder = tmp_path_factory.mktemp("triton")
    models = write_model(folder / "repository", artefact, environment=triton_parts.environment)
    server = TritonServer(
        folder / "server",
        parts=triton_parts,
        repository=folder / "repository",
        models=models,
        environment=process_environment(),
    )
    with server:
        yield server


@pytest.fixture
def start_triton(tmp_path: Path, triton_parts: TritonParts) -> Iterator[StartTriton]:
    """Start servers for one test alone."""
    started: list[TritonServer] = []

    def start(repository: Path, models: Sequence[str], **options: Any) -> TritonServer:
        folder = tmp_path / f"triton-{len(started)}"
        parts = {"parts": triton_parts, "environment": process_environment(), **options}
        started.append(TritonServer(folder, repository=repository, models=models, **parts))
        return started[-1].start()

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def gated(tmp_path: Path, triton_parts: TritonParts, artefact: Artefact) -> Callable[..., Path]:
    """Write a repository whose models wait while a file ``closed`` lies in their folder; gives its folder."""

    def write(policy: ServingPolicy | None = None) -> Path:
        repository = tmp_path / "repository"
        models = write_model(repository, artefact, environment=triton_parts.environment, policy=policy)
        for model in models:
            with (repository / model / "1" / "model.py").open("a") as source:
                source.write(_GATE)
        return repository

    return write


@contextlib.contextmanager
def closed(repository: Path, model: str) -> Iterator[None]:
    """Let a model that `gated` wrote hang while the block runs."""
    gate = repository / model / "closed"
    gate.touch()
    try:
        yield
    finally:
        gate.unlink()


def model_processes(server: TritonServer, model: str) -> list[psutil.Process]:
    """The running processes of a model."""
    found = []
    for process in psutil.Process(server.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
            if f"/{model}/" in process.cmdline()[1]:
                found.append(process)
    return found


def _installed() -> TritonParts:
    return install_triton(load().settings.cache)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for Triton, by a fixture or by the parameter of one."""
    for item in items:
        parameters = (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        if "triton_parts" in getattr(item, "fixturenames", ()) or "triton" in parameters:
            item.add_marker(pytest.mark.native)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch Triton before the first test: a test's time limit is not meant for that."""
    chosen = (item.get_closest_marker("native") and "triton" in item.nodeid for item in session.items)
    if not session.config.option.collectonly and any(chosen):
        with contextlib.suppress(ConfigurationError):  # each test that needs it will say so
            _installed()
