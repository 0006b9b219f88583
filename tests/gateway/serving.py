"""Serve an application on a free port of loopback, inside the test; and read what it streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import uvicorn
from fastapi import FastAPI

from tests.conditions import until


@dataclass(frozen=True)
class SentEvent:
    """One event of a stream."""

    name: str
    id: str
    data: dict[str, Any]


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a served application."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[assignment]  # signals stay the test's
    running = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or running.done())
        port = server.servers[0].sockets[0].getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def asking(
    client: httpx.AsyncClient, headers: dict[str, str], question: str = "what?", last: str = "", **body: Any
) -> AsyncIterator[AsyncIterator[SentEvent]]:
    """Events of a question; closes the connection at the end."""
    more = {"Last-Event-ID": last} if last else {}
    request = client.stream(
        "POST",
        "/v1/questions",
        json={"question": question, **body},
        headers={**headers, "Accept": "text/event-stream", **more},
    )
    async with request as response:
        if response.status_code != 200:
            await response.aread()
        response.raise_for_status()
        yield events_of(response)


async def events_of(response: httpx.Response) -> AsyncIterator[SentEvent]:
    """Events as they come; a comment is an event called ``:``."""
    name, found, data = "message", "", ""
    async for line in response.aiter_lines():
        if line.startswith(":"):
            yield SentEvent(":", "", {"text": line[1:].strip()})
        elif line.startswith("event:"):
            name = line[6:].strip()
        elif line.startswith("id:"):
            found = line[3:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
        elif not line and data:
            yield SentEvent(name, found, msgspec.json.decode(data))
            name, found, data = "message", "", ""
