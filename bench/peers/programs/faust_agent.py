"""Faust: an agent over a stream of events, its sends buffered by the app; the variant is the agent's concurrency."""

import asyncio
from typing import Any

import faust

from bench.peers.programs.work import Job, Work


def run(job: Job) -> None:
    """Run until SIGTERM."""
    work = Work(job)
    app = faust.App(
        job.group,
        broker=f"kafka://{job.bootstrap}",
        datadir=job.folder,
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=job.commit_s,
        broker_session_timeout=job.session_s,
        broker_heartbeat_interval=job.session_s / 3,
        producer_acks=-1,
        web_enabled=False,
    )
    source = app.topic(job.source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
    sink = app.topic(job.sink, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    async def check(stream: Any) -> None:
        async for event in stream.events():
            reading = work.decode(event.value)
            if seconds := work.takes_s(reading):
                await asyncio.sleep(seconds)
            work.look(reading)
            if job.sink:
                _ = await sink.send(key=event.key, value=work.answer(reading))

    app.agent(source, name="check", concurrency=int(job.variant or 1))(check)
    app.finalize()
    faust.Worker(app, loglevel="ERROR").execute_from_commandline()
