"""Faust's `agent.ask`: an agent that yields what it is given, and an app in client mode that asks it.

``python -m bench.peers.programs.rpc_faust serve|ask JOB``
"""

import asyncio
import base64
import os
import sys
from typing import Any

import faust
import msgspec

from bench.peers.programs.asking import RpcJob, ask_all


def _app(job: RpcJob, name: str) -> tuple[faust.App, Any]:
    app = faust.App(
        name,
        broker=f"kafka://{job.bootstrap}",
        datadir=job.folder,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        reply_to=job.replies,
        reply_create_topic=True,
        producer_acks=-1,
    )
    requests = app.topic(job.requests, key_type=bytes, value_type=str, key_serializer="raw", value_serializer="raw")

    async def echo(stream: Any) -> Any:
        async for value in stream:
            yield value

    return app, app.agent(requests, name="echo")(echo)


def serve(job: RpcJob) -> None:
    """Answer until killed."""
    app, _ = _app(job, job.group)
    app.finalize()
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()


async def ask(job: RpcJob) -> None:
    """Ask one after the other."""
    app, agent = _app(job, f"{job.group}-asker")
    await app.start_client()
    text = base64.b64encode(job.body).decode()  # its replies are JSON and cannot carry bytes
    await ask_all(job, lambda: agent.ask(text))


if __name__ == "__main__":
    told = msgspec.json.decode(sys.argv[2], type=RpcJob)
    if sys.argv[1] == "serve":
        serve(told)
    else:
        asyncio.new_event_loop().run_until_complete(ask(told))
    os._exit(0)
