"""What it costs to keep what was superseded: rows, bytes, time to search."""

import asyncio
import sqlite3
import statistics
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, cast

import numpy as np

from bench.measure import Outcome
from bench.replay.recording import TENANT, Recorded
from infra.composition import open_vectors
from infra.launch.running import load_running, running_stack
from infra.launch.seeding import table_path
from millrace.connection import Connection
from millrace.contract import codec_of
from streams.recorded.questions import Range, read_recording

_SEARCHES = 100
_WORKER = "bench"
_COST = """
SELECT count(*), coalesce(sum(length(record)), 0), sum(id IN (SELECT row FROM ended WHERE kind = 'versions')),
    coalesce(sum(CASE WHEN id IN (SELECT row FROM ended WHERE kind = 'versions') THEN length(record) ELSE 0 END), 0)
FROM versions
"""


async def versions(connection: Connection, recorded: Recorded, folder: Path) -> Outcome:
    """Count rows and bytes that only earlier times need, and search with and without them."""
    settings = load_running(Path(connection.home)).settings
    questions = (
        await asyncio.to_thread(
            read_recording, connection, Range(tenant=TENANT, limit=_SEARCHES), codec=codec_of(connection)
        )
    ).questions
    contexts = [each.context for each in questions if each.context is not None]
    times: dict[bool, list[float]] = {False: [], True: []}
    async with AsyncExitStack() as services:
        dim = len(contexts[0].vector) // 4
        store: Any = cast("Any", await open_vectors(settings, running_stack(settings.home), dim, services))
        live, archived = await store.count(TENANT), await store.count(TENANT, archived=True)
        for n, context in enumerate(contexts):
            vector = np.frombuffer(context.vector, dtype="<f4").astype(np.float32)
            for with_archive in (False, True) if n % 2 else (True, False):
                began = time.perf_counter()
                await store.candidates(TENANT, vector=vector, text=context.question, k=100, archived=with_archive)
                times[with_archive].append((time.perf_counter() - began) * 1000)
    rows, n_bytes, ended, ended_bytes = _table(table_path(settings.state, _WORKER), folder / "table.db")
    return Outcome(
        checks=(),
        numbers={
            "rows searched by questions of today": live,
            "rows in the archive": archived,
            "ms of a search without the archive, median": round(statistics.median(times[False]), 2),
            "ms of a search with it, median": round(statistics.median(times[True]), 2),
            "bytes of rows on disk": _size(settings.vectors),
            "versions in the visibility table": rows,
            "superseded versions in the visibility table": ended,
            "bytes of their records": n_bytes,
            "bytes of superseded ones": ended_bytes,
        },
        notes=(
            f"Keeping versions: after {recorded.n_changes} of {recorded.n_documents} documents changed; searches take "
            "turns; bytes on disk include what Lance has yet to give back, and are 0 where rows are on a server."
        ),
    )


def _table(path: Path, copy: Path) -> tuple[int, int, int, int]:
    """Numbers of a worker's table, from a copy that SQLite makes: the file is live."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as live, closing(sqlite3.connect(copy)) as own:
        live.backup(own)
        rows, n_bytes, ended, ended_bytes = own.execute(_COST).fetchone()
    return rows, n_bytes, ended or 0, ended_bytes


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
