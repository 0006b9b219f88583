"""Inbox: what a person should look at, what it is about, and the decisions that fit. For reviewers alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.pages.rendering import HEADERS, Site
from gateway.pages.sessions import Visitor
from gateway.pages.text import MarkedText, marked
from gateway.problems import missing
from gateway.reviewing import ReviewItem, Reviews, State, SubjectText, check_reviewer
from gateway.service import Service
from gateway.settings import GatewaySettings

_A_PAGE: Final = 50
_SAYS: Final[Mapping[str, str]] = {
    "release": "Let it be read",
    "withdraw": "Withdraw it",
    "confirm": "The finding is right",
    "dismiss": "Nothing is wrong",
    "correct": "Give the right answer",
}
_SAID: Final[Mapping[str, str]] = {
    "release": "may be read",
    "withdraw": "withdrawn",
    "confirm": "confirmed",
    "dismiss": "dismissed",
    "correct": "corrected",
}
Id = Annotated[str, Path(min_length=1, max_length=200)]


def add(router: APIRouter, site: Site, service: Service, settings: GatewaySettings) -> None:
    """Add the inbox, where the gateway has reviews."""
    reviews = service.reviews
    if reviews is None:
        return

    async def reviewer(request: Request) -> Visitor:
        visitor = await site.visitor(request)
        check_reviewer(visitor.identity, settings.reviewers)
        return visitor

    @router.get("/inbox")
    async def items(
        request: Request,
        state: Annotated[State, Query()] = "open",
        kind: Annotated[str, Query(max_length=100)] = "",
        after: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        visitor = await reviewer(request)
        found, following = await reviews.items(visitor.identity, state=state, kind=kind, limit=_A_PAGE, after=after)
        subjects = await asyncio.to_thread(lambda: [site.mask(each.subject) for each in found])
        return site.page(
            request,
            "inbox.html",
            visitor,
            found=list(zip(found, subjects, strict=True)),
            state=state,
            kind=kind,
            after=after,
            following=following,
            said=_SAID,
            now_ms=_now_ms(),
        )

    @router.get("/inbox/{item}")
    async def one(request: Request, item: Id) -> Response:
        visitor = await reviewer(request)
        found = await reviews.item(visitor.identity, item)
        if found is None:
            raise missing("review item")
        return await _page(request, site, reviews, visitor, found)

    @router.post("/inbox/{item}")
    async def decide(request: Request, item: Id) -> Response:
        visitor = await reviewer(request)
        form = await site.form(request)
        site.sessions.check_form(request, visitor, form)
        service.admission.write(visitor.identity)
        found = await reviews.decide(visitor.identity, item, form.get("decision", ""), form.get("text", ""))
        if found is None:
            raise missing("review item")
        return RedirectResponse(f"/inbox/{found.item}#decided", 303, headers=dict(HEADERS))


async def _page(request: Request, site: Site, reviews: Reviews, visitor: Visitor, item: ReviewItem) -> Response:
    text = await reviews.text(visitor.identity, item.item)
    # Masking looks at every word: not on the event loop.
    shown, question, subject = await asyncio.to_thread(_shown, site, item, text)
    title = await asyncio.to_thread(site.mask, text.title if text is not None else "")
    notes = await asyncio.to_thread(lambda: [site.mask(each.text) for each in item.decisions])
    return site.page(
        request,
        "item.html",
        visitor,
        item=item,
        text=text,
        shown=shown,
        question=question,
        subject=subject,
        title=title,
        decisions=list(zip(item.decisions, notes, strict=True)),
        says=_SAYS,
        said=_SAID,
        now_ms=_now_ms(),
    )


def _shown(site: Site, item: ReviewItem, text: SubjectText | None) -> tuple[MarkedText, MarkedText, str]:
    """Text and question with what was found marked, and the subject's id; personal data are masked."""
    nothing = marked("", (), site.mask)
    subject = site.mask(item.subject)
    if text is None:
        return nothing, nothing, subject
    spans = [(span.start, span.end) for span in item.spans]
    if item.subject_kind == "document":
        return marked(text.text, spans, site.mask), nothing, subject
    # Places in a question are those of the question as it was admitted: on one line.
    plain = " ".join(text.question.split()) == text.question and item.subject_kind == "question"
    return marked(text.text, (), site.mask), marked(text.question, spans if plain else (), site.mask), subject


def _now_ms() -> int:
    return round(time.time() * 1000)
