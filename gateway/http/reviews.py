"""`/v1/review/items`: what a person should look at, and what was decided about it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, Field

from gateway.callers import caller
from gateway.http.bodies import Body, described, json_body
from gateway.http.descriptions import problems
from gateway.identity import Identity
from gateway.problems import missing
from gateway.reviewing import ReviewItem, State, check_reviewer
from gateway.service import Service
from gateway.settings import GatewaySettings

Id = Annotated[str, Path(min_length=1, max_length=200, description="Id of the item.")]


class SpanBody(BaseModel):
    """A place in a text."""

    start: int
    end: int


class DecisionMadeBody(BaseModel):
    """What was decided."""

    decision: str
    user: str
    at_ms: int
    text: str = ""


class ItemBody(BaseModel):
    """Something that a person should look at. It holds no text of documents, questions or answers."""

    item: str
    subject_kind: str = Field(description="`question`, `answer` or `document`.")
    subject: str = Field(description="Id of the document; for questions and answers their correlation id.")
    version: int
    kind: str
    rule: str
    action: str = Field(description="What was done: `hold` keeps a document back, `flag` leaves it visible.")
    reason: str
    opened_at_ms: int
    spans: list[SpanBody]
    decisions: list[DecisionMadeBody] = Field(description="In their order; the last one counts.")
    fitting: list[str] = Field(description="What may be decided now.")


class ItemList(BaseModel):
    """Items, those opened last first."""

    items: list[ItemBody]
    next: str = Field(default="", description="Give it as `after` to have the following ones; empty at the end.")


class DecisionBody(Body):
    """A decision; who made it is whoever the token names."""

    decision: Literal["release", "withdraw", "confirm", "dismiss", "correct"] = Field(
        description="`release`: the document may be read after all; `withdraw`: it may not any more; `confirm`, "
        "`dismiss`: the finding is right, or not; `correct`: the answer should have been `text`."
    )
    text: str = Field(default="", max_length=8_000, description="The right answer, or a note.")


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """Routes of reviews; none where the gateway has none."""
    router = APIRouter(prefix="/v1/review", tags=["review"])
    reviews, read_scope = service.reviews, Depends(caller(service, "read"))
    if reviews is None:
        return router

    @router.get(
        "/items", response_model=ItemList, responses=problems(401, 403, 422, 429, 503), operation_id="review_items"
    )
    async def items(
        identity: Identity = read_scope,
        state: Annotated[State, Query(description="Those without a decision, those with one, or all.")] = "open",
        kind: Annotated[
            str, Query(max_length=100, description="What was found, or `document`, `answer`, `question`.")
        ] = "",
        after: Annotated[str, Query(max_length=200, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> ItemList:
        """List what a person should look at, to those who may review."""
        check_reviewer(identity, settings.reviewers)
        found, following = await reviews.items(identity, state=state, kind=kind, limit=limit, after=after)
        return ItemList(items=[_body(each) for each in found], next=following)

    @router.get(
        "/items/{item}",
        response_model=ItemBody,
        responses=problems(401, 403, 404, 422, 429, 503),
        operation_id="review_item",
    )
    async def item(item: Id, identity: Identity = read_scope) -> ItemBody:
        """Show one item."""
        check_reviewer(identity, settings.reviewers)
        return _found(await reviews.item(identity, item))

    @router.post(
        "/items/{item}/decision",
        response_model=ItemBody,
        responses=problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
        openapi_extra=described(DecisionBody),
        operation_id="decide",
    )
    async def decide(request: Request, item: Id, identity: Identity = read_scope) -> ItemBody:
        """Decide about an item. It is on the log when this answers; the same decision again changes nothing."""
        check_reviewer(identity, settings.reviewers)
        body = await json_body(request, settings.limits, DecisionBody)
        service.admission.write(identity)
        return _found(await reviews.decide(identity, item, body.decision, body.text))

    return router


def _found(item: ReviewItem | None) -> ItemBody:
    if item is None:
        raise missing("review item")
    return _body(item)


def _body(item: ReviewItem) -> ItemBody:
    return ItemBody.model_validate(msgspec.to_builtins(item))
