"""How pages are made: templates, headers, errors as pages, and the few files they need."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException

from gateway.http.bodies import read_body
from gateway.http.questions import wants_events
from gateway.identity import Scope
from gateway.masking import Mask
from gateway.pages.sessions import Sessions, Visitor
from gateway.pages.text import inert, pieces
from gateway.problems import Problem, problem_of
from gateway.reviewing import may_review
from gateway.settings import Limits
from millrace.groups import EVERYONE

_HERE: Final = Path(__file__).parent
_KINDS: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_MAX_FIELDS: Final = 20
_TITLES: Final = {
    401: "Please sign in",
    403: "That is not allowed",
    404: "Nothing here for you",
    409: "That does not fit any more",
    413: "Too much at once",
    422: "That could not be understood",
    429: "One moment, please",
    503: "Not available right now",
}


class Asset:
    """A file beside the pages, held in memory; its address changes with its content."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.media_type = _KINDS[path.suffix]
        self.tag = hashlib.sha256(self.content).hexdigest()[:12]


@dataclass(frozen=True)
class Site:
    """What all pages share.

    Attributes
    ----------
    sessions : Sessions
        Who looks.
    limits : Limits
        Of bodies.
    mask : callable
        Hides personal data in texts of documents.
    templates : jinja2.Environment
        With escaping.
    assets : mapping of str to Asset
        By name.
    reviewers : tuple of str
        Groups whose members are shown the way to the pages of reviewers.
    """

    sessions: Sessions
    limits: Limits
    mask: Mask
    templates: Environment
    assets: Mapping[str, Asset]
    reviewers: tuple[str, ...] = ()

    @classmethod
    def make(cls, sessions: Sessions, limits: Limits, mask: Mask, reviewers: tuple[str, ...] = ()) -> Site:
        """Load templates and files."""
        found = {path.name: Asset(path) for path in sorted((_HERE / "static").iterdir()) if path.suffix in _KINDS}
        templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        templates.filters |= {
            "inert": inert,
            "time": time_of,
            "amount": amount,
            "sentence": sentence,
            "usd": usd,
            "day": day_of,
        }
        templates.globals |= {
            "EVERYONE": EVERYONE,
            "asset": lambda name: f"/pages/{name}?v={found[name].tag}",
            "age": age,
            "document_at": document_at,
            "pieces": pieces,
            "query": lambda **values: urlencode({name: value for name, value in values.items() if value}),
        }
        return cls(sessions, limits, mask, templates, found, reviewers)

    def page(
        self, request: Request, template: str, visitor: Visitor | None, *, status: int = 200, **values: Any
    ) -> HTMLResponse:
        """A page of a template; sets the cookie of a session that has just begun."""
        path = request.url.path
        html = self.templates.get_template(template).render(
            visitor=visitor,
            people=self.sessions.people,
            section=path.split("/")[1],
            reviewer=visitor is not None and may_review(visitor.identity, self.reviewers),
            here=path + (f"?{request.url.query}" if request.url.query else ""),
            **values,
        )
        response = HTMLResponse(html, status, headers=dict(HEADERS))
        if visitor is not None and visitor.fresh:
            self.sessions.keep(response, visitor.session)
        return response

    async def form(self, request: Request) -> dict[str, str]:
        """Fields of a form that was posted.

        Raises
        ------
        Problem
            413, see `read_body`; 415 for what is no form, 422 for one with more fields than any here has.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            raise Problem(415, "unsupported_media_type", "send the form as application/x-www-form-urlencoded")
        raw = await read_body(request, self.limits.body_bytes)
        try:
            return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError as error:
            raise Problem(422, "invalid", f"a form here has at most {_MAX_FIELDS} fields") from error

    async def failure(self, request: Request, error: Exception) -> Response:
        """An error as a page; where nobody is signed in, the form to do so."""
        problem = problem_of(error)
        if wants_events(request):
            return problem.response()
        visitor = None
        if problem.status_code != 401:
            try:
                visitor = await self.sessions.visitor(request, "read")
            except Exception:  # noqa: BLE001 - the page is about the first error
                visitor = None
        signing_in = problem.status_code == 401 and not self.sessions.people
        response = self.page(
            request,
            "sign_in.html" if signing_in else "problem.html",
            visitor,
            status=problem.status_code,
            title=_TITLES.get(problem.status_code, "That did not work"),
            problem=problem,
            next=local(request.url.path + (f"?{request.url.query}" if request.url.query else "")),
        )
        response.headers.update(dict(problem.headers or {}))
        if signing_in:
            del response.headers["WWW-Authenticate"]
        return response

    async def visitor(self, request: Request, scope: Scope = "read") -> Visitor:
        """Who calls; see `Sessions.visitor`."""
        return await self.sessions.visitor(request, scope)

    def route_class(self) -> type[APIRoute]:
        """Routes whose errors are pages."""
        site = self

        class PageRoute(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def handled(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except RequestValidationError:
                        problem = Problem(422, "invalid", "a part of the address is not what it should be")
                        return await site.failure(request, problem)
                    except HTTPException as error:
                        found = (
                            error if isinstance(error, Problem) else Problem(error.status_code, "failed", error.detail)
                        )
                        return await site.failure(request, found)
                    except Exception as error:
                        if problem_of(error).status_code == 500:
                            raise
                        return await site.failure(request, error)

                return handled

        return PageRoute


def local(path: str) -> str:
    """An address on this gateway to go on to; the first page where it is none."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\")) and inert(path) == path and "\n" not in path
    return path if inside and len(path) <= 2000 else "/"


def document_at(document: str, version: int = 0, start: int | None = None, end: int | None = None) -> str:
    """Address of a document's page, of a version, of a span in it."""
    found: dict[str, Any] = {"id": document}
    if version:
        found["version"] = version
    if start is not None and end is not None:
        found |= {"start": start, "end": end}
    return f"/corpus/document?{urlencode(found)}" + ("#span" if start is not None else "")


def time_of(at_us: int, precision: str = "seconds") -> str:
    """UTC time of unix microseconds, for people."""
    if at_us <= 0:
        return ""
    found = dt.datetime.fromtimestamp(at_us / 1_000_000, dt.UTC)
    return found.isoformat(sep=" ", timespec=precision).replace("+00:00", "") + " UTC"


def day_of(at_ms: int) -> str:
    """UTC day of unix milliseconds, for people."""
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).date().isoformat()


def age(at_ms: int, now_ms: int) -> str:
    """How long ago something was, for people."""
    minutes = max(0, now_ms - at_ms) // 60_000
    if minutes < 1:
        return "just now"
    if minutes < 60:
        return f"{amount(minutes, 'minute')} ago"
    if minutes < 48 * 60:
        return f"{amount(minutes // 60, 'hour')} ago"
    return f"{amount(minutes // 1440, 'day')} ago"


def amount(number: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def sentence(text: str) -> str:
    """What a program says, begun and ended as a sentence."""
    found = text.strip()
    return found[:1].upper() + found[1:] + ("" if not found or found[-1] in ".!?:" else ".")


def usd(cost: float) -> str:
    """A price, for people."""
    return "free" if not cost else f"${cost:.4f}"
