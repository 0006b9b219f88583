"""Laws about what every request passes, whatever the application behind it does with its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.guarding import Guard
from gateway.metrics import Metrics
from gateway.settings import GatewaySettings, Limits


def guarded(app: ASGIApp, **limits: Any) -> Guard:
    return Guard(app, GatewaySettings(limits=Limits(**limits)), Metrics())


def scope() -> Scope:
    return {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"gateway")], "query_string": b""}


async def nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_caller_that_takes_nothing_of_what_it_is_sent_is_let_go() -> None:
    async def stuck(message: Message) -> None:
        await asyncio.Event().wait()

    calling = asyncio.ensure_future(guarded(Response("text"), send_timeout_s=0.05)(scope(), nothing, stuck))
    done, _ = await asyncio.wait({calling}, timeout=10)
    calling.cancel()
    assert done
    assert isinstance(calling.exception(), OSError)


async def test_after_its_body_a_caller_is_listened_to_without_end() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.extend([(await receive())["type"], (await receive())["type"]])

    async def later(messages: Iterator[Message]) -> Message:
        if heard_one := next(messages, None):
            return heard_one
        passed = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, passed.set)
        await passed.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        return

    messages: Iterator[Message] = iter([{"type": "http.request", "body": b"", "more_body": False}])
    await guarded(app, body_timeout_s=0.05)(scope(), lambda: later(messages), send)
    assert heard == ["http.request", "http.disconnect"]


async def test_what_a_response_says_by_itself_is_kept_and_what_it_does_not_is_added() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await guarded(Response("text", headers={"Cache-Control": "public"}))(scope(), nothing, send)
    headers = dict(sent[0]["headers"])
    assert (headers[b"cache-control"], headers[b"x-frame-options"]) == (b"public", b"DENY")
