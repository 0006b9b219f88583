"""A stack of the system tests' own, one a test process; tests on it keep apart by tenant names."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from tests.system.stacks import System, embedded_system


@pytest.fixture(scope="session")
def _system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with embedded_system(tmp_path_factory.mktemp("system") / "home") as found:
        yield found


@pytest.fixture
def system(_system: System) -> System:
    """A stack on the embedded broker without workers: tests run them inside."""
    return _system


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test uses."""
    return f"tenant-{secrets.token_hex(6)}"
