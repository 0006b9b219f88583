"""The other side of P4 in a process of its own: the worker with its null ports, or the echo of the ping-pong.

``python -m bench.apart worker BOOTSTRAP FOLDER PROFILE`` and ``python -m bench.apart echo BOOTSTRAP PING PONG`` print
one line when they are ready and end when their standard input does.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from bench.lab import Lab, Profile
from bench.null_adapters import null_question_path
from bench.ping import echoing
from bench.stack import StackOptions, running_stack
from infra.settings import process_environment
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.errors import Unavailable

NULL_STACK: StackOptions = {"embedder": "hashing", "adapt": null_question_path, "agents": ("agents.query",)}
_READY_S = 120
_END_S = 60


@asynccontextmanager
async def client_apart(lab: Lab) -> AsyncIterator[Millrace]:
    """A client of a worker that runs in a process of its own."""
    async with _process("worker", lab.bootstrap, str(lab.folder), lab.profile) as ready:
        connection = msgspec.json.decode(ready, type=Connection)
        async with Millrace(connection, max_pending=4096) as client:
            yield client


@asynccontextmanager
async def echo_apart(lab: Lab, ping: str, pong: str) -> AsyncIterator[None]:
    """An echo in a process of its own."""
    async with _process("echo", lab.bootstrap, ping, pong):
        yield


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[bytes]:
    """What the process printed when it was ready; it is ended with the block.

    Raises
    ------
    Unavailable
        If it ends early or is not ready in time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.apart", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=process_environment(),
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101 - it has pipes; told to mypy
    assert process.stdout is not None  # noqa: S101
    try:
        async with asyncio.timeout(_READY_S):
            ready = await process.stdout.readline()
        if not ready:
            raise Unavailable(f"the process of {arguments[0]!r} ended before it was ready; see its messages above")
        yield ready
        process.stdin.close()
        async with asyncio.timeout(_END_S):
            await process.wait()
    except TimeoutError as error:
        raise Unavailable(f"the process of {arguments[0]!r} neither got ready nor ended in time") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _main(what: str, bootstrap: str, *rest: str) -> None:
    if what == "echo":
        async with echoing(bootstrap, *rest):
            await _until_told(b"ready")
    else:
        folder, profile = rest
        lab = Lab(bootstrap, Path(folder), repetitions=1, quick=False, profile=msgspec.convert(profile, Profile))
        async with running_stack(lab, **NULL_STACK) as connection:
            await _until_told(msgspec.json.encode(connection))


async def _until_told(ready: bytes) -> None:
    print(ready.decode(), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
