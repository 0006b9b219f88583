"""`/v1/questions/{question}/feedback` and `/interactions`: what people say of answers, and do with them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from gateway.callers import caller
from gateway.feedback import MAX_NAME, MAX_TEXT, Opinion, give, observe
from gateway.http.bodies import Body, described, json_body
from gateway.http.descriptions import problems
from gateway.identity import Identity
from gateway.service import Service
from gateway.settings import GatewaySettings

Name = Annotated[str, Path(max_length=MAX_NAME, description="Name of a question of one's own.")]


class FeedbackBody(Body):
    """What is said of an answer. Tenant and user come from the token or key; a body that names them is refused."""

    kind: Literal["up", "down", "rating", "correction", "comment"] = Field(description="What is said.")
    rating: int = Field(default=0, ge=0, le=5, description="1 (useless) to 5 (right), for kind `rating`.")
    text: str = Field(
        default="",
        max_length=MAX_TEXT,
        description="What the answer should have been, for kind `correction`; a comment for every other kind.",
    )


class InteractionBody(Body):
    """What was done with an answer."""

    kind: Literal["copied", "opened", "escalated", "left"] = Field(
        description="Copied from it, opened one of its sources, asked for a person, or left."
    )


class Noted(BaseModel):
    """It is on the log."""

    question: str
    id: str = Field(description="Name of what was noted.")


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """Routes of feedback."""
    router = APIRouter(prefix="/v1/questions/{question}", tags=["questions"])
    ask_scope = Depends(caller(service, "ask"))
    refusals = problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503)

    @router.post(
        "/feedback",
        status_code=202,
        response_model=Noted,
        responses=refusals,
        openapi_extra=described(FeedbackBody),
        operation_id="feedback",
    )
    async def feedback(request: Request, question: Name, identity: Identity = ask_scope) -> Noted:
        """Say what the answer to a question of one's own was like; 404 for those of others."""
        body = await json_body(request, settings.limits, FeedbackBody)
        opinion = Opinion(kind=body.kind, rating=body.rating, text=body.text)
        return Noted(question=question, id=(await give(service, identity, question, opinion)).id)

    @router.post(
        "/interactions",
        status_code=202,
        response_model=Noted,
        responses=refusals,
        openapi_extra=described(InteractionBody),
        operation_id="interaction",
    )
    async def interaction(request: Request, question: Name, identity: Identity = ask_scope) -> Noted:
        """Say what was done with the answer to a question of one's own; 404 for those of others."""
        body = await json_body(request, settings.limits, InteractionBody)
        return Noted(question=question, id=(await observe(service, identity, question, body.kind)).id)

    return router
