"""Request and reply: Millrace's `ask`, a ping-pong of two bare clients, and what Faust and FastStream have for it."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import msgspec

from bench.apart import client_apart, echo_apart
from bench.lab import Lab
from bench.peers.findings import Section, latencies
from bench.peers.programs.asking import RpcJob
from bench.peers.running import ROOT, Installed
from bench.peers.turns import in_turns
from bench.ping import open_end, question_record, timed, topics
from infra.settings import process_environment
from millrace.client import Millrace
from millrace.errors import Unavailable

MILLRACE, PING_PONG = "Millrace's ask", "bare aiokafka ping-pong"
_LIMIT_S = 120
_NOTES = (
    "One question at a time; asker and answerer have a process each, the body is that of a question. Millrace's "
    "answer goes through a fused run of five agents with an embedder and a store that do nothing, each intermediate "
    "event published and the answer acknowledged before the reply is sent; everyone else echoes. FastStream has no "
    "request on Kafka (`broker.request` raises), so its asker matches replies by their correlation id; it commits "
    "and awaits each reply before the next message. Faust's `ask` has no timeout; one stands around it here."
)


async def measure(lab: Lab, peers: Sequence[Installed]) -> Section:
    """Milliseconds of a question and its answer; both sides always have a process each."""
    n, warm_up = lab.size(150, 5), lab.size(20, 2)
    ping, pong = topics(lab)
    async with AsyncExitStack() as stack:
        end = await stack.enter_async_context(open_end(lab.bootstrap, reads=pong, writes=ping))
        await stack.enter_async_context(echo_apart(lab, ping, pong))
        client = await stack.enter_async_context(client_apart(lab))

        async def millrace() -> list[float]:
            await _asked(client, warm_up)
            return await _asked(client, n)

        async def bare() -> list[float]:
            await timed(end, warm_up)
            return await timed(end, n)

        contenders: dict[str, Callable[[], Awaitable[list[float]]]] = {MILLRACE: millrace, PING_PONG: bare}
        for each in peers:
            contenders[each.peer.title] = _peer(lab, each, n, warm_up)
        turns = await in_turns(contenders, lab.repetitions)
    return latencies("ask", "A question over topics and back", _NOTES, turns, PING_PONG)


async def _asked(client: Millrace, n: int) -> list[float]:
    times = []
    loop = asyncio.get_running_loop()
    for i in range(n):
        began = loop.time()
        await client.ask(f"How high is mark number {i}?", timeout_s=10)
        times.append((loop.time() - began) * 1000)
    return times


def _peer(lab: Lab, installed: Installed, n: int, warm_up: int) -> Callable[[], Awaitable[list[float]]]:
    async def run() -> list[float]:
        requests, replies = lab.create_topic("peers.requests", 1), lab.create_topic("peers.replies", 1)
        folder = lab.new_folder(installed.peer.name)
        job = RpcJob(
            bootstrap=lab.bootstrap, requests=requests, replies=replies, group=lab.fresh(installed.peer.name),
            folder=str(folder), body=question_record().value, n=n, warm_up=warm_up,
        )  # fmt: skip
        module, text = f"bench.peers.programs.{installed.peer.program}", msgspec.json.encode(job).decode()
        environment = process_environment() | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        with (folder / "serve.log").open("wb") as log:
            server = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time that matters here
                [str(installed.python), "-m", module, "serve", text],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder,
            )  # fmt: skip
        try:
            asker = await asyncio.create_subprocess_exec(
                str(installed.python), "-m", module, "ask", text,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment, cwd=folder,
            )  # fmt: skip
            try:
                async with asyncio.timeout(_LIMIT_S):
                    out, err = await asker.communicate()
            except TimeoutError as error:
                raise Unavailable(f"{installed.peer.title} did not answer {n} questions in {_LIMIT_S} s") from error
            finally:
                if asker.returncode is None:
                    asker.kill()
                    await asker.wait()
        finally:
            server.kill()
            server.wait()
        if asker.returncode:
            raise Unavailable(f"{installed.peer.title} failed:\n{err.decode(errors='replace')[-1500:]}")
        return msgspec.json.decode(out.splitlines()[-1], type=list[float])

    return run
