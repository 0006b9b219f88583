"""Errors in the shape that OpenAI's clients read."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from gateway.problems import Problem, invalid, problem_of
from millrace.errors import MillraceError

_TYPES: Final = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", ""),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


class ErrorObject(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """An error as OpenAI's clients read it."""

    error: ErrorObject


class Refused(Problem):
    """A request that this interface cannot answer truthfully.

    Parameters
    ----------
    message : str
        What, which, found against allowed, and the remedy.
    param : str
        Which parameter.
    code : str
        Bounded name of the cause.
    status : int
        HTTP status.
    retry_after_s : float, optional
        When trying again makes sense.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str = "",
        code: str = "invalid_value",
        status: int = 400,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(status, code, message, retry_after_s=retry_after_s)
        self.param = param


class OpenAIRoute(APIRoute):
    """A route whose errors, those of its caller's identity included, are in OpenAI's shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Handler that gives an error as a response."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                return error_response(invalid(error.errors()))
            except (Problem, MillraceError, TimeoutError) as error:
                return error_response(problem_of(error))

        return handled


def error_response(problem: Problem) -> JSONResponse:
    """A problem, with its status and headers."""
    return JSONResponse(error_of(problem), problem.status_code, headers=dict(problem.headers or {}))


def error_of(problem: Problem) -> dict[str, Any]:
    """A problem as OpenAI's clients read it."""
    status = problem.status_code
    kind, code = _TYPES.get(status, ("invalid_request_error" if status < 500 else "server_error", ""))
    told = ErrorObject(
        message=problem.detail or problem.name,
        type=kind,
        param=getattr(problem, "param", "") or None,
        code=code or problem.name,
    )
    return ErrorBody(error=told).model_dump()


def error_responses(described: Mapping[int | str, dict[str, Any]]) -> dict[int | str, dict[str, Any]]:
    """Responses of a route as OpenAPI has them, with OpenAI's error in place of a problem."""
    return {
        status: {**{key: value for key, value in found.items() if key != "content"}, "model": ErrorBody}
        for status, found in described.items()
    }
