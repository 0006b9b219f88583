"""Bodies of requests: read once the caller is known, within a size, and described in OpenAPI all the same."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect

from gateway.problems import Problem, invalid, too_large
from gateway.settings import Limits

M = TypeVar("M", bound="Body")
DESCRIBED: Final[dict[str, type[BaseModel]]] = {}
"""Models that the OpenAPI document has to hold, by name."""


class Body(BaseModel):
    """A body in JSON; a member that nobody knows, such as another tenant, is refused with 422."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=1_000_000, strict=True)


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request.

    Raises
    ------
    Problem
        413 when it is over `most` bytes, before it is read where its length was announced. That it comes in time is
        seen to by `gateway.guarding`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise too_large(most)
    found = bytearray()
    try:
        async for piece in request.stream():
            found += piece
            if len(found) > most:
                raise too_large(most)
    except ClientDisconnect as error:
        raise Problem(400, "gone", "the caller left") from error
    return bytes(found)


async def json_body(request: Request, limits: Limits, model: type[M]) -> M:
    """The body of a request, as JSON of a model; `Problem` with 400, 408, 413, 415 or 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "unsupported_media_type", f"the body is {kind[:80]!r}; send application/json")
    raw = await read_body(request, limits.body_bytes)
    return parse_json(raw, model)


def parse_json(raw: bytes, model: type[M]) -> M:
    """A model of JSON text; `Problem` with 422."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from error


def described(model: type[BaseModel], media_type: str = "application/json") -> dict[str, Any]:
    """OpenAPI of a body that a handler reads by itself."""
    DESCRIBED[model.__name__] = model
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}
