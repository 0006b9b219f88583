"""`/v1/questions`: ask, as JSON or as a stream of events that any replica goes on with."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from gateway.callers import caller
from gateway.http import streams
from gateway.http.answers import AnswerBody, QuestionState, answer_body, question_state
from gateway.http.bodies import Body, described, json_body
from gateway.http.descriptions import problems
from gateway.http.receipts import receipts_of
from gateway.identity import Identity
from gateway.problems import Problem, missing
from gateway.service import Ask, Service
from gateway.settings import GatewaySettings

_LEAST_S: Final = 0.1
_MAX_RECEIPTS: Final = 64
Name = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class QuestionBody(Body):
    """A question. Tenant, user and groups come from the token or key; a body that names them is refused."""

    question: str = Field(min_length=1, description="The question.", examples=["Who approves travel above 1,000 EUR?"])
    conversation: Name = Field(default="", description="Conversation it belongs to; a new one by default.")
    mode: Literal["answer", "search"] = Field(default="answer", description="Read an answer, or only retrieve.")
    top_k: int = Field(default=10, ge=1, le=100, description="How many passages to retrieve.")
    labels: dict[Name, Name] = Field(default={}, max_length=16, description="Only documents with these labels.")
    after: list[Annotated[str, Field(max_length=64 * 1024)]] = Field(
        default=[], max_length=_MAX_RECEIPTS, description="Receipts of changes that the answer has to know of."
    )
    watermark: str = Field(
        default="",
        max_length=8192,
        description="Of an earlier answer; this one is from no older state of the documents.",
    )
    explain: bool = Field(default=False, description="Name the passages that were retrieved.")
    exact: bool = Field(default=False, description="Search exhaustively.")
    timeout_s: float | None = Field(default=None, gt=0, le=600, description="Time allowed, in seconds.")


_STREAMED: Final[dict[str, Any]] = {
    "description": "The answer; with `Accept: text/event-stream` a stream of the events `accepted`, `delta`, and one "
    "of `completed`, `failed` and `retracted`. `moved` says that this replica ends: send the last id as "
    "`Last-Event-ID`.",
    "content": {
        "text/event-stream": {
            "schema": {"type": "object", "properties": {name: {"type": "string"} for name in ("event", "id", "data")}}
        }
    },
}


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """Routes of questions."""
    router = APIRouter(prefix="/v1/questions", tags=["questions"])
    ask_scope = Depends(caller(service, "ask"))

    @router.post(
        "",
        response_model=AnswerBody,
        responses={200: _STREAMED, **problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503)},
        openapi_extra=described(QuestionBody),
        operation_id="ask",
    )
    async def ask(
        request: Request,
        identity: Identity = ask_scope,
        last_event_id: Annotated[str, Header(max_length=4096)] = "",
    ) -> Response:
        """Ask a question.

        A stream that broke off is taken up again, on any replica, by the same request with the id of the last event in
        `Last-Event-ID`; its body is then not read. A caller that goes away gives its question up.
        """
        streamed = wants_events(request)
        if streamed and last_event_id:
            return await _resumed(service, settings, identity, last_event_id)
        body = await json_body(request, settings.limits, QuestionBody)
        found = _ask_of(service, settings, identity, body)
        if not streamed:
            answer = await streams.unless_gone(request, service, service.asking.answer(identity, found))
            return JSONResponse(answer_body(service.seals, identity, answer).model_dump())
        deadline_ms = round((time.time() + found.timeout_s) * 1000)
        items = service.asking.follow(identity, found)
        return await streams.response(service, settings, identity, items, None, deadline_ms)

    @router.get(
        "/{question}",
        response_model=QuestionState,
        responses=problems(401, 403, 404, 422, 429, 503),
        operation_id="question",
    )
    async def question(
        question: Annotated[str, Path(max_length=64, description="Name of the question.")],
        identity: Identity = ask_scope,
    ) -> QuestionState:
        """How a question of one's own ended, as long as it is recent; 404 while it has not, and for those of others.

        404 too once the caller may not read a document any more that the answer quotes.
        """
        found = await service.asking.recall(identity, question)
        quoted = {citation.document for citation in found.citations} if found is not None else set()
        readable = [await service.library.document(identity, document) for document in quoted]
        if found is None or None in readable:
            raise missing("question")
        return question_state(found)

    @router.get(
        "/events/rest",
        responses={
            200: _STREAMED,
            204: {"description": "There is nothing more."},
            **problems(401, 403, 404, 422, 429, 503),
        },
        operation_id="resume",
    )
    async def rest(
        identity: Identity = ask_scope, last_event_id: Annotated[str, Header(max_length=4096)] = ""
    ) -> Response:
        """The rest of a stream that broke off, for clients that can only `GET` events."""
        if not last_event_id:
            raise Problem(422, "invalid_request", "send the id of the last event as Last-Event-ID")
        return await _resumed(service, settings, identity, last_event_id)

    return router


def wants_events(request: Request) -> bool:
    """Whether a caller asks for a stream of events."""
    return streams.MEDIA_TYPE in request.headers.get("accept", "").lower()


async def _resumed(service: Service, settings: GatewaySettings, identity: Identity, found: str) -> Response:
    place = service.asking.place(identity, found)
    if place.ended:
        return Response(status_code=204)
    items = service.asking.resume(identity, place)
    return await streams.response(service, settings, identity, items, place, place.deadline_ms)


def _ask_of(service: Service, settings: GatewaySettings, identity: Identity, body: QuestionBody) -> Ask:
    timeout_s = settings.default_timeout_s if body.timeout_s is None else body.timeout_s
    return Ask(
        question=body.question,
        conversation=body.conversation,
        mode=body.mode,
        top_k=body.top_k,
        labels=body.labels,
        after=receipts_of(service.seals, identity, body.after),
        watermark=body.watermark,
        explain=body.explain,
        exact=body.exact,
        timeout_s=max(_LEAST_S, min(timeout_s, settings.limits.question_timeout_s)),
    )
