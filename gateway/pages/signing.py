"""Who am I: signing in with a token, or, in development, being one person or another."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from gateway.pages.rendering import HEADERS, Site, local
from gateway.pages.sessions import Session
from gateway.problems import Problem


def add(router: APIRouter, site: Site) -> None:
    """Add the session's routes."""
    sessions = site.sessions

    @router.get("/session")
    async def sign_in(request: Request, goes_on: Annotated[str, Query(alias="next")] = "/") -> Response:
        if sessions.people:
            return RedirectResponse("/ask", 303)
        return site.page(request, "sign_in.html", None, next=local(goes_on), problem=None)

    @router.post("/session")
    async def begin(request: Request) -> Response:
        form = await site.form(request)
        goes_on = local(form.get("next", "/"))
        try:
            session = await _chosen(site, request, form)
        except Problem as problem:
            if sessions.people or problem.status_code not in {401, 403} or problem.name == "foreign_form":
                raise
            return site.page(request, "sign_in.html", None, status=problem.status_code, next=goes_on, problem=problem)
        response = RedirectResponse(goes_on, 303, headers=dict(HEADERS))
        sessions.keep(response, session)
        return response

    @router.post("/session/end")
    async def end(request: Request) -> Response:
        sessions.check_form(request, await site.visitor(request), await site.form(request))
        response = RedirectResponse("/", 303, headers=dict(HEADERS))
        sessions.end(response)
        return response


async def _chosen(site: Site, request: Request, form: dict[str, str]) -> Session:
    sessions = site.sessions
    if not sessions.people:
        sessions.check_form(request, None, form)
        return await sessions.of_token(request, form.get("token", "").strip())
    sessions.check_form(request, await site.visitor(request), form)
    return sessions.of_person(form.get("person", ""))
