"""What OpenAPI says beside the routes: problems, ways to log in, and bodies that handlers read by themselves."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from gateway.http.bodies import DESCRIBED
from gateway.problems import MEDIA_TYPE

_TEXT: Final = """Questions over documents, on an event log.

Log in with `Authorization: Bearer <token or key>`. Tenant, user and groups come from it, and from nothing else in a
request. Errors are `application/problem+json`; a program reads `name`. Where trying again makes sense, `Retry-After`
says when.
"""
_MEANING: Final = {
    400: "The request cannot be read.",
    401: "No valid token or key.",
    403: "The token or key does not allow this.",
    404: "There is none, or it is not the caller's.",
    405: "Not possible here.",
    408: "The body did not come in time.",
    409: "Others changed it at the same time.",
    413: "Too large.",
    415: "This kind of content is not read.",
    422: "The request does not fit its description.",
    429: "The tenant has used up what it may; see `Retry-After`.",
    503: "Not now; see `Retry-After`.",
}
_WITH_RETRY: Final = frozenset({429, 503})


class FieldProblem(BaseModel):
    """What is wrong with one part of a request."""

    at: str
    why: str


class ProblemBody(BaseModel):
    """An error, as of RFC 9457."""

    type: str
    title: str
    status: int
    name: str = Field(description="Bounded name of the cause.")
    detail: str = ""
    retry_after_ms: int = Field(default=0, description="When trying again makes sense; 0 where it does not.")
    errors: list[FieldProblem] = []


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that are problems."""
    schema = {"$ref": "#/components/schemas/ProblemBody"}
    found: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        found[status] = {
            "description": _MEANING.get(status, HTTPStatus(status).phrase),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        if status in _WITH_RETRY:
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds until trying again makes sense.", "schema": {"type": "integer"}}
            }
    return found


def describe(app: FastAPI) -> None:
    """Let the OpenAPI document of an application hold what its routes leave out."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, description=_TEXT, routes=app.routes)
            models = [(model, "validation") for model in (ProblemBody, *DESCRIBED.values())]
            _, defined = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            schemas |= defined.get("$defs", {})
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
