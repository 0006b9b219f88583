"""Whether a worker is ready and alive, and its numbers: ``/ready``, ``/alive``, ``/numbers``, ``/metrics``.

Small on purpose: a probe sends one line and reads one answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from streams.pump.settings import Counters

_LOOPBACK = "127.0.0.1"
_LINE_BYTES = 8192


class Reporting(Protocol):
    """What is asked."""

    @property
    def ready(self) -> bool:
        """Whether it serves."""

    @property
    def alive(self) -> bool:
        """Whether it moves."""

    def report(self) -> Mapping[str, Any]:
        """Numbers by agent."""


def numbers(counters: Counters, lag: int = 0, in_flight: int = 0) -> dict[str, Any]:
    """Counters of one agent as plain JSON."""
    return {
        "consumed": counters.consumed,
        "emitted": counters.emitted,
        "dead_lettered": counters.dead_lettered,
        "retried": counters.retried,
        "commits": counters.commits,
        "failed_commits": counters.failed_commits,
        "lag": lag,
        "in_flight": in_flight,
        "errors": [{"type": kind, "stage": stage, "n": n} for (kind, stage), n in sorted(counters.errors.items())],
        "batch_sizes": {str(size): n for size, n in sorted(counters.batch_sizes.items())},
    }


@asynccontextmanager
async def serve(
    worker: Callable[[], Reporting | None],
    host: str = _LOOPBACK,
    port: int = 0,
    *,
    metrics: Callable[[], bytes] = bytes,
    metrics_type: str = "text/plain; version=0.0.4; charset=utf-8",
) -> AsyncIterator[int]:
    """Answer probes while the context lasts; gives the port.

    Parameters
    ----------
    worker : callable
        The worker, or None while there is none yet: it is alive then, and not ready.
    metrics : callable
        What ``/metrics`` says, for Prometheus.
    metrics_type : str
        In which form.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(5):
                line = await reader.readline()
                while (await reader.readline()).strip():
                    pass
            request = line.decode("latin-1").split()
            status, kind = "200 OK", metrics_type
            if request[1:2] == ["/metrics"]:
                content = metrics()
            else:
                status, body = _answer(request, worker())
                content, kind = json.dumps(body).encode(), "application/json"
            head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(content)}\r\n"
            writer.write(f"{head}connection: close\r\n\r\n".encode() + content)
            await writer.drain()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, host, port, limit=_LINE_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def _answer(request: list[str], worker: Reporting | None) -> tuple[str, Mapping[str, Any]]:
    path = request[1] if len(request) > 1 else ""
    match path:
        case "/ready":
            good = worker is not None and worker.ready
            return _status(good), {"ready": good}
        case "/alive":
            good = worker is None or worker.alive
            return _status(good), {"alive": good}
        case "/numbers":
            return "200 OK", worker.report() if worker else {}
    return "404 Not Found", {"error": f"nothing at {path!r}; there are /ready, /alive, /numbers and /metrics"}


def _status(good: bool) -> str:  # noqa: FBT001 - one flag is all it takes
    return "200 OK" if good else "503 Service Unavailable"
