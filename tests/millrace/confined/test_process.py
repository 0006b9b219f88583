"""A confined process keeps nothing that it does not need, and its worker always gets rid of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from millrace.confined.process import ConfinedProcess
from millrace.errors import Unavailable
from tests.conditions import until
from tests.confinement import confined_to, left_to
from tests.millrace.confined.obeying_child import Limits

COMMAND = (sys.executable, str(Path(__file__).with_name("obeying_child.py")))
MEMORY_BYTES = 512 * 2**20


@asynccontextmanager
async def process(**environment: str) -> AsyncIterator[ConfinedProcess]:
    started = await ConfinedProcess.start(
        COMMAND, Limits(MEMORY_BYTES), b"ready", what="obeying", within_s=50.0, environment=environment
    )
    try:
        yield started
    finally:
        await started.kill()


async def told(child: ConfinedProcess, order: str) -> str:
    child.input.write(f"{order}\n".encode())
    return (await child.output.readline()).decode().rstrip("\n")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def program_that(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


async def started(command: tuple[str, ...], within_s: float = 50.0) -> ConfinedProcess:
    return await ConfinedProcess.start(command, Limits(MEMORY_BYTES), b"ready", what="test", within_s=within_s)


async def test_of_its_rights_only_the_memory_it_was_given_is_left() -> None:
    async with process() as child:
        assert left_to(child.pid) == confined_to(MEMORY_BYTES)


async def test_more_memory_than_it_was_given_it_does_not_get() -> None:
    async with process() as child:
        assert await told(child, f"take {MEMORY_BYTES // 4}") == "done"
        assert await told(child, f"take {MEMORY_BYTES}") == "MemoryError"


async def test_it_fills_no_file_not_even_one_that_it_holds_open() -> None:
    async with process() as child:
        assert await told(child, "fill") == "OSError"


async def test_it_writes_and_removes_no_file(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    async with process() as child:
        assert await told(child, f"write {tmp_path / 'made'}") == "PermissionError"
        assert await told(child, f"remove {kept}") == "PermissionError"
    assert names_in(tmp_path) == ["kept"]


async def test_it_starts_no_program() -> None:
    async with process() as child:
        assert await told(child, "run /bin/true") == "PermissionError"


async def test_it_reaches_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        async with process() as child:
            assert await told(child, f"connect {server.getsockname()[1]}") == "PermissionError"
        with pytest.raises(BlockingIOError):
            server.accept()


async def test_it_leaves_no_bytecode() -> None:
    async with process() as child:
        assert await told(child, "bytecode") == "True"


async def test_what_a_library_prints_does_not_get_between_the_replies() -> None:
    async with process() as child:
        assert await told(child, "print noise") == "done"
        assert await told(child, "folder") == "/"


async def test_it_gets_none_of_the_environment_but_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_KAFKA__SASL_PASSWORD", "secret")
    async with process(THREADS="1") as child:
        names = set((await told(child, "environment")).split())
    assert names - {"LC_CTYPE"} == {"LC_ALL", "PYTHONPATH", "THREADS"}


async def test_an_interrupt_of_the_worker_does_not_reach_it() -> None:
    async with process() as child:
        assert await told(child, "session") == str(child.pid)
        assert os.getsid(0) != child.pid


async def test_it_tells_which_signal_ended_it() -> None:
    async with process() as child:
        os.kill(child.pid, signal.SIGTERM)
        assert await child.ended_by() == signal.SIGTERM
    async with process() as child:
        child.input.close()
        assert await child.ended_by() == 0


async def test_killed_it_is_gone_also_a_second_time() -> None:
    async with process() as child:
        await child.kill()
        with pytest.raises(ProcessLookupError):
            os.kill(child.pid, 0)


async def test_one_that_ends_at_once_or_says_nothing_is_an_outage_and_leaves_no_process() -> None:
    before = children()
    with pytest.raises(Unavailable, match=r"the test process .* does not start; run `make install`"):
        await started(program_that("raise SystemExit(3)"))
    with pytest.raises(Unavailable, match="does not start"):
        await started(program_that("import signal; signal.pause()"), within_s=0.5)
    assert children() == before


async def test_a_start_that_is_given_up_leaves_no_process(tmp_path: Path) -> None:
    note, before = tmp_path / "note", children()
    task = asyncio.create_task(started(program_that(f"import signal; open('{note}', 'w'); signal.pause()")))
    await until(note.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == before
