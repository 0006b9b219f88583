"""Ask: one conversation, streamed where there is a script, whole where there is none."""

from __future__ import annotations

import time
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from gateway.http import streams
from gateway.http.answers import sealed_watermark
from gateway.http.questions import wants_events
from gateway.identity import Identity
from gateway.library import QuestionSummary
from gateway.pages.feedback import SAID
from gateway.pages.rendering import Site
from gateway.pages.sessions import Visitor
from gateway.problems import Problem
from gateway.service import Ask, Service
from gateway.settings import GatewaySettings
from millrace.client import Answer
from millrace.events.query import AnswerProduced, Citation

_MAX_TURNS: Final = 20
_NEWEST: Final = 20
_MAX_LATELY: Final = 3
_MAX_NAME: Final = 200
_MAX_BEGUN: Final = 8000
_MAX_EVENT_ID: Final = 4096


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A question and what became of it, for the page.

    Attributes
    ----------
    status : str
        ``answered``, ``not_found``, ``retracted``, or ``failed`` with what to say in `text`.
    """

    correlation: str
    question: str
    status: str
    text: str
    citations: tuple[Citation, ...] = ()
    model: str = ""
    cost_usd: float = 0.0
    seconds: float = 0.0


def add(router: APIRouter, site: Site, service: Service, settings: GatewaySettings) -> None:
    """Add the page of questions."""

    @router.get("/ask")
    async def conversation(
        request: Request,
        name: Annotated[str, Query(alias="conversation", max_length=_MAX_NAME)] = "",
        question: Annotated[str, Query(max_length=_MAX_BEGUN)] = "",
        said: Annotated[str, Query(max_length=_MAX_NAME)] = "",
    ) -> Response:
        visitor = await site.visitor(request, "ask")
        turns, watermark = await _earlier(service, visitor.identity, name)
        lately = [] if turns else await _lately(service, visitor.identity)
        return site.page(
            request,
            "ask.html",
            visitor,
            turns=turns,
            conversation=name,
            watermark=watermark,
            lately=lately,
            question=question,
            said=SAID.get(said, ""),
            longest=settings.limits.question_chars,
        )

    @router.post("/ask")
    async def question(request: Request) -> Response:
        visitor = await site.visitor(request, "ask")
        form = await site.form(request)
        site.sessions.check_form(request, visitor, form)
        if wants_events(request) and (seen := request.headers.get("last-event-id", "")):
            return await _resumed(service, settings, visitor.identity, seen[:_MAX_EVENT_ID])
        asked = Ask(
            question=form.get("question", "").strip()[: settings.limits.question_chars + 1],
            conversation=form.get("conversation", "")[:_MAX_NAME],
            watermark=form.get("watermark", ""),
            timeout_s=settings.default_timeout_s,
        )
        if not asked.question:
            raise Problem(422, "invalid_question", "there is no question yet; write one and send it again")
        if len(asked.question) > settings.limits.question_chars:
            raise Problem(
                422, "question_too_long", f"a question has at most {settings.limits.question_chars} characters"
            )
        if wants_events(request):
            return await _streamed(service, settings, visitor.identity, asked)
        return await _whole(request, site, service, settings, visitor, asked)


async def _streamed(service: Service, settings: GatewaySettings, identity: Identity, asked: Ask) -> Response:
    deadline_ms = round((time.time() + asked.timeout_s) * 1000)
    return await streams.response(
        service, settings, identity, service.asking.follow(identity, asked), None, deadline_ms
    )


async def _resumed(service: Service, settings: GatewaySettings, identity: Identity, seen: str) -> Response:
    """The rest of a stream that broke off."""
    place = service.asking.place(identity, seen)
    if place.ended:
        return Response(status_code=204)
    items = service.asking.resume(identity, place)
    return await streams.response(service, settings, identity, items, place, place.deadline_ms)


async def _whole(
    request: Request, site: Site, service: Service, settings: GatewaySettings, visitor: Visitor, asked: Ask
) -> Response:
    identity = visitor.identity
    turns, watermark = await _earlier(service, identity, asked.conversation)
    name, status = asked.conversation, 200
    try:
        answer = await streams.unless_gone(request, service, service.asking.answer(identity, asked))
    except Problem as problem:
        taken_back = problem.name == "retracted"
        turn = Turn(
            correlation=str(problem.more.get("question", "")),
            question=asked.question,
            status="retracted" if taken_back else "failed",
            text=problem.detail,
        )
        status = 200 if taken_back else problem.status_code
    else:
        turn, name = _turn(asked.question, answer), answer.conversation
        watermark = sealed_watermark(service.seals, identity, answer.watermark)
    turns = [found for found in turns if found.correlation != turn.correlation or not turn.correlation]
    return site.page(
        request,
        "ask.html",
        visitor,
        status=status,
        turns=[*turns, turn],
        conversation=name,
        watermark=watermark,
        lately=[],
        question="",
        said="",
        longest=settings.limits.question_chars,
    )


def _turn(question: str, answer: Answer) -> Turn:
    return Turn(
        correlation=answer.correlation_id,
        question=question,
        status="answered" if answer.found else "not_found",
        text=answer.text,
        citations=answer.citations,
        model=answer.model,
        cost_usd=answer.cost_usd,
        seconds=answer.latency_ms / 1000,
    )


async def _earlier(service: Service, identity: Identity, conversation: str) -> tuple[list[Turn], str]:
    """Turns of a conversation that the log holds, oldest first, and how far the corpus was read for the last one."""
    if not conversation:
        return [], ""
    asked = await service.library.questions(identity, limit=200)
    mine = [found for found in asked if found.conversation == conversation and found.user == identity.user]
    answers = {answer.correlation: answer for answer in await service.library.answers(identity, limit=200)}
    turns, watermark = [], ""
    for found in reversed(mine[:_MAX_TURNS]):
        answer = answers.get(found.correlation)
        watermark = answer.watermark if answer is not None else watermark
        seconds = max(0, found.answered_at_ms - found.asked_at_ms) / 1000
        turns.append(_recorded(found.correlation, found.question, found.status, answer, seconds))
    return turns, sealed_watermark(service.seals, identity, watermark)


async def _lately(service: Service, identity: Identity) -> list[QuestionSummary]:
    """The newest question of each of the visitor's newest conversations."""
    newest: dict[str, QuestionSummary] = {}
    for asked in await service.library.questions(identity, limit=_NEWEST):
        if asked.user == identity.user:
            newest.setdefault(asked.conversation, asked)
    return list(newest.values())[:_MAX_LATELY]


def _recorded(correlation: str, question: str, status: str, answer: AnswerProduced | None, seconds: float) -> Turn:
    turn = Turn(correlation=correlation, question=question, status="failed", text="")
    if not status:
        text = "This question has no answer yet; load the page again in a moment."
    elif answer is None:
        text = "This answer quotes a document that you may not read any more."
    elif answer.status in {"refused", "failed"}:
        text = answer.text or f"There was no answer ({answer.error_type})."
    elif answer.status == "retracted":
        return msgspec.structs.replace(turn, status="retracted")
    else:
        return msgspec.structs.replace(
            turn,
            status=answer.status,
            text=answer.text,
            citations=answer.citations,
            model=answer.model,
            cost_usd=answer.cost_usd,
            seconds=seconds,
        )
    return msgspec.structs.replace(turn, text=text)
