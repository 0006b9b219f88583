"""What live questions notice of a replay that runs beside them, in a process of its own, as one would start it."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.measure import Check, Outcome, percentile
from bench.replay.recording import TENANT, TOP_K, Recorded
from infra.settings import process_environment
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import Unavailable

RATE = 5.0
"""Questions a second that the replay asks: the command's default."""
_EVERY_S = 0.2
"""A live question is asked so often, however long the one before takes."""
_TURNS = 2


async def beside(connection: Connection, recorded: Recorded, n: int, *, hashing: bool) -> Outcome:
    """Ask live questions without a replay and with one, in turns."""
    times: dict[bool, list[float]] = {False: [], True: []}
    replayed = 0
    async with Millrace(connection, tenant=TENANT, max_pending=4096) as client:
        await _ask(client, recorded, min(n, 20))
        for turn in range(_TURNS):
            for replaying in (False, True) if turn % 2 else (True, False):
                if replaying:
                    async with _replaying(connection, hashing=hashing) as process:
                        times[True] += await _ask(client, recorded, n // _TURNS)
                        replayed += process.returncode is None
                else:
                    times[False] += await _ask(client, recorded, n // _TURNS)
    without, with_replay = (percentile(times[each], 0.99) for each in (False, True))
    return Outcome(
        checks=(
            Check(id="P10", what="p99 of live questions beside a replay, over that without", relation="<=", limit=1.2,
                  unit="x", values=(with_replay / without,)),
        ),
        numbers={
            "live questions with and without a replay": len(times[True]),
            "live p50 without, ms": round(percentile(times[False], 0.5), 1),
            "live p50 with, ms": round(percentile(times[True], 0.5), 1),
            "live p99 without, ms": round(without, 1),
            "live p99 with, ms": round(with_replay, 1),
            "turns in which it asked to the end": replayed,
        },
        notes=(
            f"Beside live traffic: a live question every {_EVERY_S:g} s, and a replay of all recorded questions, "
            f"{RATE:g} a second, in a process of its own on the same machine, as the command runs it, in turns."
        ),
    )  # fmt: skip


async def _ask(client: Millrace, recorded: Recorded, n: int) -> list[float]:
    """Milliseconds of each question; all are sent in their time."""

    async def one(number: int, due_s: float) -> float:
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
        question = recorded.questions[number % len(recorded.questions)]
        began = time.perf_counter()
        await client.ask(question.question, top_k=TOP_K, labels=question.labels, timeout_s=60)
        return (time.perf_counter() - began) * 1000

    began = time.perf_counter()
    return list(await asyncio.gather(*(one(i, began + i * _EVERY_S) for i in range(n))))


@asynccontextmanager
async def _replaying(connection: Connection, *, hashing: bool) -> AsyncIterator[asyncio.subprocess.Process]:
    """Replay in a process of its own until the end of the block, once it has begun to ask.

    Raises
    ------
    Unavailable
        If it ended before.
    """
    changes = ["models.embedder=hashing"] if hashing else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.replay.child", connection.home, str(RATE), *changes,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=process_environment(home=connection.home), cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None  # noqa: S101 - it has pipes; told to mypy
    await process.stdout.readline()
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, errors = await process.communicate()
    if process.returncode not in (0, -15):
        raise Unavailable(f"the replay ended with {process.returncode}: {errors.decode(errors='replace')[-1000:]}")
