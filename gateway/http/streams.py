"""Server-sent events of a reply: as they come, signs of life between, and an end after which others go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec
from fastapi import Request
from fastapi.responses import StreamingResponse

from gateway.event_ids import Place, event_id
from gateway.http.answers import frame_event
from gateway.identity import Identity
from gateway.problems import Problem, problem_of
from gateway.service import Service, TakenUp
from gateway.settings import GatewaySettings
from millrace.client import Asked
from millrace.client.frames import Frame

T = TypeVar("T")
MEDIA_TYPE: Final = "text/event-stream"
_RETRY_MS: Final = 500
_END: Final = object()


def event(name: str, data: Any, found: str = "", retry_ms: int = 0) -> bytes:
    """One event on the wire; JSON has no line breaks of its own."""
    lines = [f"event: {name}"]
    if found:
        lines.append(f"id: {found}")
    if retry_ms:
        lines.append(f"retry: {retry_ms}")
    return "\n".join(lines).encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


async def response(
    service: Service,
    settings: GatewaySettings,
    identity: Identity,
    items: AsyncGenerator[Asked | Frame, None] | AsyncGenerator[TakenUp | Frame, None],
    place: Place | None,
    deadline_ms: int,
) -> StreamingResponse:
    """Stream a reply; what keeps it from beginning, or from going on here, is raised as a problem, with its status.

    Parameters
    ----------
    items : async generator
        The reply; closed when the caller goes.
    place : Place or None
        Where a stream that is taken up again stands.
    deadline_ms : int
        When the question's time has passed, in unix milliseconds.
    """
    try:
        first: Any = await anext(items, _END)
    except BaseException:
        await items.aclose()
        raise
    body = _Stream(service, settings, identity, place, deadline_ms).events(items, first)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(body, media_type=MEDIA_TYPE, headers=headers)


class _Stream:
    def __init__(
        self, service: Service, settings: GatewaySettings, identity: Identity, place: Place | None, deadline_ms: int
    ) -> None:
        self._service = service
        self._settings = settings
        self._identity = identity
        self._place = place
        self._deadline_ms = deadline_ms

    async def events(self, items: AsyncGenerator[Any, None], first: Any) -> AsyncIterator[bytes]:
        service, over = self._service, asyncio.ensure_future(self._service.health.over.wait())
        service.metrics.streams.inc()
        try:
            async with aclosing(items):
                item = first
                while item is not _END:
                    yield b": back\n\n" if isinstance(item, TakenUp) else self._event(item)
                    async with _running(anext(items, _END)) as following:
                        while not following.done():
                            await asyncio.wait(
                                {following, over},
                                timeout=self._settings.heartbeat_s,
                                return_when=asyncio.FIRST_COMPLETED,
                            )
                            if not following.done() and over.done():
                                moved = {"detail": "this replica ends; come back for the rest"}
                                yield event("moved", moved, retry_ms=_RETRY_MS)
                                return
                            if not following.done():
                                yield b": alive\n\n"
                        item = following.result()
        except Exception as error:  # noqa: BLE001 - the head of the response is sent: the stream says what happened
            yield event("failed", problem_of(error).body())
        finally:
            over.cancel()
            service.metrics.streams.dec()

    def _event(self, item: Asked | Frame) -> bytes:
        identity, seals = self._identity, self._service.seals
        if isinstance(item, Asked):
            self._place = Place.of(item, self._deadline_ms)
            data = {"question": item.correlation, "conversation": item.conversation}
            return event("accepted", data, event_id(seals, identity, self._place), _RETRY_MS)
        if self._place is None:
            raise RuntimeError("a frame came before its question")
        self._place = self._place.after(item)
        name, data = frame_event(seals, identity, item, self._place.conversation)
        return event(name, data, event_id(seals, identity, self._place))


@asynccontextmanager
async def _running(work: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
    """Some work beside the caller, cancelled and over when the context is."""
    doing = asyncio.ensure_future(work)
    try:
        yield doing
    finally:
        doing.cancel()
        while not doing.done():  # whoever is cancelled itself is so at each wait again
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({doing})


async def unless_gone(request: Request, service: Service, work: Coroutine[Any, Any, T]) -> T:
    """Result of some work, which is cancelled when the caller goes; 503 when the process ends before it is done."""
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    over = asyncio.ensure_future(service.health.over.wait())
    try:
        await asyncio.wait({doing, gone, over}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        if over.done():
            raise Problem(503, "ending", "this replica ends; ask again", retry_after_s=1)
        raise Problem(400, "gone", "the caller left")
    finally:
        for each in (doing, gone, over):
            each.cancel()
        await asyncio.gather(doing, gone, over, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
