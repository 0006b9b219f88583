"""`POST /graphql`: one operation a request, within its budget; errors say what the caller can act on, no more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from graphql import DocumentNode, GraphQLError, OperationDefinitionNode, OperationType
from pydantic import BaseModel, Field
from strawberry.types import ExecutionResult

from gateway.callers import caller
from gateway.graphql.budget import admitted
from gateway.graphql.schema import build_schema
from gateway.graphql.shapes import Caller
from gateway.http.bodies import Body, described, json_body
from gateway.http.descriptions import problems
from gateway.http.streams import unless_gone
from gateway.identity import Identity
from gateway.masking import Mask
from gateway.problems import problem_of
from gateway.service import Service
from gateway.settings import GatewaySettings
from gateway.sources import source_link

_MAX_ERRORS: Final = 20
_TEXTS: Final = 4
"""Whole texts that GraphQL holds at the same time, of all callers."""


class Operation(Body):
    """Body of a request; batches are not taken."""

    query: str = Field(min_length=1, description="One operation, or several with `operationName`.")
    variables: dict[str, Any] | None = None
    operationName: str | None = Field(default=None, max_length=200)  # noqa: N815 - the name on the wire
    extensions: dict[str, Any] | None = None


class Result(BaseModel):
    """What was found, and what went wrong."""

    data: dict[str, Any] | None = None
    errors: list[dict[str, Any]] | None = None


def routes(service: Service, settings: GatewaySettings, mask: Mask = str) -> APIRouter:
    """The one route; there is no GET, no batch, no upload, no subscription and no page to try it on.

    Parameters
    ----------
    mask : callable
        Hides personal data in texts of documents; shows all by default.
    """
    router = APIRouter(tags=["graphql"])
    schema = build_schema()
    budget = settings.graphql
    link = source_link(settings.public_url)
    texts = asyncio.Semaphore(_TEXTS)
    read_scope = Depends(caller(service, "read"))

    @router.post(
        "/graphql",
        response_model=Result,
        responses={400: {"model": Result}, **problems(401, 403, 408, 413, 415, 422, 429, 503)},
        openapi_extra=described(Operation),
        operation_id="graphql",
    )
    async def graphql(request: Request, identity: Identity = read_scope) -> JSONResponse:
        """Documents, answers and lineage by GraphQL; what an operation may cost is checked before it is done."""
        operation = await json_body(request, settings.limits, Operation)
        try:
            document = admitted(operation.query, budget, operation.variables)
        except GraphQLError as error:
            return JSONResponse({"errors": [shown(error)]}, 400)
        if not named(document, operation.operationName):
            message = "the request names no single query or mutation of its text; set operationName to one of them"
            return JSONResponse({"errors": [{"message": message}]}, 400)
        doing = schema.execute(
            operation.query,
            variable_values=operation.variables,
            context_value=Caller(identity, service, link, mask, texts),
            operation_name=operation.operationName,
        )
        return answered(await unless_gone(request, service, doing))

    return router


def named(document: DocumentNode, name: str | None) -> bool:
    """Whether it is clear which operation is meant, and that it is no subscription."""
    found = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    if name is not None:
        found = [node for node in found if node.name is not None and node.name.value == name]
    return len(found) == 1 and found[0].operation is not OperationType.SUBSCRIPTION


def answered(result: ExecutionResult) -> JSONResponse:
    """Data and errors; 400 where nothing was looked up."""
    body: dict[str, Any] = {}
    if result.data is not None or not result.errors:
        body["data"] = result.data
    if result.errors:
        body["errors"] = _told(result.errors)
        looked_up = result.data is not None or any(error.path for error in result.errors)
        if not looked_up:
            return JSONResponse(body, 400)
        body.setdefault("data", None)
    return JSONResponse(body)


def _told(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    return [shown(error) for error in errors[:_MAX_ERRORS]]


def shown(error: GraphQLError) -> dict[str, Any]:
    """An error as its caller sees it: GraphQL's own as it is, one of ours by its name, any other as unexpected."""
    found: dict[str, Any] = {"message": error.message}
    if isinstance(error.original_error, Exception) and not isinstance(error.original_error, GraphQLError):
        problem = problem_of(error.original_error)
        found["message"] = problem.detail or problem.name
        found["extensions"] = {"name": problem.name, "status": problem.status_code}
        if problem.retry_after_s is not None:
            found["extensions"]["retryAfterMs"] = round(problem.retry_after_s * 1000)
    if error.locations:
        found["locations"] = [location.formatted for location in error.locations]
    if error.path:
        found["path"] = error.path
    return found
