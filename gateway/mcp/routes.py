"""`/mcp`: Streamable HTTP without sessions, so that any replica answers any request; its caller is known before it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.mcp.server import CALLER, build_server
from gateway.problems import problem_of
from gateway.service import Service
from gateway.settings import GatewaySettings
from gateway.sources import source_link


def routes(service: Service, settings: GatewaySettings) -> APIRouter:
    """The route, and what must run beside it; a router's lifespan is entered by the application that includes it."""
    manager = StreamableHTTPSessionManager(
        app=build_server(service, source_link(settings.public_url)),
        stateless=True,
        max_request_body_size=settings.limits.body_bytes,
    )

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with manager.run():
            yield

    router = APIRouter(lifespan=lifespan)
    router.routes.append(Route("/mcp", Door(service, manager.handle_request), include_in_schema=False))
    return router


class Door:
    """Lets through requests whose caller is known, and says in their scope who it is.

    A browser can send no such request from another site: it has no token to send, and no answer here allows it to.
    So names under which the gateway is called need no second look.

    Parameters
    ----------
    service : Service
        Knows callers.
    app : ASGI application
        What is behind it.
    """

    def __init__(self, service: Service, app: ASGIApp) -> None:
        self._service = service
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks; refuse, or pass on."""
        try:
            identity = await self._service.identify(Request(scope, receive), "ask")
        except Exception as error:  # noqa: BLE001 - problem_of tells no caller about one that nobody foresaw
            await problem_of(error).response()(scope, receive, send)
            return
        await self._app({**scope, CALLER: identity}, receive, send)
