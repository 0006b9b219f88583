"""What every request passes: names under which the gateway may be called, headers for browsers, counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from fastapi.routing import APIRoute
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics
from gateway.problems import Problem
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
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope.setdefault("state", {})

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                for name, value in scope["state"].get(RATE, {}).items():
                    headers.setdefault(name, value)
                self._count(scope, message["status"], time.perf_counter() - started)
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)

        if not self._called_right(Headers(scope=scope)):
            problem = Problem(
                421, "wrong_host", "this gateway is not called by that name; see the setting gateway.hosts"
            )
            await problem.response()(scope, receive, guarded)
            return
        await self._app(scope, self._timed(receive), guarded)

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

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = route.path if isinstance(route, APIRoute) else "other"
        method = scope["method"] if scope["method"] in {"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"} else "other"
        self._metrics.requests.labels(path, method, f"{status // 100}xx").inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
