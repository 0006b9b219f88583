"""What was found out about a tenant's answers, counted by day as events come: few numbers, however busy the tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec

from millrace.topics import DAY_MS, QUALITY_SCORED

KEPT_DAYS: Final = QUALITY_SCORED.retention_ms // DAY_MS
"""As many as the log keeps scores of."""
TOP: Final = "(top)"
"""Folder of documents that are in none."""
OTHERS: Final = "(others)"
"""Folder of what no further folder is counted for."""
_MAX_FOLDERS: Final = 100


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the newest score of an answer: its texts where it is poor, as only poor ones are shown."""

    at_ms: int
    revision: int
    score: float
    poor: bool
    question: str = ""
    flags: tuple[str, ...] = ()
    user: str = ""


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of the newest attribution of an answer."""

    at_ms: int
    revision: int
    stage: str
    rule: str
    document: str = ""


class Day:
    """A day of a tenant.

    Attributes
    ----------
    n, n_poor : int
        Answers scored, and poor ones among them.
    total : float
        Sum of their scores.
    feedback, stages, folders : Counter of str
        Feedback by kind, poor answers by stage and by ``folder: stage``; `_MAX_FOLDERS` of these, the rest together.
    """

    __slots__ = ("feedback", "folders", "n", "n_poor", "stages", "total")

    def __init__(self) -> None:
        self.n = self.n_poor = 0
        self.total = 0.0
        self.feedback: Counter[str] = Counter()
        self.stages: Counter[str] = Counter()
        self.folders: Counter[str] = Counter()


class Days:
    """The last days of a tenant, each answer on the day on which it was first scored, by its newest revision."""

    def __init__(self) -> None:
        self._days: dict[int, Day] = {}

    def __len__(self) -> int:
        """How many days are known."""
        return len(self._days)

    def since(self, first_ms: int) -> Iterator[tuple[int, Day]]:
        """Days from one on, with their beginnings in unix milliseconds, oldest first."""
        return ((day, self._days[day]) for day in sorted(self._days) if day >= first_ms)

    def said(self, kind: str, at_ms: int) -> None:
        """Count a piece of feedback."""
        self._on(at_ms).feedback[kind] += 1

    def scored(self, found: Scored, before: Scored | None) -> None:
        """Count a score, in place of the one that was counted of the same answer."""
        for each, sign in ((before, -1), (found, 1)):
            if each is not None:
                day = self._on(each.at_ms)
                day.n += sign
                day.n_poor += sign * each.poor
                day.total += sign * each.score

    def staged(self, found: Staged, before: Staged | None) -> None:
        """Count an attribution, in place of the one that was counted of the same answer."""
        for each, sign in ((before, -1), (found, 1)):
            if each is not None:
                day = self._on(each.at_ms)
                day.stages[each.stage] += sign
                name = f"{folder_of(each.document)}: {each.stage}"
                known = name in day.folders or len(day.folders) < _MAX_FOLDERS  # a name that is in stays in
                day.folders[name if known else f"{OTHERS}: {each.stage}"] += sign

    def _on(self, at_ms: int) -> Day:
        begin = at_ms // DAY_MS * DAY_MS
        found = self._days.get(begin)
        if found is None:
            found = self._days[begin] = Day()
        while len(self._days) > KEPT_DAYS + 1:
            del self._days[min(self._days)]
        return found


def folder_of(document: str) -> str:
    """Folder of a document; what is known of no document has none."""
    if not document:
        return "(unknown)"
    return document.rpartition("/")[0] or TOP
