"""What every request passes: names under which the gateway may be called, headers for browsers, counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics
from gateway.problems import Problem, of_anything
from gateway.settings import GatewaySettings

_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_TLS: Final = "max-age=31536000"
RATE: Final = "millrace_rate_headers"
"""Key in ``request.state`` of headers that say what is left of a budget."""


class Guard:
    """Outermost part of the application: refuses foreign host names, sets headers, counts.

    A response that sets one of these headers by itself keeps its own.

    Parameters
    ----------
    app : ASGI application
        What it guards.
    settings : GatewaySettings
        Host names, TLS.
    metrics : Metrics
        Counts requests.
    """

    def __init__(self, app: ASGIApp, settings: GatewaySettings, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._hosts = frozenset(host.lower() for host in settings.hosts)
        self._body_timeout_s = settings.limits.body_timeout_s
        self._send_timeout_s = settings.limits.send_timeout_s
        self._headers = dict(_HEADERS)
        if settings.secure:
            self._headers["Strict-Transport-Security"] = _TLS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; a failure that nobody foresaw is answered, with headers, and counted like everything else.

        Once a response has begun nothing else can be answered: it is counted once more, as failed, and broken off.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})
        reply = _Reply(scope, send, self._headers, self._metrics, self._send_timeout_s)
        if not self._called_right(Headers(scope=scope)):
            problem = Problem(
                421, "wrong_host", "this gateway is not called by that name; see the setting gateway.hosts"
            )
            await problem.response()(scope, receive, reply.send)
            return
        try:
            await self._app(scope, self._timed(receive), reply.send)
        except Exception as error:
            if reply.begun:
                reply.broken()
                raise
            response = await of_anything(Request(scope), error)
            await response(scope, receive, reply.send)

    def _timed(self, receive: Receive) -> Receive:
        """Bodies have to come in time, whoever reads them; after that a caller is listened to without end."""
        expires_at = asyncio.get_running_loop().time() + self._body_timeout_s
        ended = False

        async def timed() -> Message:
            nonlocal ended
            if ended:
                return await receive()
            try:
                async with asyncio.timeout_at(expires_at):
                    message = await receive()
            except TimeoutError as error:
                headers = {"Connection": "close"}
                raise Problem(408, "body_too_slow", "the body did not come in time", headers=headers) from error
            ended = not message.get("more_body", False)
            return message

        return timed

    def _called_right(self, headers: Headers) -> bool:
        if "*" in self._hosts:
            return True
        host = headers.get("host", "").lower()
        name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
        return name in self._hosts


class _Reply:
    """What is sent in answer to one request: with the guard's headers, and counted when it begins."""

    def __init__(
        self, scope: Scope, send: Send, headers: Mapping[str, str], metrics: Metrics, send_timeout_s: float
    ) -> None:
        self._scope = scope
        self._send = send
        self._headers = headers
        self._metrics = metrics
        self._send_timeout_s = send_timeout_s
        self._started = time.perf_counter()
        self._left = False
        self.begun = False

    async def send(self, message: Message) -> None:
        """Send a part of the response on."""
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in (*self._headers.items(), *self._scope["state"].get(RATE, {}).items()):
                headers.setdefault(name, value)
            self._count(message["status"])
        try:
            async with asyncio.timeout(self._send_timeout_s):
                await self._send(message)
        except OSError:  # a timeout is one
            self._left = True
            raise

    def broken(self) -> None:
        """Count a response that broke off, unless its caller took nothing more of it: that is no failure of ours."""
        if not self._left:
            self._count(500)

    def _count(self, status: int) -> None:
        scope, seconds = self._scope, time.perf_counter() - self._started
        route = scope.get("route")
        path = route.path if isinstance(route, APIRoute) else "other"
        method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"} else "other"
        self._metrics.requests.labels(path, method, f"{status // 100}xx").inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
