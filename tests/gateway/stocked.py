"""A service over fakes: a library with documents of several tenants, and answers as a test says them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import httpx
from fastapi import FastAPI, Request

from gateway.admission import Admission
from gateway.app import create_app
from gateway.health import Health
from gateway.identifying import Identification
from gateway.identity import Identity, Scope
from gateway.library import DocumentSummary, Page, Passage, SourceText, VersionSummary
from gateway.metrics import Metrics
from gateway.problems import problem_of
from gateway.seals import Seals
from gateway.service import Ask, Embedder, Routers, Service
from gateway.settings import GatewaySettings
from millrace.client import Answer, Asked, Millrace, Outcome
from millrace.client.answers import answer_of, failure_of
from millrace.client.frames import Frame
from millrace.errors import InputRejected
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerProduced, Citation, Hit, Receipt
from millrace.lineage import Entry, QuestionTrace, Source
from tests.gateway.callers import Callers, unhurried

CORRELATION = "f00d" * 8


def citation(document: str = "travel.md", quote: str = "The limit is 140 euros.", **fields: Any) -> Citation:
    """A quote of a document."""
    given: dict[str, Any] = {
        "version": 2,
        "chunk_id": f"chunk-{document}",
        "title": "Travel",
        "heading": "Hotels",
        "start": 7,
    }
    given |= fields
    return Citation(document=document, quote=quote, end=given["start"] + len(quote), **given)


def ended(text: str = "The limit is 140 euros.", *citations: Citation, **fields: Any) -> AnswerCompleted:
    """The end of an answer."""
    quotes = citations or (citation(quote=text),)
    return AnswerCompleted(tenant="acme", correlation=CORRELATION, text=text, citations=quotes, watermark="7", **fields)


def piece(text: str, n: int = 0, attempt: int = 0) -> AnswerDelta:
    """A piece of an answer."""
    return AnswerDelta(tenant="acme", correlation=CORRELATION, text=text, n=n, attempt=attempt)


@dataclass
class ScriptedAsking:
    """Answers every question with the same frames; an exception among them is raised."""

    script: Sequence[Frame | Exception] = field(default_factory=lambda: [piece("The limit is 140 euros."), ended()])
    asked: list[tuple[Identity, Ask]] = field(default_factory=list)
    n_open: int = 0
    recalled: AnswerProduced | None = None

    async def follow(self, identity: Identity, ask: Ask) -> AsyncGenerator[Asked | Frame, None]:
        self.asked.append((identity, ask))
        self.n_open += 1
        try:
            yield Asked(correlation=CORRELATION, conversation=ask.conversation or "c-new", partition=0, offset=0)
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                yield step
        finally:
            self.n_open -= 1

    async def stream(self, identity: Identity, ask: Ask) -> AsyncGenerator[Frame, None]:
        async for item in self.follow(identity, ask):
            if not isinstance(item, Asked):
                yield item

    async def answer(self, identity: Identity, ask: Ask) -> Answer:
        async for frame in self.stream(identity, ask):
            if isinstance(frame, AnswerCompleted):
                return answer_of(frame, trace_id=CORRELATION, conversation=ask.conversation or "c-new", latency_ms=1.0)
            if frame.terminal:
                raise problem_of(failure_of(cast("Any", frame)))
        raise AssertionError("the script has no end")

    def place(self, identity: Identity, found: str) -> Any:
        raise NotImplementedError

    def resume(self, identity: Identity, place: Any) -> Any:
        raise NotImplementedError

    async def recall(self, identity: Identity, correlation: str) -> AnswerProduced | None:
        return self.recalled


@dataclass
class StockedLibrary:
    """Documents with a text each, by tenant; answers and traces of their askers. Counts what it is asked."""

    texts: dict[str, dict[str, str]] = field(default_factory=dict)
    groups: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    told: list[AnswerProduced] = field(default_factory=list)
    n_calls: int = 0
    fails_with: Exception | None = None

    def _readable(self, identity: Identity) -> dict[str, str]:
        self.n_calls += 1
        if self.fails_with is not None:
            raise self.fails_with
        allowed = set(identity.groups)
        found = self.texts.get(identity.tenant, {})
        return {
            document: text
            for document, text in sorted(found.items())
            if allowed & set(self.groups.get((identity.tenant, document), ("*",)))
        }

    async def documents(
        self, identity: Identity, *, text: str = "", after: str = "", limit: int = 50
    ) -> Page[DocumentSummary]:
        tenant, _, position = after.partition("|")
        if after and tenant != identity.tenant:
            raise InputRejected("the cursor is none of this list")
        names = [name for name in self._readable(identity) if name > position and text in name]
        more = f"{identity.tenant}|{names[limit - 1]}" if len(names) > limit else ""
        return Page(items=tuple(_summary(name) for name in names[:limit]), next=more)

    async def document(self, identity: Identity, document: str) -> DocumentSummary | None:
        return _summary(document) if document in self._readable(identity) else None

    async def versions(self, identity: Identity, document: str) -> Sequence[VersionSummary]:
        if document not in self._readable(identity):
            return ()
        position = "corpus.source.changed.v1/0/41"
        return (VersionSummary(version=2, outcome="indexed", at_us=1_700_000_000_000_000, source_position=position),)

    async def outcome(self, identity: Identity, receipt: Receipt, wait_s: float = 0.0) -> Outcome | None:
        return None

    async def source(self, identity: Identity, document: str, version: int) -> SourceText | None:
        text = self._readable(identity).get(document)
        if text is None or version != 2:
            return None
        return SourceText(document=document, version=2, title="Travel", text=text, visible=True)

    async def passages(self, identity: Identity, hits: Sequence[Hit]) -> Sequence[Passage]:
        readable = self._readable(identity)
        return [
            Passage(
                document=hit.document,
                version=hit.version,
                chunk_id=hit.chunk_id,
                title="Travel",
                heading="Hotels",
                start=0,
                end=len(readable[hit.document]),
                text=readable[hit.document],
            )
            for hit in hits
            if hit.document in readable
        ]

    async def answers_from(self, identity: Identity, document: str, *, limit: int = 50) -> Sequence[AnswerProduced]:
        if document not in self._readable(identity):
            return ()
        found = [answer for answer in self._own(identity) if any(c.document == document for c in answer.citations)]
        return found[:limit]

    async def answers(self, identity: Identity, *, limit: int = 50) -> Sequence[AnswerProduced]:
        self.n_calls += 1
        return self._own(identity)[:limit]

    async def questions(self, identity: Identity, *, limit: int = 50) -> Sequence[Any]:
        return ()

    async def question(self, identity: Identity, name: str) -> Any:
        return None

    async def trace(self, identity: Identity, name: str) -> QuestionTrace | None:
        self.n_calls += 1
        answer = next((found for found in self._own(identity) if found.correlation == name), None)
        if answer is None:
            return None
        entry = Entry(
            time="2026-01-01T00:00:00Z",
            timestamp_ms=1,
            type="AnswerProduced",
            id="e1",
            causation_id="e0",
            position="query.answer.produced.v1/0/7",
            what="answered",
            event=answer,
        )
        sources = tuple(
            Source(
                chunk_id=quote.chunk_id,
                document=quote.document,
                version=quote.version,
                indexed_at="corpus.document.indexed.v1/0/5",
                source_event="s1",
                source_position="corpus.source.changed.v1/0/41",
            )
            for quote in answer.citations
        )
        return QuestionTrace(correlation_id=name, trace_id=name, entries=(entry,), sources=sources)

    def _own(self, identity: Identity) -> list[AnswerProduced]:
        return [answer for answer in self.told if (answer.tenant, answer.user) == (identity.tenant, identity.user)]


def _summary(document: str) -> DocumentSummary:
    return DocumentSummary(
        document=document,
        title=document.title(),
        version=2,
        n_chunks=1,
        labels={"team": "hr"},
        groups=("*",),
        trust="trusted",
        source="test",
        language="en",
        indexed_at_us=1_700_000_000_000_000,
    )


def recorded(tenant: str = "acme", user: str = "ada", correlation: str = CORRELATION, **fields: Any) -> AnswerProduced:
    """The recorded end of a question."""
    given: dict[str, Any] = {"text": "The limit is 140 euros.", "citations": (citation(),), "status": "answered"}
    return AnswerProduced(tenant=tenant, user=user, conversation="c1", correlation=correlation, **(given | fields))


@dataclass
class Stocked:
    """An application over fakes, and callers of it."""

    app: FastAPI
    service: Service
    asking: ScriptedAsking
    library: StockedLibrary
    callers: Callers

    def bearer(self, user: str = "ada", *, tenant: str = "acme", **claims: Any) -> dict[str, str]:
        """Headers of a person."""
        return self.callers.bearer(user, tenant=tenant, **claims)

    def token(self, user: str = "ada", *, tenant: str = "acme", **claims: Any) -> str:
        """Token of a person."""
        return self.bearer(user, tenant=tenant, **claims)["Authorization"].removeprefix("Bearer ")

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client within this process; streams come whole."""
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers or self.bearer())


def stocked(
    *routers: Routers,
    script: Iterable[Frame | Exception] | None = None,
    settings: GatewaySettings | None = None,
    embedder: Embedder | None = None,
    library: StockedLibrary | None = None,
    admit: Callable[[Admission], Any] = lambda admission: admission,
) -> Stocked:
    """An application with some interfaces over fakes."""
    settings = unhurried(settings or GatewaySettings())
    metrics, callers = Metrics(), Callers()
    health = Health(_answers, metrics)
    health.broker_answers = True
    admission = admit(Admission(settings.limits, health, metrics))
    asking = ScriptedAsking() if script is None else ScriptedAsking(list(script))
    library = library or StockedLibrary({"acme": {"travel.md": "Hotel: The limit is 140 euros."}})
    identification = Identification(callers.verifiers(), admission)

    async def identify(request: Request, scope: Scope) -> Identity:
        return await identification(request, scope)

    service = Service(
        millrace=cast("Millrace", None),
        identify=identify,
        asking=asking,
        library=library,
        admission=admission,
        seals=Seals(b"of this test run, the same everywhere"),
        health=health,
        metrics=metrics,
        embedder=embedder,
    )
    return Stocked(create_app(service, settings, routers), service, asking, library, callers)


async def _answers() -> None:
    return None
