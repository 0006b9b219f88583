"""A web server for tests, on loopback: pages that a test may change, and what was asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from aiohttp.test_utils import unused_port


@dataclass
class Page:
    """What a path answers; `etag` and 304 follow from the body."""

    body: str | bytes = ""
    content_type: str = "text/html"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    validates: bool = True


class WebServer:
    """Pages by path, or by method and path; listens on several loopback addresses at the same port."""

    def __init__(self, *hosts: str) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, int]] = []
        self.seen: list[Any] = []
        self.port = unused_port()
        self._hosts = hosts or ("127.0.0.1",)
        self._runner: web.AppRunner | None = None

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        """Paths that were asked for, robots.txt left out."""
        return [path for _, path, _ in self.asked if path != "/robots.txt"]

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        for host in self._hosts:
            await web.TCPSite(self._runner, host, self.port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        page = self.pages.get(request.path_qs, Page(status=404))
        page = self.pages.get(f"{request.method} {request.path_qs}", page)
        body = page.body.encode() if isinstance(page.body, str) else page.body
        headers = {"Content-Type": page.content_type} | page.headers
        status = page.status
        if page.validates and status == 200:
            headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            if request.headers.get("If-None-Match") == headers["ETag"]:
                status, body = 304, b""
        self.asked.append((request.method, request.path_qs, status))
        self.seen.append(dict(request.headers))
        return web.Response(status=status, headers=headers, body=body)
