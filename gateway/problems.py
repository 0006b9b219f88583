"""Errors as an HTTP caller sees them: `application/problem+json` of RFC 9457, with a bounded name, leaking nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from millrace.errors import (
    ContractError,
    DeadlineExceeded,
    InputRejected,
    LogTruncated,
    MillraceError,
    RequestFailed,
    TooLarge,
    Unavailable,
)

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
AGAIN_S: Final = 1.0
"""When to try again where nothing better is known, in seconds."""
_REFUSED: Final = frozenset({"rejected", "invalid_question", "question_too_long", "too_many_receipts"})
_TIMED_OUT: Final = frozenset({"deadline_exceeded"})
_TELLING: Final = 300


class Problem(HTTPException):
    """A request that gets no result, and what its caller may know of it.

    Parameters
    ----------
    status : int
        HTTP status.
    name : str
        Bounded name of the cause, such as ``too_many_requests``; programs branch on it.
    detail : str
        What happened and what to do, in a sentence.
    retry_after_s : float, optional
        When trying again makes sense; rounded up to whole seconds in ``Retry-After``.
    headers : mapping of str to str, optional
        Further headers.
    more : mapping, optional
        Further members of the problem, JSON.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str = "",
        *,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        found = dict(headers or {})
        if retry_after_s is not None:
            found["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
        super().__init__(status, detail, found)
        self.name = name
        self.retry_after_s = retry_after_s
        self.more = dict(more or {})

    def body(self) -> dict[str, Any]:
        """Members of the problem."""
        found: dict[str, Any] = {
            "type": f"urn:millrace:problem:{self.name.replace('_', '-')}",
            "title": HTTPStatus(self.status_code).phrase,
            "status": self.status_code,
            "name": self.name,
        }
        if self.detail:
            found["detail"] = self.detail
        if self.retry_after_s is not None:
            found["retry_after_ms"] = max(1, math.ceil(self.retry_after_s * 1000))
        return found | self.more

    def response(self) -> Response:
        """The problem as a response."""
        return Response(
            msgspec.json.encode(self.body()), self.status_code, headers=dict(self.headers or {}), media_type=MEDIA_TYPE
        )


def unauthenticated() -> Problem:
    """Whatever is wrong with a token or key: who guesses learns nothing."""
    return Problem(401, "unauthenticated", headers={"WWW-Authenticate": "Bearer"})


def missing(what: str) -> Problem:
    """Nothing of that name for this caller, whether it does not exist or belongs to someone else."""
    return Problem(404, "not_found", f"no such {what}")


def too_large(limit: int, what: str = "the body") -> Problem:
    """A body over a limit in bytes."""
    return Problem(413, "too_large", f"{what} is over {limit} bytes; send less, or in several pieces")


def problem_of(error: Exception) -> Problem:
    """Problem of an error of the client or the log.

    A message of ours names documents and limits that the caller gave; an address of a server or a file is in those of
    `Unavailable` and of configuration alone, and these are not passed on.
    """
    match error:
        case Problem():
            return error
        case RequestFailed():
            return failed(error.reason, str(error), error.retry_after_ms)
        case TooLarge():
            return Problem(413, "too_large", _told(error))
        case InputRejected() | ContractError():
            return Problem(422, error.error_type, _told(error))
        case DeadlineExceeded():
            return Problem(503, "deadline_exceeded", "no result in the time allowed; ask again", retry_after_s=AGAIN_S)
        case Unavailable() | LogTruncated():
            return Problem(503, error.error_type, "the log does not answer now; ask again", retry_after_s=AGAIN_S)
        case TimeoutError():
            return Problem(503, "unavailable", "no result in time; ask again", retry_after_s=AGAIN_S)
    return unexpected()


def failed(name: str, message: str, retry_after_ms: int = 0) -> Problem:
    """A question that ended without an answer: 422 where asking again cannot help, else 503 with `Retry-After`."""
    if name in _REFUSED:
        return Problem(422, name, message)
    if name in {"too_many_pending", "overloaded"}:
        return Problem(503, name, "too many questions wait for answers", retry_after_s=retry_after_ms / 1000 or AGAIN_S)
    if retry_after_ms or name in _TIMED_OUT:
        return Problem(503, name, message, retry_after_s=retry_after_ms / 1000 or AGAIN_S)
    return Problem(422, name, message)


def unexpected() -> Problem:
    """What nobody foresaw; the log has it, the caller does not."""
    return Problem(500, "internal", "the request failed for a reason that is in the gateway's log")


def install(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(MillraceError, _of_millrace)
    app.add_exception_handler(TimeoutError, _of_millrace)
    app.add_exception_handler(Exception, of_anything)


async def _of_http(request: Request, error: Exception) -> Response:
    if isinstance(error, Problem):
        return error.response()
    if not isinstance(error, HTTPException):
        return unexpected().response()
    name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_").replace("-", "_")
    detail = "" if error.status_code == 404 else str(error.detail)
    if error.status_code == 400 and detail.startswith("There was an error parsing"):
        detail = "the body cannot be parsed"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        detail = f"{request.method} is not possible here"
    return Problem(error.status_code, name, detail, headers=headers).response()


async def _of_validation(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return invalid(found).response()


def invalid(errors: Any) -> Problem:
    """A request that does not fit its description: where, and why; not what was sent."""
    told = [
        {"at": ".".join(str(part) for part in each.get("loc", ())), "why": str(each.get("msg", ""))[:_TELLING]}
        for each in list(errors)[:20]
    ]
    first = f"{told[0]['at']}: {told[0]['why']}" if told else "the request does not fit its description"
    return Problem(422, "invalid_request", first, more={"errors": told})


async def _of_millrace(_: Request, error: Exception) -> Response:
    found = problem_of(error)
    if found.status_code >= 500:
        log.warning("refused with %d %s: %s", found.status_code, found.name, type(error).__name__)
    return found.response()


async def of_anything(request: Request, error: Exception) -> Response:
    """What nobody foresaw, noted in the log, as a response."""
    log.error("%s %s failed", request.method, request.url.path[:_TELLING], exc_info=error)
    return unexpected().response()


def _told(error: Exception) -> str:
    return str(error)[: 2 * _TELLING]
