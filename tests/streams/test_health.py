"""The health port answers by status, and by numbers."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from streams.health import numbers, serve
from streams.pump import Counters


@dataclass
class Reporting:
    ready: bool = True
    alive: bool = True
    numbers: dict[str, Any] = field(default_factory=dict)

    def report(self) -> Mapping[str, Any]:
        return self.numbers


async def get(port: int, path: str) -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    assert f"content-length: {len(body)}".encode() in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize("good", [True, False])
async def test_ready_and_alive_are_told_by_the_status(*, good: bool) -> None:
    async with serve(lambda: Reporting(ready=good, alive=good)) as port:
        assert await get(port, "/ready") == ((200 if good else 503), {"ready": good})
        assert await get(port, "/alive") == ((200 if good else 503), {"alive": good})


async def test_a_worker_that_is_still_starting_is_alive_and_not_ready() -> None:
    async with serve(lambda: None) as port:
        assert await get(port, "/ready") == (503, {"ready": False})
        assert await get(port, "/alive") == (200, {"alive": True})
        assert await get(port, "/numbers") == (200, {})


async def test_numbers_are_those_of_each_agent() -> None:
    counters = Counters(consumed=3, dead_lettered=1)
    counters.errors["rejected", "relay"] += 1
    counters.batch(5)
    async with serve(lambda: Reporting(numbers={"relay": numbers(counters, lag=7, in_flight=2)})) as port:
        status, body = await get(port, "/numbers")
    assert status == 200
    found = body["relay"]
    assert (found["consumed"], found["dead_lettered"], found["lag"], found["in_flight"]) == (3, 1, 7, 2)
    assert found["errors"] == [{"type": "rejected", "stage": "relay", "n": 1}]
    assert found["batch_sizes"] == {"8": 1}


async def test_metrics_are_what_the_caller_says_in_the_form_of_prometheus() -> None:
    async with serve(lambda: None, metrics=lambda: b"millrace_worker_ready 0.0\n") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-type: text/plain; version=0.0.4" in head
    assert body == b"millrace_worker_ready 0.0\n"


async def test_another_path_is_answered_with_those_that_exist() -> None:
    async with serve(Reporting) as port:
        status, body = await get(port, "/etc")
    assert status == 404
    assert "/ready, /alive, /numbers and /metrics" in body["error"]


async def test_a_request_that_is_none_costs_the_next_one_nothing() -> None:
    async with serve(Reporting) as port:
        for junk in (b"\r\n\r\n", b"\xff" * 20_000 + b"\r\n\r\n"):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(junk)
            writer.close()
        assert (await get(port, "/ready"))[0] == 200
