"""What the log says of documents and answers, to those who may see it: for pages, GraphQL and tools.

Everything here takes the caller's `Identity` and shows only what `visible` gives it. A document of another tenant, one
that the caller may not read, and one that does not exist are the same: None, or not in the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from gateway.identity import Identity
from millrace.client import Outcome
from millrace.events.query import AnswerProduced, Hit, Receipt
from millrace.lineage import QuestionTrace

T = TypeVar("T")


class DocumentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One document as its reader sees it."""

    document: str
    title: str
    version: int
    n_chunks: int
    labels: dict[str, str]
    groups: tuple[str, ...]
    trust: str
    source: str
    language: str
    indexed_at_us: int


class VersionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a document, or the outcome of a change that made none."""

    version: int
    outcome: str
    at_us: int
    reason: str = ""
    n_chunks: int = 0
    n_embedded: int = 0
    n_reused: int = 0
    n_retired: int = 0
    source_position: str = ""


class SourceText(msgspec.Struct, frozen=True, kw_only=True):
    """The parsed text of one version; spans of citations point into it."""

    document: str
    version: int
    title: str
    text: str
    visible: bool
    """Whether this is the version that questions are answered from now."""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A retrieved chunk as its reader sees it: its text, and where that stands in the parsed text of its version."""

    document: str
    version: int
    chunk_id: str
    title: str
    heading: str
    start: int
    end: int
    text: str


class QuestionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One question, and what became of it."""

    correlation: str
    trace_id: str
    question: str
    conversation: str
    user: str
    asked_at_ms: int
    answered_at_ms: int = 0
    status: str = ""
    """As `AnswerProduced.status`; empty while it is being worked on."""
    n_citations: int = 0
    cost_usd: float = 0.0


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some of a list, and where the rest begins."""

    items: tuple[T, ...]
    next: str = ""
    """Opaque cursor of the next page, bound to the caller's tenant; empty at the end."""


class Library(Protocol):
    """Documents, versions, answers and traces."""

    async def documents(
        self, identity: Identity, *, text: str = "", after: str = "", limit: int = 50
    ) -> Page[DocumentSummary]:
        """Readable documents in order of their ids; `text` must occur in id or title."""

    async def document(self, identity: Identity, document: str) -> DocumentSummary | None:
        """One readable document."""

    async def versions(self, identity: Identity, document: str) -> Sequence[VersionSummary]:
        """Versions and outcomes of a readable document, newest first; empty for others."""

    async def outcome(self, identity: Identity, receipt: Receipt, wait_s: float = 0.0) -> Outcome | None:
        """What became of a change of the caller's tenant, waited for; None while that is not known.

        A receipt tells its holder this much whether or not the document may be read. There may be no message with it.
        """

    async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
        """Text of a retained version of a readable document."""

    async def passages(self, identity: Identity, hits: Sequence[Hit]) -> Sequence[Passage]:
        """Text and place of retrieved chunks, in their order; without those that may not be read (any more)."""

    async def answers_from(self, identity: Identity, document: str, *, limit: int = 50) -> Sequence[AnswerProduced]:
        """Newest answers that quoted a readable document and that the caller may see: own ones, all with scope read."""

    async def answers(self, identity: Identity, *, limit: int = 50) -> Sequence[AnswerProduced]:
        """Newest answers of the caller's tenant that the caller may see."""

    async def questions(self, identity: Identity, *, limit: int = 50) -> Sequence[QuestionSummary]:
        """Newest questions that the caller may see: own ones; all that it may see the answers of, for a service."""

    async def question(self, identity: Identity, name: str) -> QuestionSummary | None:
        """A question that the caller itself asked, by correlation id; None for others' and foreign ones."""

    async def trace(self, identity: Identity, name: str) -> QuestionTrace | None:
        """A question of the caller's own by correlation or trace id; None for others' and foreign ones."""
