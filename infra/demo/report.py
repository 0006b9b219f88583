"""What the demo showed: a list of checked steps, printed as it grows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text


@dataclass(frozen=True)
class Check:
    """One thing that should have been seen."""

    step: str
    what: str
    passed: bool
    detail: str


@dataclass
class Report:
    """Collects checks; prints for people unless the output is JSON.

    Parameters
    ----------
    as_json : bool
        Print nothing but one JSON document at the end.
    """

    as_json: bool = False
    checks: list[Check] = field(default_factory=list)
    step: str = ""

    def __post_init__(self) -> None:
        self._console = Console(stderr=self.as_json, highlight=False, soft_wrap=True)
        self._started_s = time.monotonic()

    def begin(self, step: str) -> None:
        """Start a step."""
        self.step = step
        self._console.print(Text(f"\n{self._elapsed():5.1f} s  {step}", style="bold"))

    def say(self, line: str) -> None:
        """Print a line of what happened; it may quote documents."""
        self._console.print(Text("         " + line))

    def check(self, what: str, passed: bool, detail: str = "") -> bool:  # noqa: FBT001 - reads as a sentence
        """Note whether something that should be seen was seen."""
        self.checks.append(Check(self.step, what, passed, detail))
        mark, style = ("ok", "green") if passed else ("NOT", "bold red")
        self._console.print(Text(f"  {mark:>5}  {what}{'' if passed or not detail else ': ' + detail}", style=style))
        return passed

    @property
    def passed(self) -> bool:
        """Whether everything that should be seen was seen."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def finish(self, **facts: Any) -> int:
        """Print the summary; gives the exit code."""
        failed = [check for check in self.checks if not check.passed]
        if self.as_json:
            document = {"passed": self.passed, "checks": [vars(check) for check in self.checks], **facts}
            print(json.dumps(document | {"seconds": round(self._elapsed(), 1)}))
            return 0 if self.passed else 1
        style = "bold green" if self.passed else "bold red"
        summary = f"{len(self.checks) - len(failed)} of {len(self.checks)} checks passed in {self._elapsed():.0f} s"
        self._console.print(Text(f"\n{summary}", style=style))
        for check in failed:
            self._console.print(Text(f"  {check.step}: {check.what}: {check.detail}", style="red"))
        for name, fact in facts.items():
            self._console.print(Text(f"{name}: {fact}"))
        return 0 if self.passed else 1

    def _elapsed(self) -> float:
        return time.monotonic() - self._started_s
