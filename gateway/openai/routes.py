"""`/v1/chat/completions`, `/v1/embeddings` and `/v1/models`, as OpenAI's clients call them."""

from __future__ import annotations

import time
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ValidationError
from starlette.convertors import StringConvertor, register_url_convertor

from gateway.callers import caller
from gateway.http.answers import sealed_watermark
from gateway.http.bodies import described, read_body
from gateway.http.descriptions import problems
from gateway.http.receipts import receipts_of
from gateway.http.streams import unless_gone
from gateway.identity import Identity
from gateway.openai.embeddings import Batches, EmbeddingRequest, response_of, texts_of
from gateway.openai.errors import OpenAIRoute, Refused, error_responses
from gateway.openai.growing import Growth
from gateway.openai.request import ChatRequest, ask_of, first_fault
from gateway.openai.streaming import Told, events, first_frame
from gateway.openai.wire import Outcome, Reply
from gateway.problems import Problem
from gateway.service import Ask, Service
from gateway.settings import GatewaySettings
from gateway.sources import Link, source_link
from millrace.client import Answer

M = TypeVar("M", bound=BaseModel)
_LEAST_S: Final = 0.1
_STREAMED: Final = {
    "description": "The answer; with `stream` chunks as server-sent events.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class _Anything(StringConvertor):
    """A rest of a path with line breaks in it, too: a name that nobody has gets OpenAI's answer, not the router's."""

    regex = r"[\s\S]*"


register_url_convertor("any", _Anything())


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """Routes of the OpenAI-compatible interface."""
    router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)
    _Chat(service, settings).add_to(router)
    _Models(service, settings).add_to(router)
    return router


class _Chat:
    """`/v1/chat/completions`."""

    def __init__(self, service: Service, settings: GatewaySettings) -> None:
        self._service = service
        self._settings = settings
        self._link: Link = source_link(settings.public_url)

    def add_to(self, router: APIRouter) -> None:
        """Register the route."""
        service = self._service
        ask_scope = Depends(caller(service, "ask"))

        @router.post(
            "/chat/completions",
            response_class=JSONResponse,
            responses={200: _STREAMED, **error_responses(problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503))},
            openapi_extra=described(ChatRequest),
            operation_id="chatCompletion",
        )
        async def chat(request: Request, identity: Identity = ask_scope) -> Response:
            """Ask as OpenAI's clients do: the last user message is the question.

            Earlier messages are taken and not read. Citations stand beside each choice's message, and beside the last
            delta of a stream; `millrace` holds what else is known.
            """
            body = await _json(request, self._settings, ChatRequest)
            if body.model != self._settings.openai.model:
                raise _no_such_model(body.model)
            ask = self._ask_of(body, identity)
            reply = Reply(model=body.model, created=int(time.time()), prompt=ask.question, link=self._link)
            if body.stream:
                return await self._streamed(request, identity, ask, body, reply)
            answer = await unless_gone(request, service, service.asking.answer(identity, ask))
            outcome = _outcome_of(answer, sealed_watermark(service.seals, identity, answer.watermark))
            growth = Growth(body.longest)
            return JSONResponse(reply.completion(growth.rest(outcome.content), outcome, cut=growth.cut))

    def _ask_of(self, body: ChatRequest, identity: Identity) -> Ask:
        limits = self._settings.limits
        return ask_of(
            body,
            receipts=partial(receipts_of, self._service.seals, identity),
            timeout_s=lambda given: max(
                _LEAST_S, min(given or self._settings.default_timeout_s, limits.question_timeout_s)
            ),
            max_messages=self._settings.openai.messages,
            max_characters=limits.body_bytes,
        )

    async def _streamed(
        self, request: Request, identity: Identity, ask: Ask, body: ChatRequest, reply: Reply
    ) -> StreamingResponse:
        service = self._service
        sealed = partial(sealed_watermark, service.seals, identity)
        told = Told(reply, sealed, longest=body.longest, with_usage=body.wants_usage)
        items = service.asking.follow(identity, ask)
        try:
            first = await unless_gone(request, service, first_frame(items, told))
        except BaseException:
            async with aclosing(items):
                raise
        stream = events(items, first, told, over=service.health.over, heartbeat_s=self._settings.heartbeat_s)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )


class _Models:
    """`/v1/models` and `/v1/embeddings`."""

    def __init__(self, service: Service, settings: GatewaySettings) -> None:
        self._service = service
        self._settings = settings
        self._since = int(time.time())
        embedder, policy = service.embedder, settings.openai
        self._batches = Batches(embedder, size=policy.batch, most=policy.concurrent_embeddings) if embedder else None

    def add_to(self, router: APIRouter) -> None:
        """Register the routes."""
        service = self._service
        ask_scope = Depends(caller(service, "ask"))
        common = error_responses(problems(401, 403, 429, 503))

        @router.get("/models", response_class=JSONResponse, responses=common, operation_id="models")
        async def models(_: Identity = ask_scope) -> Response:
            """The models that can be named."""
            return JSONResponse({"object": "list", "data": [self._model(name) for name in self._names()]})

        found_or_not = common | error_responses(problems(404, 422))

        @router.get("/models/{model:any}", response_class=JSONResponse, responses=found_or_not, operation_id="model")
        async def model(model: str, _: Identity = ask_scope) -> Response:
            """One model."""
            if model not in self._names():
                raise _no_such_model(model)
            return JSONResponse(self._model(model))

        @router.post(
            "/embeddings",
            response_class=JSONResponse,
            responses=error_responses(problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503)),
            openapi_extra=described(EmbeddingRequest),
            operation_id="embeddings",
        )
        async def embeddings(request: Request, identity: Identity = ask_scope) -> Response:
            """Vectors of texts, by the model that the documents are embedded with."""
            body = await _json(request, self._settings, EmbeddingRequest)
            batches = self._batches
            if batches is None or body.model != batches.embedder.model:
                raise _no_such_model(body.model)
            limits = self._settings.limits
            texts = texts_of(
                body,
                dim=batches.embedder.dim,
                max_inputs=self._settings.openai.inputs,
                max_characters=limits.body_bytes,
            )
            service.admission.texts(identity, texts)
            vectors = await unless_gone(request, service, batches.embed(texts))
            return JSONResponse(response_of(vectors, texts, model=body.model, encoding=body.encoding_format))

    def _names(self) -> list[str]:
        found = [self._settings.openai.model]
        return [*found, self._batches.embedder.model] if self._batches is not None else found

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._since, "owned_by": "millrace"}


def _outcome_of(answer: Answer, watermark: str) -> Outcome:
    return Outcome(
        text=answer.text,
        found=answer.found,
        correlation=answer.correlation_id,
        citations=answer.citations,
        watermark=watermark,
        conversation=answer.conversation,
        model=answer.model,
        cost_usd=answer.cost_usd,
    )


def _no_such_model(name: str) -> Problem:
    return Refused(
        f"there is no model {name[:100]!r} here; GET /v1/models lists those there are",
        param="model",
        code="model_not_found",
        status=404,
    )


async def _json(request: Request, settings: GatewaySettings, model: type[M]) -> M:
    """The body of a request; `Problem` with 400, 408, 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(f"the body is {kind[:80]!r}; send application/json", code="unsupported_media_type", status=415)
    raw = await read_body(request, settings.limits.body_bytes)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise Refused(first_fault(error), code="invalid_request") from error
