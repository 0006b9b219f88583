"""A worker as a process of its own, for tests that kill it: ``python -m tests.streams.worker_process SETTINGS.json``.

It emits one event per input after a short wait, and writes its process id to a file once it is ready.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from millrace.agent import AgentSpec
from millrace.codec import Codec
from millrace.topics import Topic
from streams.pump import PumpSettings
from streams.worker import Worker, WorkerSettings
from tests.streams.pump_world import Handled, Ordered, handled, key_of


def relay_for(delay_s: float, poison: int, slow: int, slow_s: float) -> Any:
    """Agent that waits, on one number for long, and ends the process on another."""

    async def relay(event: Ordered) -> Handled:
        if event.n == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        if event.n == slow:
            await asyncio.sleep(slow_s)
        await asyncio.sleep(delay_s * (20 if event.lane == "k0" else 1))
        return handled(event)

    return relay


async def main(chosen: dict[str, Any]) -> None:
    """Run until SIGTERM."""
    source = Topic(name=chosen["source"], events=(Ordered,), key=key_of)
    sink = Topic(name=chosen["sink"], events=(Handled,), key=key_of)
    relay = relay_for(chosen["delay_s"], chosen["poison"], chosen["slow"], chosen["slow_s"])
    spec = AgentSpec(name="relay", function=relay, sources=(source,), sinks=(sink,), form="single")
    settings = WorkerSettings(
        connection={"bootstrap_servers": chosen["bootstrap"]},
        pump=msgspec.convert(chosen["pump"], PumpSettings),
        data=str(Path(chosen["ready"]).parent),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Worker([spec], settings, codec=Codec([Ordered, Handled])) as worker:
        if await worker.ready_or(stop):
            await asyncio.to_thread(Path(chosen["ready"]).write_text, str(os.getpid()))
            await worker.run(stop)


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
