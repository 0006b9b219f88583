"""Pages of a gateway whose library is a shelf in memory, and whose worker says what a test tells it."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.library import QuestionSummary
from gateway.masking import Mask
from gateway.pages import pages
from gateway.people import People, Person
from gateway.settings import GatewaySettings, Limits
from millrace.event import Event
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerProduced, Citation, QueryReceived
from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.pages.shelf import ASKED_MS, Shelf, quoted

HANDBOOK = """# Travel

Trips are booked by the travel desk.

## Approval

Trips above 1,000 EUR are approved by the head of the department. Ask early: approval takes three days.
"""
NEWER = HANDBOOK.replace("1,000 EUR", "2,000 EUR")
SALARIES = "# Salaries\n\nThe bonus of 2026 is nine percent.\n"
QUOTE = "Trips above 1,000 EUR are approved by the head of the department."


def ends_well(question: QueryReceived, *texts: str, citations: tuple[Citation, ...] = ()) -> Iterable[Event]:
    """Frames of an answer that comes in pieces."""
    whose: dict[str, Any] = {"tenant": question.tenant, "correlation": question.meta.correlation_id}
    for n, text in enumerate(texts):
        yield AnswerDelta(**whose, n=n, text=text)
    text = "".join(texts)
    yield AnswerCompleted(
        **whose, n=len(texts), text=text, found=bool(texts), citations=citations, model="reader/1", cost_usd=0.0012
    )


@dataclass
class Office:
    """A tenant with two people and a few documents, and the gateways that serve its pages."""

    gateways: Gateways
    shelf: Shelf
    people: tuple[Person, ...]

    @property
    def tenant(self) -> str:
        return self.gateways.tenant

    def reply(self, question: QueryReceived) -> Iterable[Event]:
        """An answer that quotes the handbook's first version, noted on the shelf."""
        citation = quoted("travel/handbook.md", HANDBOOK, QUOTE, title="Travel handbook", heading="Travel > Approval")
        frames = tuple(ends_well(question, QUOTE[:20], f"{QUOTE[20:]} [1]", citations=(citation,)))
        self.note(question, f"{QUOTE} [1]", citation)
        return frames

    def note(self, question: QueryReceived, text: str, *citations: Citation, status: Any = "answered") -> None:
        """Note a question and its end on the shelf."""
        correlation = question.meta.correlation_id
        self.shelf.note(
            QuestionSummary(
                correlation=correlation, trace_id=uuid.uuid5(uuid.NAMESPACE_OID, correlation).hex,
                question=question.question, conversation=question.conversation, user=question.user,
                asked_at_ms=ASKED_MS, answered_at_ms=ASKED_MS + 80, status=status, n_citations=len(citations),
            ),
            AnswerProduced(
                tenant=question.tenant, conversation=question.conversation, correlation=correlation, status=status,
                text=text, citations=citations, user=question.user, model="reader/1",
                timings_ms={"retrieve": 21.5, "read": 34.25},
            ),
        )  # fmt: skip

    @asynccontextmanager
    async def open(
        self, *, signed_in_by_token: bool = False, mask: Mask = str, limits: Limits | None = None
    ) -> AsyncIterator[Gateway]:
        """A replica with pages, for its people or for tokens."""
        people = () if signed_in_by_token else self.people
        options = {"library": self.shelf, "people": People(people) if people else None}
        settings = GatewaySettings(default_timeout_s=110.0, limits=limits or Limits())
        async with self.gateways.replica(settings, [pages(people, mask)], **options) as gateway:
            gateway.client.base_url = httpx.URL("http://localhost")
            yield gateway


@pytest.fixture
def office(gateways: Gateways) -> Office:
    """Ann of hr, Ben of nothing in particular, and two who review: Rea here, Tom in another tenant."""
    tenant, shelf = gateways.tenant, Shelf()
    shelf.put(tenant, "travel/handbook.md", HANDBOOK, NEWER, title="Travel handbook", labels={"area": "travel"})
    shelf.put(tenant, "hr/salaries.md", SALARIES, groups=("hr",), title="Salaries 2026", trust="untrusted")
    people = (
        Person(name="Ann", tenant=tenant, groups=("hr",)),
        Person(name="Ben", tenant=tenant, groups=("sales",)),
        Person(name="Rea", tenant=tenant, groups=("reviewers",)),
        Person(name="Tom", tenant=f"{tenant}-other", groups=("reviewers",)),
    )
    return Office(gateways, shelf, people)


def form_token(page: str) -> str:
    """Token that a page's forms carry."""
    found = re.search(r'name="form" value="([^"]+)"', page)
    assert found is not None
    return found[1]
