"""Pages for people: ask, look into the documents, follow what happened.

Rendered here, readable without a script; the one script there is streams an answer into the page. Whatever comes from
documents, questions and models is text on them and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.pages import ask, corpus, traces
from gateway.pages.rendering import HEADERS, Site, local
from gateway.pages.sessions import Person, Sessions
from gateway.pages.text import Mask
from gateway.problems import Problem
from gateway.service import Routers, Service
from gateway.settings import GatewaySettings

__all__ = ["Person", "pages"]

_A_YEAR: Final = "public, max-age=31536000, immutable"


def pages(people: Sequence[Person] = (), mask: Mask = str) -> Routers:
    """The pages, as a part of the interface that `create_app` includes.

    Parameters
    ----------
    people : sequence of Person
        Whom a visitor may be without a token, for development on this machine alone; the first one to begin with.
        Without any, a visitor signs in with a token.
    mask : callable
        Hides personal data in the texts of documents and in questions; shows all by default.
    """

    def routers(service: Service, settings: GatewaySettings) -> APIRouter:
        sessions = Sessions(service, {person.name: person for person in people}, secure=settings.secure)
        site = Site.make(sessions, settings.limits, mask)
        router = APIRouter(include_in_schema=False, route_class=site.route_class())
        _session(router, site)
        for part in (ask, corpus, traces):
            part.add(router, site, service, settings)
        return router

    return routers


def _session(router: APIRouter, site: Site) -> None:
    sessions = site.sessions

    @router.get("/")
    async def front() -> Response:  # noqa: RUF029 - a route
        return RedirectResponse("/ask", 303)

    @router.get("/pages/{name}")
    async def asset(name: str) -> Response:  # noqa: RUF029 - a route
        found = site.assets.get(name)
        if found is None:
            raise Problem(404, "not_found", "no such file")
        return Response(
            found.content, media_type=found.media_type, headers={"Cache-Control": _A_YEAR, "ETag": f'"{found.tag}"'}
        )

    @router.get("/session")
    async def sign_in(request: Request, goes_on: Annotated[str, Query(alias="next")] = "/") -> Response:  # noqa: RUF029
        if sessions.people:
            return RedirectResponse("/ask", 303)
        return site.page(request, "sign_in.html", None, next=local(goes_on), problem=None)

    @router.post("/session")
    async def begin(request: Request) -> Response:
        form = await site.form(request)
        goes_on = local(form.get("next", "/"))
        if sessions.people:
            sessions.check_form(request, await site.visitor(request), form)
            session = sessions.of_person(form.get("person", ""))
        else:
            sessions.check_form(request, None, form)
            try:
                session = await sessions.of_token(request, form.get("token", "").strip())
            except Problem as problem:
                if problem.status_code not in {401, 403}:
                    raise
                return site.page(
                    request, "sign_in.html", None, status=problem.status_code, next=goes_on, problem=problem
                )
        response = RedirectResponse(goes_on, 303, headers=dict(HEADERS))
        sessions.keep(response, session)
        return response

    @router.post("/session/end")
    async def end(request: Request) -> Response:
        sessions.check_form(request, await site.visitor(request), await site.form(request))
        response = RedirectResponse("/", 303, headers=dict(HEADERS))
        sessions.end(response)
        return response
