"""Faust's own agent loop, with the same decoding as the bare loop: what Faust costs when it moves every event."""

import asyncio
import io
import tempfile
from typing import Any

import faust
from fastavro import schemaless_reader

from bench.contenders.bare import READER
from bench.contenders.job import Job, Stopwatch
from bench.measure import Sample


def run(job: Job) -> Sample:
    """Consume; Faust takes no part in the comparison of producing."""
    # Not asyncio.run: that would wait for Faust's consumer thread, which the end of the process ends as well.
    return asyncio.new_event_loop().run_until_complete(_run(job))


async def _run(job: Job) -> Sample:
    handle = Stopwatch(job)
    done = asyncio.Event()
    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            job.group,
            broker=f"kafka://{job.bootstrap}",
            datadir=folder,
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
        )
        source = app.topic(job.source, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def consume(stream: Any) -> None:
            async for value in stream:
                body = io.BytesIO(value)
                body.seek(5)
                handle(schemaless_reader(body, READER, None))
                if handle.done:
                    done.set()

        app.agent(source, name="consume")(consume)
        await app.start()
        await done.wait()
        return handle.sample()
