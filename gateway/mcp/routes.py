"""`/mcp`: Streamable HTTP without sessions, so that any replica answers; a caller is known before it is read."""

from __future__ import annotations

from fastapi import APIRouter, Request
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.bodies import read_body
from gateway.masking import Mask
from gateway.mcp.server import CALLER, build_server
from gateway.problems import problem_of
from gateway.service import Service
from gateway.settings import GatewaySettings
from gateway.sources import source_link


def routes(service: Service, settings: GatewaySettings, mask: Mask = str) -> APIRouter:
    """The route.

    Parameters
    ----------
    mask : callable
        Hides personal data in texts of documents; shows all by default.
    """
    server = build_server(service, source_link(settings.public_url), mask)
    most = settings.limits.body_bytes

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        # The package's manager owns the tasks of what it answers. One for each request has none that outlive it, so
        # that nothing has to be started and ended with the application.
        manager = StreamableHTTPSessionManager(app=server, stateless=True, max_request_body_size=most)
        async with manager.run():
            await manager.handle_request(scope, receive, send)

    router = APIRouter()
    # No GET: a stream for messages that the server begins would stay open and never carry one.
    door = Door(service, most, answer)
    router.routes.append(Route("/mcp", door, methods=["POST"], include_in_schema=False))
    return router


class Door:
    """Lets through requests whose caller is known and whose body is there, and says in their scope who asks.

    A browser can send no such request from another site: it has no token to send, and no answer here allows it to.
    So names under which the gateway is called need no second look.

    Parameters
    ----------
    service : Service
        Knows callers.
    body_bytes : int
        How large a body may be.
    app : ASGI application
        What is behind it.
    """

    def __init__(self, service: Service, body_bytes: int, app: ASGIApp) -> None:
        self._service = service
        self._body_bytes = body_bytes
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find out who asks; refuse, or pass on."""
        request = Request(scope, receive)
        try:
            identity = await self._service.identify(request, "ask")
            body = await read_body(request, self._body_bytes)
        except Exception as error:  # noqa: BLE001 - problem_of tells no caller about one that nobody foresaw
            await problem_of(error).response()(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def received() -> Message:
            return whole.pop() if whole else await receive()

        await self._app({**scope, CALLER: identity}, received, send)
