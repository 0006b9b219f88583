"""Review items and qualities in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.identity import Identity
from gateway.problems import Problem
from gateway.reviewing import DecisionView, QualityReport, ReviewItem, State, SubjectText
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened, Span
from millrace.reviewing import UnfittingDecision, decided, fitting

OPENED_MS = 1_700_000_000_000


def opened(tenant: str, item: str = "item-1", **fields: Any) -> ReviewItemOpened:
    """An item about a document that is held back."""
    given: dict[str, Any] = {
        "subject_kind": "document", "subject": "mail/forwarded.md", "version": 1, "stage": "clear_untrusted",
        "rule": "override", "reason": "injection in version 1 of the document at 1 places, by override; hold",
        "kind": "injection", "action": "hold", "content": "sha256:0", "manifest": "sha256:1",
    }  # fmt: skip
    return ReviewItemOpened(tenant=tenant, item=item, **(given | fields))


@dataclass
class MemoryReviews:
    """Items by tenant, the texts that users may see of them, and decisions."""

    opened: list[ReviewItemOpened] = field(default_factory=list)
    texts: dict[tuple[str, str], SubjectText] = field(default_factory=dict)
    """By item and by a group that may read it."""
    made: dict[tuple[str, str], list[ReviewDecisionMade]] = field(default_factory=dict)

    def put(
        self, item: ReviewItemOpened, text: str = "", *spans: str, groups: Sequence[str] = ("*",), **fields: str
    ) -> None:
        """Open an item about a text in which some words were found."""
        places = tuple(Span(text.index(span), text.index(span) + len(span)) for span in spans)
        self.opened.insert(0, item.replace(spans=places))
        for group in groups:
            self.texts[item.item, group] = SubjectText(text=text, **fields)

    async def items(
        self, identity: Identity, *, state: State = "open", kind: str = "", limit: int = 50, after: str = ""
    ) -> tuple[Sequence[ReviewItem], str]:
        found = [self._view(each) for each in self.opened if each.tenant == identity.tenant]
        names = [each.item for each in found]
        found = found[names.index(after) + 1 :] if after in names else found
        found = [each for each in found if kind in {"", each.kind, each.subject_kind}]
        found = [each for each in found if state == "all" or (state == "open") == (each.last is None)]
        return found[:limit], found[limit - 1].item if len(found) > limit else ""

    async def item(self, identity: Identity, item: str) -> ReviewItem | None:
        found = self._find(identity, item)
        return None if found is None else self._view(found)

    async def text(self, identity: Identity, item: str) -> SubjectText | None:
        if self._find(identity, item) is None:
            return None
        return next((self.texts[item, group] for group in identity.groups if (item, group) in self.texts), None)

    async def decide(self, identity: Identity, item: str, decision: str, text: str = "") -> ReviewItem | None:
        found = self._find(identity, item)
        if found is None:
            return None
        before = self.made.setdefault((found.tenant, item), [])
        try:
            last = before[-1] if before else None
            made = decided(found, last, decision, user=identity.user, text=text, conversation="c")
        except UnfittingDecision as error:
            raise Problem(409, error.error_type, str(error)) from error
        if made is not None:
            before.append(made)
        return self._view(found)

    def _find(self, identity: Identity, item: str) -> ReviewItemOpened | None:
        return next((each for each in self.opened if (each.tenant, each.item) == (identity.tenant, item)), None)

    def _view(self, found: ReviewItemOpened) -> ReviewItem:
        made = self.made.get((found.tenant, found.item), [])
        return ReviewItem(
            item=found.item, subject_kind=found.subject_kind, subject=found.subject, version=found.version,
            kind=found.kind, rule=found.rule, action=found.action, reason=found.reason, opened_at_ms=OPENED_MS,
            spans=found.spans,
            decisions=tuple(
                DecisionView(decision=each.decision, user=each.user, at_ms=OPENED_MS, text=each.text) for each in made
            ),
            fitting=tuple(fitting(found, made[-1] if made else None)),
        )  # fmt: skip


@dataclass
class MemoryQuality:
    """Reports by tenant."""

    reports: dict[str, QualityReport] = field(default_factory=dict)

    async def report(self, identity: Identity, *, days: int = 28) -> QualityReport:
        return self.reports.get(identity.tenant, QualityReport())
