"""What guards look with, in memory: a scanner and a finder by pattern, and what was scanned before."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.ports import Rank
from millrace.event import Event
from millrace.events.guard import ReviewDecisionMade
from millrace.findings import Finding, Kind, Scan
from millrace.reviewing import overtaken


@dataclass
class MemoryScanner:
    """Finds what it was told of: patterns by kind and rule, for the fast rules and for all of them.

    `unread` lists texts that cannot be scanned in time; `scans` what was asked for.
    """

    quick_rules: dict[str, tuple[str, Kind]] = field(
        default_factory=lambda: {r"ignore (all )?(the )?(previous|other) instructions": ("override", "injection")}
    )
    slow_rules: dict[str, tuple[str, Kind]] = field(
        default_factory=lambda: {r"disregard what you were told": ("override_slow", "injection")}
    )
    unread: set[str] = field(default_factory=set)
    begun: list[str] = field(default_factory=list)
    scans: list[tuple[str, Rank]] = field(default_factory=list)

    def quick(self, text: str) -> Sequence[Finding]:
        return _findings(text, self.quick_rules)

    def begin(self, text: str, rank: Rank) -> None:
        self.begun.append(text)

    async def scan(self, text: str, rank: Rank) -> Scan:
        self.scans.append((text, rank))
        found = _findings(text, self.quick_rules | self.slow_rules)
        return Scan(findings=found, complete=text not in self.unread, score=float(bool(found)), flagged=bool(found))


def _findings(text: str, rules: Mapping[str, tuple[str, Kind]]) -> tuple[Finding, ...]:
    found = [
        Finding(kind, rule, match.start(), match.end())
        for pattern, (rule, kind) in rules.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]
    return tuple(sorted(found, key=lambda finding: finding.start))


@dataclass
class MemoryPersonalData:
    """Finds addresses and numbers of cards by pattern."""

    rules: dict[str, tuple[str, Kind]] = field(
        default_factory=lambda: {
            r"[\w.+-]{1,40}@[\w-]{1,40}\.[a-z]{2,8}": ("EMAIL_ADDRESS", "personal_data"),
            r"(?<!\d)\d{4}([ -]?\d{4}){3}(?!\d)": ("CREDIT_CARD", "personal_data"),
            r"\bsk-[a-z0-9]{16}\b": ("API_KEY", "secret"),
        }
    )

    def find(self, text: str) -> Sequence[Finding]:
        return _findings(text, self.rules)


@dataclass
class MemoryReviewed:
    """The last decision about each item, and who may read documents as a visibility in memory knows it."""

    decisions: dict[str, ReviewDecisionMade] = field(default_factory=dict)
    n_caught_up: int = 0

    def fold(self, event: Event) -> None:
        if isinstance(event, ReviewDecisionMade) and not overtaken(self.decisions.get(event.item), event):
            self.decisions[event.item] = event

    async def caught_up(self) -> None:
        self.n_caught_up += 1

    def released(self, tenant: str, document: str, content: str) -> bool:
        found = [each.decision for each in self._of(tenant, document) if each.content == content]
        return "release" in found and "withdraw" not in found

    def withdrawn(self, tenant: str, document: str) -> bool:
        return any(each.decision == "withdraw" for each in self._of(tenant, document))

    def _of(self, tenant: str, document: str) -> list[ReviewDecisionMade]:
        return [each for each in self.decisions.values() if (each.tenant, each.subject) == (tenant, document)]


@dataclass
class MemoryScans:
    """Outcomes of scans in a dict."""

    known: dict[tuple[str, str], Scan] = field(default_factory=dict)

    async def get(self, tenant: str, ref: str) -> Scan | None:
        return self.known.get((tenant, ref))

    async def put(self, tenant: str, ref: str, scan: Scan) -> None:
        self.known[tenant, ref] = scan
