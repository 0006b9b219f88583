"""Listen for callers: a server that waits for nobody for ever, and ends in order.

uvicorn waits without end for the head of a request; here a connection that does not bring one in time is closed, and
one too many is told to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.problems import Problem
from millrace.errors import ConfigurationError

log = logging.getLogger(__name__)

_FULL_BODY: Final = msgspec.json.encode(
    Problem(503, "overloaded", "too many connections; come again", retry_after_s=1).body()
)
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL_BODY), _FULL_BODY)
)
_HEAD_BYTES: Final = 32 * 1024
_BACKLOG: Final = 512


class Listening(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how callers are listened to.

    Attributes
    ----------
    host : str
        Address.
    port : int
        0 chooses a free one.
    tls_cert, tls_key : str
        PEM files; empty for plain HTTP.
    proxies : tuple of str
        Addresses of proxies whose ``X-Forwarded-*`` headers count.
    connections : int
        Most connections.
    head_timeout_s : float
        How long the head of a request may take, in seconds.
    keep_alive_s : int
        How long a connection may be idle between requests, in seconds.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls_cert: str = ""
    tls_key: str = ""
    proxies: tuple[str, ...] = ()
    connections: int = 2048
    head_timeout_s: float = 10.0
    keep_alive_s: int = 30


@asynccontextmanager
async def listening(app: FastAPI, how: Listening) -> AsyncIterator[int]:
    """Serve an application while the context is open; gives the port.

    Raises
    ------
    ConfigurationError
        The address cannot be listened on, or the certificate cannot be read.
    """
    try:
        config = uvicorn.Config(
            app,
            host=how.host,
            port=how.port,
            http=protocol(how),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(how.proxies),
            forwarded_allow_ips=list(how.proxies),
            timeout_keep_alive=how.keep_alive_s,
            h11_max_incomplete_event_size=_HEAD_BYTES,
            backlog=_BACKLOG,
            ssl_certfile=how.tls_cert or None,
            ssl_keyfile=how.tls_key or None,
        )
        config.load()
    except OSError as error:
        raise ConfigurationError(f"the certificate {how.tls_cert} or its key cannot be used: {error}") from error
    server = _Server(config)
    running = asyncio.create_task(server.serve(), name="millrace-gateway-http")
    try:
        await server.begun(running)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(running), 2.0)
        server.force_exit = True
        await running


class _Server(uvicorn.Server):
    """Leaves signals to the process, and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._begun = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: Sequence[Any] | None = None) -> None:
        try:
            await super().startup(list(sockets) if sockets else None)
        except SystemExit:  # which would end the process without a word of ours
            self.should_exit = True
        self._begun.set()

    async def begun(self, running: asyncio.Task[None]) -> None:
        waiting = asyncio.ensure_future(self._begun.wait())
        try:
            await asyncio.wait({waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self.started:
            await asyncio.gather(running, return_exceptions=True)
            raise ConfigurationError(
                f"the gateway cannot listen on {self.config.host}:{self.config.port}; is the port taken, and the "
                "address one of this machine?"
            )


def protocol(how: Listening) -> type[H11Protocol]:  # noqa: C901 - one class, whose methods are short
    """The class of a connection under these bounds."""

    class Bounded(H11Protocol):
        """One connection."""

        _head: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > how.connections:
                transport.write(_FULL)
                transport.close()
                return
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._busy:
                self._forget_head()
            elif self._head is None:
                self._wait_for_head()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._busy:
                self._forget_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget_head()
            super().connection_lost(exc)

        @property
        def _busy(self) -> bool:
            cycle: Any = self.cycle  # none before the first request
            return cycle is not None and not cycle.response_complete

        def _wait_for_head(self) -> None:
            self._head = self.loop.call_later(how.head_timeout_s, self._give_up)

        def _forget_head(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _give_up(self) -> None:
            self._head = None
            if not self._busy and not self.transport.is_closing():
                self.transport.abort()

    return Bounded
