"""Who looks at the pages: a cookie that holds a token, or in development the name of a person, sealed.

The cookie is for pages alone; no endpoint of an API takes it. It is HttpOnly and SameSite=Strict, and every POST has to
carry the session's form token and come from a page of this gateway.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from fastapi import Request
from fastapi.responses import Response

from gateway.identity import Identity, Scope
from gateway.people import HEADER, LOCAL, Person
from gateway.problems import Problem
from gateway.service import Service

LASTS_S: Final = 12 * 3600
_PURPOSE: Final = "session"
# A session is bound to nobody: it is what says who calls.
_ANYONE: Final = Identity(tenant="", kind="service", scopes=frozenset())
_MAX_COOKIE: Final = 4000
_NAMING: Final = frozenset({b"authorization", b"x-api-key", b"cookie", HEADER.encode()})


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What the cookie holds.

    Attributes
    ----------
    person, token : str
        One of them says who calls.
    form : str
        What forms of this session carry.
    until_s : int
        When it ends, unix seconds.
    """

    person: str = ""
    token: str = ""
    form: str = ""
    until_s: int = 0


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """A caller of a page, and the session it has."""

    identity: Identity
    session: Session
    fresh: bool = False
    """Whether the session began with this request, so that its cookie has to be set."""


class Sessions:
    """Makes and reads sessions.

    Parameters
    ----------
    service : Service
        Verifies tokens and seals cookies.
    people : mapping of str to Person
        Whom a visitor can be without a token; empty outside development. The first is the one that it begins as.
    secure : bool
        Whether the cookie is for TLS alone.
    now : callable
        Unix seconds.
    """

    def __init__(
        self, service: Service, people: Mapping[str, Person], *, secure: bool, now: Callable[[], float] = time.time
    ) -> None:
        self.people = people
        self._service = service
        self._secure = secure
        self._now = now
        self._cookie = "__Host-millrace" if secure else "millrace"

    async def visitor(self, request: Request, scope: Scope) -> Visitor:
        """Who calls a page.

        Raises
        ------
        Problem
            401 where nobody is signed in, or what the token's check says.
        """
        session = self._read(request)
        if self.people:
            self._only_here(request)
            known = session is not None and session.person in self.people
            session = session if session is not None and known else self.of_person(next(iter(self.people)))
            identity = await self._verified(request, HEADER, session.person, scope)
            return Visitor(identity=identity, session=session, fresh=not known)
        if "authorization" in request.headers:
            # A proxy that signs visitors in says who it is; the session is for forms alone.
            identity = await self._service.identify(request, scope)
            return Visitor(identity=identity, session=session or self._begun(), fresh=session is None)
        if session is None or not session.token:
            raise Problem(401, "unauthenticated", "sign in to see this page")
        identity = await self._verified(request, *_bearer(session.token), scope)
        return Visitor(identity=identity, session=session)

    async def of_token(self, request: Request, token: str) -> Session:
        """A session of a token that holds now.

        Raises
        ------
        Problem
            401 or 403 where it does not; 413 where it does not fit into a cookie.
        """
        await self._verified(request, *_bearer(token), "ask")
        return self._begun(token=token)

    def of_person(self, name: str) -> Session:
        """A session of a person of a development stack.

        Raises
        ------
        Problem
            404 for one that there is not.
        """
        if name not in self.people:
            raise Problem(404, "not_found", "there is no such person here")
        return self._begun(person=name)

    def keep(self, response: Response, session: Session) -> None:
        """Set a session's cookie.

        Raises
        ------
        Problem
            413 where it is too large for one.
        """
        value = self._service.seals.seal(_PURPOSE, _ANYONE, msgspec.json.encode(session))
        if len(value) > _MAX_COOKIE:
            raise Problem(
                413, "too_large", "this token is too long to stay signed in with; ask for one with fewer claims"
            )
        response.set_cookie(self._cookie, value, max_age=LASTS_S, **self._kind())

    def end(self, response: Response) -> None:
        """Remove the cookie."""
        response.delete_cookie(self._cookie, **self._kind())

    def check_form(self, request: Request, visitor: Visitor | None, form: Mapping[str, str]) -> None:
        """Refuse a POST that does not come from a page of this gateway and session.

        Raises
        ------
        Problem
            With 403.
        """
        origin, site = request.headers.get("origin", ""), request.headers.get("sec-fetch-site", "")
        foreign = site not in {"", "same-origin", "none"} or (
            bool(origin) and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower()
        )
        told = form.get("form", "")
        wrong = visitor is not None and not secrets.compare_digest(told.encode(), visitor.session.form.encode())
        if foreign or wrong:
            raise Problem(403, "foreign_form", "this form is out of date; load the page again and repeat what you did")

    def _begun(self, **who: str) -> Session:
        return Session(**who, form=secrets.token_urlsafe(24), until_s=int(self._now()) + LASTS_S)

    def _read(self, request: Request) -> Session | None:
        raw = self._service.seals.open(_PURPOSE, _ANYONE, request.cookies.get(self._cookie, ""))
        if raw is None:
            return None
        session = msgspec.json.decode(raw, type=Session)
        return session if session.until_s > self._now() else None

    async def _verified(self, request: Request, header: str, value: str, scope: Scope) -> Identity:
        """Who calls, as the gateway's own check says of what the session holds and of nothing else in the request."""
        headers = [each for each in request.scope["headers"] if each[0] not in _NAMING]
        headers.append((header.encode(), value.encode("latin-1", "replace")))
        named = Request({**request.scope, "headers": headers})
        identity = await self._service.identify(named, scope)
        request.scope.setdefault("state", {}).update(named.scope.get("state", {}))
        return identity

    @staticmethod
    def _only_here(request: Request) -> None:
        """A page that signs its visitors in by itself is for this machine: a foreign name may be rebound to it."""
        if (request.url.hostname or "") not in LOCAL:
            raise Problem(
                421,
                "wrong_host",
                "pages with people to choose from are served under localhost alone; use tokens elsewhere",
            )

    def _kind(self) -> dict[str, Any]:
        return {"path": "/", "secure": self._secure, "httponly": True, "samesite": "strict"}


def _bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"
