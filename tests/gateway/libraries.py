"""A library in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from gateway.identity import Identity
from gateway.library import DocumentSummary, Page, QuestionSummary, SourceText, VersionSummary
from millrace.client import Outcome
from millrace.events.query import AnswerProduced, Receipt
from millrace.lineage import QuestionTrace


@dataclass
class MemoryLibrary:
    """Documents by tenant; read by those whose groups may."""

    documents_of: dict[str, list[DocumentSummary]] = field(default_factory=dict)
    outcomes: dict[Receipt, Outcome] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def documents(
        self, identity: Identity, *, text: str = "", after: str = "", limit: int = 50
    ) -> Page[DocumentSummary]:
        found = sorted(
            (each for each in self._readable(identity) if text in each.document or text in each.title),
            key=lambda each: each.document,
        )
        rest = [each for each in found if each.document > after]
        return Page(items=tuple(rest[:limit]), next=rest[limit - 1].document if len(rest) > limit else "")

    async def document(self, identity: Identity, document: str) -> DocumentSummary | None:
        return next((each for each in self._readable(identity) if each.document == document), None)

    async def versions(self, identity: Identity, document: str) -> Sequence[VersionSummary]:
        return ()

    async def outcome(self, identity: Identity, receipt: Receipt, wait_s: float = 0.0) -> Outcome | None:
        if receipt not in self.outcomes and wait_s:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.told.wait(), wait_s)
        return self.outcomes.get(receipt)

    def tell(self, *outcomes: Outcome) -> None:
        """Let outcomes be known."""
        self.outcomes |= {outcome.receipt: outcome for outcome in outcomes}
        self.told.set()

    async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
        return None

    async def answers_from(self, identity: Identity, document: str, *, limit: int = 50) -> Sequence[AnswerProduced]:
        return ()

    async def answers(self, identity: Identity, *, limit: int = 50) -> Sequence[AnswerProduced]:
        return ()

    async def questions(self, identity: Identity, *, limit: int = 50) -> Sequence[QuestionSummary]:
        return ()

    async def question(self, identity: Identity, name: str) -> QuestionSummary | None:
        found = await self.questions(identity)
        return next((each for each in found if (each.correlation, each.user) == (name, identity.user)), None)

    async def trace(self, identity: Identity, name: str) -> QuestionTrace | None:
        return None

    def _readable(self, identity: Identity) -> list[DocumentSummary]:
        groups = set(identity.groups)
        return [each for each in self.documents_of.get(identity.tenant, []) if groups & set(each.groups)]


def summary(document: str, *groups: str) -> DocumentSummary:
    """A document that groups may read."""
    return DocumentSummary(
        document=document,
        title=document.title(),
        version=1,
        n_chunks=1,
        labels={},
        groups=groups or ("*",),
        trust="trusted",
        source="test",
        language="en",
        indexed_at_us=0,
    )
