"""A schema registry for tests: one Apicurio for all tests of a process, and others to be killed or emptied."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from infra.servers.apicurio import ApicurioServer, install_apicurio
from infra.servers.java import find_java
from infra.settings import load, process_environment
from millrace.errors import ConfigurationError
from millrace.registry import Registry, RegistryAccess

_TIMEOUT_S = 20.0


class StartRegistry(Protocol):
    """Starts a registry for one test; see `ApicurioServer` for its arguments."""

    def __call__(self, name: str = "registry", **options: Any) -> ApicurioServer: ...


def registry_at(url: str) -> Registry:
    """A client that waits longer than an app would: the machine may be busy."""
    return Registry(RegistryAccess(url=url, timeout_s=_TIMEOUT_S))


def prefix() -> str:
    """What topics and subjects of one test begin with."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def apicurio_installed() -> dict[str, Any]:
    """What a registry is started with; tests that need one are skipped where it cannot be had."""
    settings = load().settings
    try:
        java = find_java(settings.kafka.java)
        program = install_apicurio(settings.cache, settings.kafka.maven)
    except ConfigurationError as error:
        pytest.skip(f"no schema registry: {error}")
    return {"java": java, "program": program, "environment": process_environment()}


@pytest.fixture(scope="session")
def _apicurio(apicurio_installed: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApicurioServer]:
    with ApicurioServer(tmp_path_factory.mktemp("registry"), timeout_s=120, **apicurio_installed) as server:
        yield server


@pytest.fixture
def registry(_apicurio: ApicurioServer) -> Registry:
    """The registry of this test process; tests use subjects of their own."""
    return registry_at(_apicurio.url)


@pytest.fixture
def start_registry(apicurio_installed: dict[str, Any], tmp_path: Path) -> Iterator[StartRegistry]:
    """Start registries for one test alone; the same `name` finds the same data again."""
    started: list[ApicurioServer] = []

    def start(name: str = "registry", **options: Any) -> ApicurioServer:
        started.append(ApicurioServer(tmp_path / name, **{"timeout_s": 120.0, **apicurio_installed, **options}))
        return started[-1].start()

    yield start
    for each in started:
        each.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for a registry by a fixture."""
    for item in items:
        if "apicurio_installed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.native)
