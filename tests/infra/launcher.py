"""`up` and `down` for launcher tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from infra.launch.up import Up, down, up
from infra.settings import Loaded, load
from millrace.connection import Connection, find_connection

WORKER = Path(__file__).with_name("launch_worker.py")


class Launcher:
    """`up` and `down` in a home folder of the test's own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said: list[str] = []

    def loaded(self, workers: int = 0, profile: str = "embedded", **flags: Any) -> Loaded:
        return load({"home": self.home, "profile": profile, "worker": {"count": workers}, **flags}, self.home / "none")

    def up(self, workers: int = 0, state: str = "ready", profile: str = "embedded", **options: Any) -> Up:
        flags = options.pop("flags", {})
        command = [sys.executable, str(WORKER), state]
        return up(self.loaded(workers, profile, **flags), worker_command=command, progress=self.said.append, **options)

    def connection(self) -> Connection:
        return find_connection(home=self.home, environ={})

    def down(self, **options: Any) -> list[str]:
        return down(self.loaded().settings, self.said.append, **options)
