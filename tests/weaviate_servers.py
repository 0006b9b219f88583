"""Weaviate for tests: one server that all parallel test processes share, and servers of a test's own.

- `weaviate` is the shared one; collections get names of their own by `Weaviate.collection`, and `open_weaviate` opens
  stores over them.
- `start_weaviate` starts one for a single test, to be killed, cut off or restarted.

Where Go is missing and the server was never built, tests that need it are skipped, loudly.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

from infra.servers.weaviate import Keys, WeaviateServer, install_weaviate
from infra.settings import load, process_environment
from millrace.errors import ConfigurationError
from streams.stores.weaviate import Address, WeaviateVectorStore
from tests.brokers import RUN_FOLDER, note_process

_SKIPPED = "needs Weaviate"
OpenWeaviate = Callable[..., WeaviateVectorStore]


@dataclass(frozen=True)
class Weaviate:
    """A running server for one test.

    Attributes
    ----------
    address : Address
        Where it listens.
    keys : Keys
        Its API keys.
    collection : str
        Start of the names of collections that no other test uses.
    """

    address: Address
    keys: Keys
    collection: str = field(default_factory=lambda: f"Test{secrets.token_hex(6)}")

    def remove_collections(self) -> None:
        """Remove what the test wrote."""
        for part in ("Live", "Archive"):
            name, headers = f"{self.collection}{part}", {"Authorization": f"Bearer {self.keys.admin}"}
            answer = httpx.delete(f"{self.address.url}/v1/schema/{name}", headers=headers, timeout=30.0)
            answer.raise_for_status()


class StartWeaviate(Protocol):
    """Starts a server for one test; see `WeaviateServer` for its arguments."""

    def __call__(self, name: str = "weaviate", **options: Any) -> WeaviateServer: ...


@pytest.fixture(scope="session")
def weaviate_program() -> Path:
    """The server; skips where it can neither be found nor be built."""
    try:
        return _find()
    except ConfigurationError as error:
        pytest.skip(f"{_SKIPPED}: {error}")


@pytest.fixture
def weaviate(weaviate_program: Path) -> Iterator[Weaviate]:
    """The server of this test run, with collections of the test's own."""
    found = _shared(weaviate_program)
    yield found
    found.remove_collections()


@pytest.fixture
async def open_weaviate(weaviate: Weaviate) -> AsyncIterator[OpenWeaviate]:
    """Open stores over the test's own collections, as a worker unless told otherwise; closed at the end."""
    opened: list[WeaviateVectorStore] = []

    def open_one(**options: Any) -> WeaviateVectorStore:
        given = {"address": weaviate.address, "api_key": weaviate.keys.worker, "collection": weaviate.collection}
        opened.append(WeaviateVectorStore(**{**given, **options}))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
def start_weaviate(tmp_path: Path, weaviate_program: Path) -> Iterator[StartWeaviate]:
    """Start servers for one test alone; the same `name` finds the same data again, with the same keys."""
    started: list[WeaviateServer] = []
    keys = Keys.random()

    def start(name: str = "weaviate", **options: Any) -> WeaviateServer:
        parts = {
            "program": weaviate_program,
            "environment": process_environment(),
            "keys": keys,
            "collections": ["Test*"],
        }
        started.append(WeaviateServer(tmp_path / name, **{**parts, **options}))
        return started[-1].start()

    yield start
    for each in started:
        each.kill()


def _find() -> Path:
    settings = load().settings
    return install_weaviate(settings.cache, settings.weaviate.go)


def _shared(program: Path) -> Weaviate:
    """The run's server; whoever comes first starts it."""
    folder = Path(os.environ[RUN_FOLDER])
    keys, listens = folder / "weaviate-keys.json", folder / "weaviate-address"
    with (folder / "weaviate.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not listens.exists():
            server = WeaviateServer(
                folder / "weaviate",
                program=program,
                environment={
                    **process_environment(),
                    "DEFAULT_QUANTIZATION": "rq-8",
                },  # relied on by none
                keys=Keys.kept_in(keys),
                collections=["Test*"],  # each test has two of its own
                on_spawn=lambda process: note_process(folder / "weaviate.json", process),
            ).start()
            listens.write_text(f"{server.url} {server.grpc}")
    return Weaviate(Address(*listens.read_text().split()), Keys.kept_in(keys))


def _needs(item: pytest.Item) -> bool:
    return "weaviate_program" in getattr(item, "fixturenames", ())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for Weaviate by a fixture, so that `-m native` and `-m "not native"` know."""
    for item in items:
        if _needs(item):
            item.add_marker(pytest.mark.native)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build and start Weaviate before the first test: a test's time limit is not meant for that."""
    if session.config.option.collectonly or not any(_needs(item) for item in session.items):
        return
    with contextlib.suppress(ConfigurationError):  # each test that needs it will say so
        program = _find()
        if any("weaviate" in getattr(item, "fixturenames", ()) for item in session.items):
            _shared(program)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say once, at the end, what did not run and why."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if reasons := [reason for reason in skipped if _SKIPPED in reason]:
        reason = re.sub(rf".*{_SKIPPED}: |['\")]+$", "", reasons[0], flags=re.DOTALL)
        terminalreporter.write_sep("!", f"{len(reasons)} tests did not run: {reason}", yellow=True, bold=True)
