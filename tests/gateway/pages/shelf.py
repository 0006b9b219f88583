"""A library in memory with everything that pages show."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.identity import Identity
from gateway.library import QuestionSummary, SourceText, VersionSummary
from millrace.events.query import AnswerProduced, Citation, ContextRetrieved, Hit, QueryReceived
from millrace.lineage import Entry, QuestionTrace, Source, describe
from millrace.times import iso
from tests.gateway.libraries import MemoryLibrary, summary

ASKED_MS = 1_700_000_000_000


@dataclass
class Shelf(MemoryLibrary):
    """Documents, their texts by version, and what was asked; each of the latter belongs to its user."""

    texts: dict[tuple[str, str, int], str] = field(default_factory=dict)
    asked: list[tuple[QuestionSummary, AnswerProduced | None]] = field(default_factory=list)

    def put(self, tenant: str, document: str, *texts: str, groups: Sequence[str] = ("*",), **fields: Any) -> None:
        """Put a document with its versions on the shelf."""
        found = summary(document, *groups)
        found = msgspec.structs.replace(found, version=len(texts), indexed_at_us=ASKED_MS * 1000, **fields)
        self.documents_of.setdefault(tenant, []).append(found)
        self.texts |= {(tenant, document, n): text for n, text in enumerate(texts, 1)}

    def note(self, question: QuestionSummary, answer: AnswerProduced | None) -> None:
        """Note a question as asked, the newest so far."""
        self.asked.insert(0, (question, answer))

    async def versions(self, identity: Identity, document: str) -> Sequence[VersionSummary]:
        if await self.document(identity, document) is None:
            return ()
        numbers = [n for tenant, name, n in self.texts if (tenant, name) == (identity.tenant, document)]
        return [
            VersionSummary(
                version=n, outcome="indexed", at_us=ASKED_MS * 1000, n_chunks=4, n_embedded=1, n_reused=3,
                source_position=f"corpus.source.changed.v1/0/{n}",
            )
            for n in sorted(numbers, reverse=True)
        ]  # fmt: skip

    async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
        found = await self.document(identity, document)
        text = self.texts.get((identity.tenant, document, version))
        if found is None or text is None:
            return None
        return SourceText(
            document=document, version=version, title=found.title, text=text, visible=version == found.version
        )

    async def answers(self, identity: Identity, *, limit: int = 50) -> Sequence[AnswerProduced]:
        readable = {each.document for each in self._readable(identity)}
        return [
            answer
            for _, answer in self.asked
            if answer is not None
            and _own(identity, answer)
            and {each.document for each in answer.citations} <= readable
        ]

    async def answers_from(self, identity: Identity, document: str, *, limit: int = 50) -> Sequence[AnswerProduced]:
        found = await self.answers(identity)
        return [answer for answer in found if document in {each.document for each in answer.citations}]

    async def questions(self, identity: Identity, *, limit: int = 50) -> Sequence[QuestionSummary]:
        return [question for question, answer in self.asked if question.user == identity.user]

    async def trace(self, identity: Identity, name: str) -> QuestionTrace | None:
        for question, answer in self.asked:
            if name in {question.correlation, question.trace_id} and question.user == identity.user:
                return trace_of(identity.tenant, question, answer)
        return None


def _own(identity: Identity, answer: AnswerProduced) -> bool:
    return (answer.tenant, answer.user) == (identity.tenant, identity.user)


def quoted(document: str, text: str, quote: str, *, version: int = 1, **fields: Any) -> Citation:
    """A citation of a passage of a text."""
    start = text.index(quote)
    named = {"title": document.title(), "heading": ""} | fields
    return Citation(
        document=document, version=version, chunk_id=f"{document}#0", start=start, end=start + len(quote), quote=quote,
        **named,
    )  # fmt: skip


def trace_of(tenant: str, question: QuestionSummary, answer: AnswerProduced | None) -> QuestionTrace:
    """Records of a question as the log would have them."""
    whose: dict[str, Any] = {"tenant": tenant, "conversation": question.conversation}
    citations = answer.citations if answer is not None else ()
    hits = tuple(
        Hit(
            chunk_id=each.chunk_id,
            document=each.document,
            version=each.version,
            rank=n,
            score=0.5,
            dense=0.5,
            lexical=0.5,
        )
        for n, each in enumerate(citations, 1)
    )
    events = [
        QueryReceived(**whose, question=question.question, user=question.user),
        ContextRetrieved(
            **whose, question=question.question, user=question.user, hits=hits, watermark="1a2b3c4d/i:0=4"
        ),
        *([answer] if answer is not None else []),
    ]
    entries: list[Entry] = []
    for n, event in enumerate(events):
        entries.append(
            Entry(
                time=iso(ASKED_MS + 40 * n), timestamp_ms=ASKED_MS + 40 * n, type=type(event).__name__,
                id=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{question.correlation}{n}")),
                causation_id=entries[-1].id if entries else "", position=f"query.topic.v1/0/{n}", what=describe(event),
                event=event,
            )
        )  # fmt: skip
    sources = tuple(
        Source(
            chunk_id=each.chunk_id,
            document=each.document,
            version=each.version,
            source_position="corpus.source.changed.v1/0/1",
        )
        for each in citations
    )
    return QuestionTrace(
        correlation_id=question.correlation, trace_id=question.trace_id, entries=tuple(entries), sources=sources
    )
