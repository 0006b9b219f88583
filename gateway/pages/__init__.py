"""Pages for people: ask, look into the documents, follow what happened, review.

Rendered here, usable without a script; the scripts there are stream an answer into the page and take feedback where
it stands. Whatever comes from documents, questions and models is text on them and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from gateway.masking import Mask
from gateway.pages import ask, corpus, feedback, inbox, quality, signing, traces
from gateway.pages.rendering import Site
from gateway.pages.sessions import Sessions
from gateway.people import Person
from gateway.problems import Problem
from gateway.service import Routers, Service
from gateway.settings import GatewaySettings

__all__ = ["pages"]

_A_YEAR: Final = "public, max-age=31536000, immutable"


def pages(people: Sequence[Person] = (), mask: Mask = str) -> Routers:
    """The pages, as a part of the interface that `create_app` includes.

    Parameters
    ----------
    people : sequence of Person
        Whom a visitor may be without a token, for development on this machine alone; the first one to begin with. The
        gateway has to know them too (`assembled`). Without any, a visitor signs in with a token.
    mask : callable
        Hides personal data in the texts of documents and in questions; shows all by default.
    """

    def routers(service: Service, settings: GatewaySettings) -> APIRouter:
        sessions = Sessions(service, {person.name: person for person in people}, secure=settings.secure)
        reviewers = settings.reviewers if service.reviews is not None else ()
        site = Site.make(sessions, settings.limits, mask, reviewers)
        router = APIRouter(include_in_schema=False, route_class=site.route_class())
        _files(router, site)
        signing.add(router, site)
        for part in (ask, feedback, corpus, traces, inbox, quality):
            part.add(router, site, service, settings)
        return router

    return routers


def _files(router: APIRouter, site: Site) -> None:
    @router.get("/")
    async def front() -> Response:
        return RedirectResponse("/ask", 303)

    @router.get("/pages/{name}")
    async def asset(name: str) -> Response:
        found = site.assets.get(name)
        if found is None:
            raise Problem(404, "not_found", "no such file")
        headers = {"Cache-Control": _A_YEAR, "ETag": f'"{found.tag}"'}
        return Response(found.content, media_type=found.media_type, headers=headers)
