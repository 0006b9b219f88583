"""A question after the other, timed; what a peer's program is given for request and reply."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import msgspec

_PATIENCE_S = 5.0


class RpcJob(msgspec.Struct, frozen=True, kw_only=True):
    """What a program of request and reply is told.

    Attributes
    ----------
    bootstrap, requests, replies : str
        Broker and topics, of one partition each.
    group, folder : str
        Consumer group of the answering side; folder for its state.
    body : bytes
        What is sent to and fro.
    n, warm_up : int
        Questions that are timed, and those before them.
    """

    bootstrap: str
    requests: str
    replies: str
    group: str
    folder: str
    body: bytes
    n: int
    warm_up: int


async def ask_all(job: RpcJob, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until the other side answers, warm up, then print the milliseconds of each question.

    Raises
    ------
    TimeoutError
        If a question stays without an answer.
    """
    for _ in range(10):
        try:
            await asyncio.wait_for(ask(), _PATIENCE_S)
            break
        except TimeoutError:
            continue
    for _ in range(job.warm_up):
        await asyncio.wait_for(ask(), _PATIENCE_S)
    times = []
    for _ in range(job.n):
        began = time.perf_counter()
        await asyncio.wait_for(ask(), _PATIENCE_S)
        times.append((time.perf_counter() - began) * 1000)
    os.write(1, msgspec.json.encode(times) + b"\n")
