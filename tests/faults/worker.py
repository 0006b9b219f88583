"""One worker process of a fault test, and the signals it is sent."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.launch.processes import tail
from infra.launch.workers import report_path
from tests.faults.log_access import until

READY_S = 60.0


class Worker:
    """One worker process.

    Parameters
    ----------
    name : str
        Its name: of its report, its log and its state.
    command : sequence of str
        Program and arguments.
    """

    def __init__(self, home: Path, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name = name
        self._report = report_path(home, name)
        self._report.unlink(missing_ok=True)
        self.log = home / "logs" / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--name", name],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ready(self) -> bool:
        """Whether it says that it is ready.

        Raises
        ------
        AssertionError
            If it has ended or failed.
        """
        assert self.running, f"{self.name} ended with {self._process.returncode}: {tail(self.log, 30)}"
        try:
            report = self.report()
        except (FileNotFoundError, ValueError):
            return False
        assert report["state"] != "failed", f"{self.name} failed: {report['detail']}: {tail(self.log, 30)}"
        return bool(report["pid"] == self.pid and report["state"] == "ready")

    def report(self) -> dict[str, Any]:
        """What it says of itself."""
        found: dict[str, Any] = json.loads(self._report.read_bytes())
        return found

    def wait_ready(self) -> float:
        """Wait until it is ready; returns the seconds it took."""
        return until(self.ready, READY_S, lambda: f"{self._waits_for()}; {tail(self.log, 30)}")

    def _waits_for(self) -> str:
        try:
            return str(self.report()["detail"])
        except (FileNotFoundError, ValueError):
            return "no word from it"

    def kill(self) -> None:
        """SIGKILL, as a fault; returns when it is gone."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, timeout_s: float = 30.0) -> tuple[int, float]:
        """SIGTERM; returns exit code and seconds it took.

        Raises
        ------
        AssertionError
            If it does not end in time.
        """
        began = time.monotonic()
        self._process.terminate()
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {timeout_s:g} s: {tail(self.log, 30)}") from None
        return code, time.monotonic() - began

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self.thaw()
            self._process.terminate()
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
