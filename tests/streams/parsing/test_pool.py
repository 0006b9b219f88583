"""Laws of the pool: a document that misbehaves ends with a reason, and nothing else notices."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from millrace.errors import Unavailable, Unreadable
from millrace.parsed import ParsedSource
from streams.parsing.limits import MIB, ParserLimits
from streams.parsing.pool import ParserPool
from streams.parsing.process import ChildProcess
from tests.confinement import confined_to, left_to

HERE = Path(__file__).parent
COMMAND = (sys.executable, str(HERE / "misbehaving_child.py"))
JSONL = "application/jsonl"


@asynccontextmanager
async def pool(**limits: Any) -> AsyncIterator[ParserPool]:
    made = ParserPool(ParserLimits(**({"processes": 2, "wall_s": 20.0} | limits)), COMMAND)
    try:
        yield made
    finally:
        await made.stop()


async def parse(parsers: ParserPool, data: bytes | str, media_type: str = JSONL) -> ParsedSource:
    async def content() -> bytes:
        return data.encode() if isinstance(data, str) else data

    return await parsers.parse(content, media_type)


async def reason(parsers: ParserPool, data: bytes | str, media_type: str = JSONL) -> str:
    with pytest.raises(Unreadable) as caught:
        await parse(parsers, data, media_type)
    return caught.value.reason


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


async def ended(pid: int) -> bool:
    """Wait until a process has ended, without taking its status away from who waits for it."""
    handle = os.pidfd_open(pid)
    try:
        return bool((await asyncio.to_thread(select.select, [handle], [], [], 20.0))[0])
    finally:
        os.close(handle)


async def writer_of(fifo: Path) -> int:
    """Open the end to write to once a reader is there; this can be cancelled, a thread in `os.open` cannot."""
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            await asyncio.sleep(0.01)


async def test_a_process_is_started_for_the_first_document_and_kept_for_the_next() -> None:
    async with pool() as parsers:
        assert (parsers.n_started, parsers.pids) == (0, [])
        for text in ("one", "two", "three"):
            assert (await parse(parsers, f"fine {text}")).text == text
        assert parsers.n_started == 1
        (pid,) = parsers.pids
        assert pid in children()
    assert pid not in children()


@pytest.mark.parametrize("n_slow", [1, 4])
async def test_neighbours_of_documents_that_take_too_long_do_not_wait_for_them(n_slow: int) -> None:
    others = children()
    async with pool(wall_s=50.0) as parsers:
        slow = [asyncio.create_task(reason(parsers, "sleep")) for _ in range(n_slow)]
        await asyncio.sleep(0)  # they stand before their neighbours
        n_children = 0
        for _ in range(5):
            await parse(parsers, "<h1>Fine</h1>", "text/html")
            n_children = max(n_children, len(children() - others))
        assert not any(one.done() for one in slow)
        assert n_children <= parsers.limits.processes + parsers.limits.slow_processes
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)


async def test_documents_that_take_too_long_are_refused_however_many_they_are() -> None:
    async with pool(wall_s=1.0) as parsers:
        assert await asyncio.gather(*(reason(parsers, "sleep") for _ in range(4))) == ["too_slow"] * 4
        assert (await parse(parsers, "fine again")).text == "again"


async def test_a_slow_document_goes_on_in_the_slow_lane_and_another_begins_anew_when_that_has_room(
    tmp_path: Path,
) -> None:
    fifos = [tmp_path / name for name in ("first", "second")]
    for fifo in fifos:
        os.mkfifo(fifo)
    fetched: list[str] = []

    async with pool(processes=1, slow_processes=1) as parsers:
        await parse(parsers, "fine warm")

        async def fetch(fifo: Path) -> bytes:
            fetched.append(fifo.name)
            return f"wait_for {fifo}".encode()

        first, second = (asyncio.create_task(parsers.parse(partial(fetch, fifo), JSONL)) for fifo in fifos)
        first_end, second_end = [await writer_of(fifo) for fifo in fifos]
        await parse(parsers, "fine neighbour")  # only once the second has left the quick lane
        assert fetched == ["first", "second"]
        os.close(second_end)  # its process has ended, and no other begins before the first is done
        os.write(first_end, b"one")
        os.close(first_end)
        assert (await first).text == "one"
        second_end = await writer_of(fifos[1])
        os.write(second_end, b"two")
        os.close(second_end)
        assert (await second).text == "two"
        assert fetched == ["first", "second", "second"]


async def test_a_document_that_computes_too_long_is_ended_by_the_kernel() -> None:
    async with pool(cpu_s=1, wall_s=50.0) as parsers:
        started = time.monotonic()
        assert await reason(parsers, "spin") == "too_slow"
        assert time.monotonic() - started < 30.0
        assert parsers.n_started == 1


async def test_processor_time_is_counted_for_each_document_on_its_own() -> None:
    async with pool(cpu_s=1, wall_s=50.0, processes=1) as parsers:
        for _ in range(3):
            await parse(parsers, "<p>text</p>" * 8_000, "text/html")
        assert parsers.n_started == 1


async def test_a_document_that_takes_too_much_memory_is_refused_and_its_process_replaced() -> None:
    async with pool(memory_bytes=512 * MIB) as parsers:
        assert await reason(parsers, f"take {600 * MIB}") == "too_much_memory"
        assert parsers.pids == []
        assert (await parse(parsers, "fine again")).text == "again"
        assert parsers.n_started == 2


async def test_a_document_that_kills_its_process_twice_is_refused() -> None:
    async with pool() as parsers:
        assert await reason(parsers, "die") == "crashed"
        assert parsers.n_started == 2
        assert (await parse(parsers, "fine again")).text == "again"


async def test_a_process_killed_in_the_middle_of_a_document_costs_nothing_but_time(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with pool(processes=1) as parsers:
        await parse(parsers, "fine warm")
        (pid,) = parsers.pids
        waiting = asyncio.create_task(parse(parsers, f"wait_for {fifo}"))
        first = await writer_of(fifo)
        fifo.unlink()
        os.mkfifo(fifo)  # the second process meets one that nobody has opened
        os.kill(pid, signal.SIGKILL)
        writer = await writer_of(fifo)
        os.close(first)
        os.write(writer, b"answer of the second process")
        os.close(writer)
        assert (await waiting).text == "answer of the second process"
        assert parsers.n_started == 2


async def test_a_text_over_the_limit_is_refused() -> None:
    async with pool(max_text_chars=1_000) as parsers:
        assert await reason(parsers, "write_much 1001") == "too_large"
        assert len((await parse(parsers, "write_much 1000")).text) == 1_000


async def test_content_over_the_limit_never_reaches_a_process() -> None:
    async with pool(max_bytes=1_000) as parsers:
        assert await reason(parsers, bytes(1_001)) == "too_large"
        assert parsers.n_started == 0


async def test_an_unknown_media_type_costs_no_process() -> None:
    async with pool() as parsers:
        assert await reason(parsers, b"GIF89a", "image/gif") == "media_type"
        assert parsers.n_started == 0


async def test_a_parser_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        async with pool() as parsers:
            assert await reason(parsers, f"connect {server.getsockname()[1]}") == "broken"
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_a_parser_writes_no_file_and_starts_no_program(tmp_path: Path) -> None:
    async with pool() as parsers:
        assert await reason(parsers, f"write {tmp_path / 'made'}") == "broken"
        assert await reason(parsers, "start /bin/true") == "broken"
    assert not (tmp_path / "made").exists()


async def test_endless_recursion_is_refused_as_too_deep() -> None:
    async with pool() as parsers:
        assert await reason(parsers, "recurse") == "too_deep"


async def test_a_text_that_cannot_be_sent_is_refused_and_its_process_kept() -> None:
    async with pool() as parsers:
        assert await reason(parsers, "half") == "broken"
        assert (await parse(parsers, "fine")).text == "done"
        assert parsers.n_started == 1


async def test_what_a_library_prints_does_not_get_between_the_answers() -> None:
    async with pool() as parsers:
        assert (await parse(parsers, "print " + "noise " * 100)).text == "done"
        assert (await parse(parsers, "fine")).text == "done"
        assert parsers.n_started == 1


async def test_a_process_gets_none_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA__SASL_PASSWORD", "secret")
    async with pool() as parsers:
        names = (await parse(parsers, "environment")).text.split()
        assert set(names) <= {"LC_ALL", "LC_CTYPE", "OPENBLAS_NUM_THREADS", "PYTHONPATH"}


async def test_a_process_is_replaced_after_its_number_of_documents() -> None:
    async with pool(documents_per_process=2, processes=1) as parsers:
        for _ in range(5):
            await parse(parsers, "fine")
        assert parsers.n_started == 3


async def test_content_is_fetched_only_when_its_turn_has_come() -> None:
    n_held: list[int] = [0]

    class Counted(bytes):
        def __init__(self, _: bytes) -> None:
            n_held.append(n_held[-1] + 1)

        def __del__(self) -> None:
            n_held.append(n_held[-1] - 1)

    async def sleep() -> bytes:
        return Counted(b"sleep")

    async def one(parsers: ParserPool) -> None:
        with pytest.raises(Unreadable, match="took over"):
            await parsers.parse(sleep, JSONL)

    async with pool(processes=1, slow_processes=1, wall_s=1.0) as parsers:
        await asyncio.gather(*(one(parsers) for _ in range(4)))
    assert max(n_held) == 2
    assert n_held[-1] == 0


async def test_a_cancelled_document_leaves_no_process_behind(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    async with pool() as parsers:
        await parse(parsers, "fine warm")
        (pid,) = parsers.pids
        task = asyncio.create_task(parse(parsers, f"wait_for {fifo}"))
        writer = await writer_of(fifo)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pid not in children()
        os.close(writer)
        assert (await parse(parsers, "fine again")).text == "again"


async def test_a_process_that_does_not_start_is_an_outage_and_no_verdict_on_the_document() -> None:
    parsers = ParserPool(command=(sys.executable, "-c", "raise SystemExit(3)"))
    with pytest.raises(Unavailable, match="does not start"):
        await parse(parsers, "fine")


async def test_memory_of_the_worker_stays_flat_whatever_its_children_do() -> None:
    async with pool(memory_bytes=512 * MIB, processes=1) as parsers:
        for _ in range(2):
            await reason(parsers, f"take {600 * MIB}")
            await parse(parsers, f"write_much {MIB}")
        before = psutil.Process().memory_info().rss
        for _ in range(5):
            await reason(parsers, f"take {600 * MIB}")
            await parse(parsers, f"write_much {MIB}")
        assert psutil.Process().memory_info().rss - before < 16 * MIB


async def test_a_process_whose_worker_died_ends_by_itself() -> None:
    idle = await ChildProcess.start(ParserLimits(), COMMAND)
    busy = await ChildProcess.start(ParserLimits(wall_s=0.1, cpu_s=100), COMMAND)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await busy.parse(b"sleep", JSONL)
        idle._process.input.close()
        assert await ended(idle.pid)
        assert await ended(busy.pid)
    finally:
        await idle.kill()
        await busy.kill()


async def test_of_its_rights_a_process_keeps_its_memory_and_gives_way_to_the_worker() -> None:
    async with pool(memory_bytes=512 * MIB) as parsers:
        await parse(parsers, "fine")
        (pid,) = parsers.pids
        assert left_to(pid) == confined_to(512 * MIB)
