"""What people say of answers on the Ask page, and what the page sees them do."""

from __future__ import annotations

from typing import Any, Final, get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.feedback import MAX_NAME, Opinion, give, observe
from gateway.pages.rendering import HEADERS, Site
from gateway.problems import Problem
from gateway.service import Service
from gateway.settings import GatewaySettings
from millrace.events.feedback import InteractionKind

SAID: Final = {
    "up": "Thank you. The answer was noted as helpful.",
    "down": "Thank you. The answer was noted as not helpful.",
    "correction": "Thank you. Your correction was noted.",
    "escalated": "A person was asked to look at this answer.",
}
"""What a page says once it is noted, by what was said."""
_MAX_CONVERSATION: Final = 200


def add(router: APIRouter, site: Site, service: Service, _: GatewaySettings) -> None:
    """Add what the forms below answers post to."""

    @router.post("/ask/feedback")
    async def feedback(request: Request) -> Response:
        visitor = await site.visitor(request, "ask")
        form = await site.form(request)
        site.sessions.check_form(request, visitor, form)
        said, question = form.get("say", ""), form.get("question", "")[: MAX_NAME + 1]
        if said == "escalated":
            await observe(service, visitor.identity, question, "escalated")
        else:
            await give(service, visitor.identity, question, _opinion(said, form.get("text", "")))
        if "application/json" in request.headers.get("accept", ""):
            return Response(status_code=204, headers=dict(HEADERS))
        back = urlencode({"conversation": form.get("conversation", "")[:_MAX_CONVERSATION], "said": said})
        return RedirectResponse(f"/ask?{back}", 303, headers=dict(HEADERS))

    @router.post("/ask/interactions")
    async def interaction(request: Request) -> Response:
        """Note what the page saw; nobody waits for it, so it says the same of every question."""
        visitor = await site.visitor(request, "ask")
        form = await site.form(request)
        site.sessions.check_form(request, visitor, form)
        kind: Any = form.get("kind", "")
        if kind not in get_args(InteractionKind):
            raise Problem(422, "invalid", "that is nothing that a page sees")
        try:
            await observe(service, visitor.identity, form.get("question", "")[: MAX_NAME + 1], kind)
        except Problem as problem:
            if problem.status_code != 404:
                raise
        return Response(status_code=204, headers=dict(HEADERS))


def _opinion(said: str, text: str) -> Opinion:
    match said:
        case "up" | "down":
            return Opinion(kind=said)
        case "correction" if text.strip():
            return Opinion(kind="correction", text=text)
        case "correction":
            raise Problem(422, "invalid_feedback", "there is no correction yet; write what the answer should say")
    raise Problem(422, "invalid_feedback", "that is nothing that can be said of an answer")
