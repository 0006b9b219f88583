"""A launcher in a home folder of each test's own; what it leaves is ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.launcher import Launcher


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path / "home")
    yield launcher
    (launcher.home / "format").write_text("1")
    launcher.down(worker_grace_s=1.0)
