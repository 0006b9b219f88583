"""What may be looked at, from the log: the `Library` that a gateway serves.

What the caller may read is `Tail.visible`, asked again for every call; while the table cannot say that it is up to
date, nothing is shown.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from gateway.identity import Identity
from gateway.library import DocumentSummary, Page, Passage, QuestionSummary, SourceText, VersionSummary
from gateway.reading.access import belongs, concerns, may_see, of_another, quotes_only, shown, trimmed
from gateway.reading.cursors import cursor, position
from gateway.reading.log_quality import LogQuality
from gateway.reading.log_reviews import LogReviews
from gateway.reading.outcomes import outcome_within
from gateway.reading.passages import passages_of
from millrace.client import Outcome
from millrace.errors import MillraceError, ObjectMissing, Unavailable
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import AnswerProduced, Hit, QueryReceived, Receipt
from millrace.lineage import QuestionTrace, Source
from streams.visibility.asked import AnswersByDocument, RecentQuestions, trace_id
from streams.visibility.tail import Tail
from streams.visibility.visible_set import VisibleSet

MAX_ITEMS: Final = 200
_MAX_TITLES: Final = 100_000
_FOLLOWING: Final = 2
_WAITING: Final = 16
"""Traces that are read from the log at the same time, and callers that may wait for that: each holds a thread."""

Get = Callable[[str], Awaitable[bytes]]
"""``await get(reference)`` gives an object's bytes, or raises `ObjectMissing`."""
Follow = Callable[[str, int, int], QuestionTrace]
"""``follow(correlation, asked_ms, answered_ms)`` collects the records of a question around two times, 0 for not yet; it
may block."""


class _Part(Protocol):
    """Something that is read from the log."""

    @property
    def failure(self) -> MillraceError | None: ...

    def ready(self) -> bool: ...

    async def caught_up(self) -> None: ...


class LogLibrary:
    """Documents, answers and traces as a caller may see them.

    Parameters
    ----------
    tail : Tail
        The visibility table, kept up to date.
    get : callable
        Reads parsed texts.
    answers, questions
        What was asked and answered lately.
    follow : callable
        Reads the records of one question.
    reviews, quality : LogReviews, LogQuality, optional
        What is read from the log beside, and is ready and ends with it.
    """

    def __init__(
        self,
        tail: Tail,
        get: Get,
        answers: AnswersByDocument,
        questions: RecentQuestions,
        follow: Follow,
        *,
        reviews: LogReviews | None = None,
        quality: LogQuality | None = None,
    ) -> None:
        self._tail = tail
        self._get = get
        self._answers = answers
        self._questions = questions
        self._follow = follow
        self.reviews = reviews
        self.quality = quality
        self._titles: OrderedDict[int, str] = OrderedDict()
        self._following = asyncio.Semaphore(_FOLLOWING)
        self._n_waiting = 0

    def ready(self) -> bool:
        """Whether all that was in the log at the start has been read."""
        return all(part.ready() for part in self._parts())

    @property
    def failure(self) -> MillraceError | None:
        """Why one of the readers ended, if one did: the gateway has to start anew then."""
        return next((part.failure for part in self._parts() if part.failure is not None), None)

    async def caught_up(self) -> None:
        """Return when everything that was in the log at the time of the call has been read."""
        for part in self._parts():
            await part.caught_up()

    def _parts(self) -> Iterator[_Part]:
        parts = (self._tail, self._answers, self._questions, self.reviews, self.quality)
        return (part for part in parts if part is not None)

    def _visible(self, identity: Identity) -> VisibleSet:
        if not self._tail.confirmed():
            raise Unavailable(
                "what may be read is not known at the moment: the visibility table is behind the log; try again shortly"
            )
        return self._tail.visible(identity.tenant, identity)

    async def documents(
        self, identity: Identity, *, text: str = "", after: str = "", limit: int = 50
    ) -> Page[DocumentSummary]:
        """Readable documents in order of their ids; `text` must occur in id or title.

        Raises
        ------
        InputRejected
            If `after` is no cursor of this tenant's list.
        Unavailable
            If it is not known what may be read.
        """
        visible, first = self._visible(identity), position(identity.tenant, after)
        limit = max(1, min(limit, MAX_ITEMS))

        def find() -> list[DocumentSummary]:
            names = sorted(name for name in visible.documents() if name > first)
            chosen = (name for name in names if self._matches(visible, name, text.casefold()))
            found = (self._summary(identity.tenant, visible, name) for name in chosen)
            return list(islice((summary for summary in found if summary is not None), limit + 1))

        found = await asyncio.to_thread(find)
        more = cursor(identity.tenant, found[limit - 1].document) if len(found) > limit else ""
        return Page(items=tuple(found[:limit]), next=more)

    async def document(self, identity: Identity, document: str) -> DocumentSummary | None:
        """One readable document."""
        return self._summary(identity.tenant, self._visible(identity), document)

    async def versions(self, identity: Identity, document: str) -> Sequence[VersionSummary]:
        """Versions that are kept and the newest outcome of a readable document, newest first; empty for others."""
        current = _version(self._visible(identity), document)
        if current is None:
            return ()
        found = [(event.order, _summary_of(event)) for event in self._kept(current)]
        settled = self._tail.outcome(identity.tenant, document)
        if settled is not None:
            outcome = VersionSummary(version=settled.order[1], outcome=settled.outcome, reason=settled.reason, at_us=0)
            found.append((settled.order, outcome))
        return [summary for _, summary in sorted(found, key=lambda pair: pair[0], reverse=True)]

    async def outcome(self, identity: Identity, receipt: Receipt, wait_s: float = 0.0) -> Outcome | None:
        """What became of a change of the caller's tenant, without its message; None while that is not known."""
        return await outcome_within(self._tail, receipt, wait_s) if receipt.tenant == identity.tenant else None

    async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
        """Text of a version that is kept of a readable document; None for what was erased."""
        current = _version(self._visible(identity), document)
        wanted = next((event for event in self._kept(current) if event.version == version), None) if current else None
        if current is None or wanted is None or wanted.text is None:
            return None
        try:
            data = await self._get(wanted.text)
        except ObjectMissing:
            return None
        if document not in self._visible(identity).documents():
            return None
        return SourceText(
            document=document,
            version=version,
            title=wanted.title,
            text=data.decode("utf-8", "replace"),
            visible=wanted.order == current.order,
        )

    async def passages(self, identity: Identity, hits: Sequence[Hit]) -> Sequence[Passage]:
        """Text and place of retrieved chunks, in their order; without those that may not be read (any more)."""
        visible = self._visible(identity)

        def version_of(hit: Hit) -> DocumentIndexed | None:
            current = _version(visible, hit.document)
            kept = self._kept(current) if current is not None else ()
            return next((event for event in kept if event.version == hit.version), None)

        found = await passages_of(hits, version_of, self._get)
        readable = self._visible(identity).documents()
        return [passage for passage in found if passage.document in readable]

    async def answers_from(self, identity: Identity, document: str, *, limit: int = 50) -> Sequence[AnswerProduced]:
        """Newest answers that quoted a readable document and that the caller may see."""
        visible = self._visible(identity)
        if document not in visible.documents():
            return ()
        return self._seen(identity, visible, self._answers.from_document(identity.tenant, document), limit)

    async def answers(self, identity: Identity, *, limit: int = 50) -> Sequence[AnswerProduced]:
        """Newest answers that the caller may see."""
        return self._seen(
            identity, self._visible(identity), self._answers.newest(identity.tenant, _asker(identity)), limit
        )

    async def questions(self, identity: Identity, *, limit: int = 50) -> Sequence[QuestionSummary]:
        """Newest questions that the caller may see."""
        readable = self._visible(identity).documents()
        found = (
            self._question(event)
            for event in self._questions.newest(identity.tenant, _asker(identity))
            if self._follows(identity, event, readable)
        )
        return list(islice(found, max(1, min(limit, MAX_ITEMS))))

    async def question(self, identity: Identity, name: str) -> QuestionSummary | None:
        """A question that the caller itself asked, whatever of its answer may still be read."""
        asked = self._questions.first((identity.tenant, name))
        return self._question(asked) if asked is not None and asked.user == identity.user else None

    async def trace(self, identity: Identity, name: str) -> QuestionTrace | None:
        """Every record of a question that the caller may see, by correlation or trace id.

        Raises
        ------
        Unavailable
            If the broker does not answer, or too many traces are read already.
        """
        readable = self._visible(identity).documents()
        asked = self._questions.find(identity.tenant, name)
        if asked is None or not self._follows(identity, asked, readable):
            return None
        summary = self._question(asked)
        collected = await self._collected(summary)
        readable = self._visible(identity).documents()
        entries = [entry for entry in collected.entries if belongs(entry.event, asked)]
        # Whoever chose the same correlation id asked another question: nothing of it is shown, nor the rest.
        if any(of_another(entry.event, asked) for entry in entries):
            return None
        return QuestionTrace(
            correlation_id=summary.correlation,
            trace_id=summary.trace_id,
            entries=tuple(found for entry in entries if (found := shown(entry, readable)) is not None),
            sources=tuple(self._sources(identity.tenant, asked, readable)),
        )

    async def _collected(self, asked: QuestionSummary) -> QuestionTrace:
        if self._n_waiting >= _FOLLOWING + _WAITING:
            raise Unavailable("too many traces are read at the moment; try again shortly")
        self._n_waiting += 1
        try:
            async with self._following:
                return await asyncio.to_thread(self._follow, asked.correlation, asked.asked_at_ms, asked.answered_at_ms)
        finally:
            self._n_waiting -= 1

    def _matches(self, visible: VisibleSet, document: str, text: str) -> bool:
        if not text or text in document.casefold():
            return True
        row = visible.row(document)
        if row is None:
            return False
        title = self._titles.get(row)
        if title is None:
            version = _version(visible, document)
            title = self._titles[row] = version.title.casefold() if version is not None else ""
            while len(self._titles) > _MAX_TITLES:
                self._titles.popitem(last=False)
        return text in title

    def _summary(self, tenant: str, visible: VisibleSet, document: str) -> DocumentSummary | None:
        version = _version(visible, document)
        if version is None:
            return None
        return DocumentSummary(
            document=document,
            title=version.title,
            version=version.version,
            n_chunks=len(version.chunks),
            labels=version.labels,
            groups=tuple(sorted(self._tail.table.groups(tenant, document) or ())),
            trust=version.trust,
            source=version.source,
            language=version.language,
            indexed_at_us=version.meta.time_us,
        )

    def _kept(self, current: DocumentIndexed) -> Iterator[DocumentIndexed]:
        """Versions up to the visible one, newest first: none that waits for its access, none from before a deletion."""
        for event in self._tail.retained(current.tenant, current.document):
            if event.order > current.order:
                continue
            if event.deleted:
                return
            yield event

    def _seen(
        self, identity: Identity, visible: VisibleSet, answers: Iterable[AnswerProduced], limit: int
    ) -> Sequence[AnswerProduced]:
        readable = visible.documents()
        found = (trimmed(answer, readable) for answer in answers if may_see(identity, answer, readable))
        return list(islice(found, max(1, min(limit, MAX_ITEMS))))

    def _follows(self, identity: Identity, asked: QueryReceived, readable: Collection[str]) -> bool:
        """Whether the caller may follow a question: its own, whatever it quoted; of others only with all its quotes."""
        if not concerns(identity, asked.tenant, asked.user):
            return False
        if identity.kind == "person":
            return True
        answer = self._answers.first((asked.tenant, asked.meta.correlation_id))
        return answer is None or quotes_only(answer.citations, readable)

    def _question(self, event: QueryReceived) -> QuestionSummary:
        name = (event.tenant, event.meta.correlation_id)
        answer = self._answers.first(name)
        return QuestionSummary(
            correlation=name[1],
            trace_id=trace_id(event),
            question=event.question,
            conversation=event.conversation,
            user=event.user,
            asked_at_ms=self._questions.seen_at_ms(name) or 0,
            answered_at_ms=self._answers.seen_at_ms(name) or 0,
            status=answer.status if answer is not None else "",
            n_citations=len(answer.citations) if answer is not None else 0,
            cost_usd=answer.cost_usd if answer is not None else 0.0,
        )

    def _sources(self, tenant: str, asked: QueryReceived, readable: Collection[str]) -> Iterator[Source]:
        """Where the quotes of the answer came from, as far as their versions are kept."""
        answer = self._answers.first((tenant, asked.meta.correlation_id))
        for citation in answer.citations if answer is not None else ():
            if citation.document not in readable:
                continue
            kept = self._tail.retained(tenant, citation.document)
            version = next((event for event in kept if event.version == citation.version), None)
            yield Source(
                chunk_id=citation.chunk_id,
                document=citation.document,
                version=citation.version,
                indexed_at=str(version.meta.origin or "") if version is not None else "",
                source_event=version.source_event if version is not None else "",
                source_position=version.source_position if version is not None else "",
            )


def _asker(identity: Identity) -> str | None:
    """Whose questions a caller can see at most; None for everyone's."""
    return identity.user if identity.kind == "person" else None


def _version(visible: VisibleSet, document: str) -> DocumentIndexed | None:
    try:
        return visible.get(document)
    except LookupError:  # pruned since: the document has a newer version
        return None


def _summary_of(event: DocumentIndexed) -> VersionSummary:
    return VersionSummary(
        version=event.version,
        outcome="indexed",
        at_us=event.meta.time_us,
        n_chunks=len(event.chunks),
        n_embedded=event.n_embedded,
        n_reused=event.n_reused,
        n_retired=event.n_retired,
        source_position=event.source_position,
    )
