"""Millrace: an agent on the worker that ``python -m infra worker`` runs, all defaults but the group's timing."""

import asyncio
from pathlib import Path

from bench.peers.programs.work import Job, Work
from bench.readings import ReadingChecked, ReadingTaken, reading_topic
from infra.launch.stack import Stack, write_stack
from infra.settings import Settings, WorkerSettings
from infra.worker import Report, serve
from millrace.agent import agent, spec_of


def run(job: Job) -> None:
    """Run until SIGTERM."""
    work = Work(job)
    source = reading_topic(job.source, ReadingTaken)
    sinks = (reading_topic(job.sink, ReadingChecked),) if job.sink else ()

    async def handled(reading: ReadingTaken) -> None:
        if seconds := work.takes_s(reading):
            await asyncio.sleep(seconds)
        work.look(reading)

    @agent(source=source, sinks=sinks, name=job.group)
    async def look(reading: ReadingTaken) -> None:
        await handled(reading)

    @agent(source=source, sinks=sinks, name=f"{job.group}.check")
    async def check(reading: ReadingTaken) -> ReadingChecked:
        await handled(reading)
        return ReadingChecked(
            tenant=reading.tenant,
            sensor=reading.sensor,
            sequence=reading.sequence,
            value=reading.value,
            within_limits=reading.value < 1000,
        )

    home = Path(job.folder).absolute()
    timing = WorkerSettings(session_timeout_ms=job.session_ms, heartbeat_interval_ms=job.session_ms // 3)
    settings = Settings(home=home, profile="kafka", worker=timing)
    stack = Stack(
        profile="kafka", bootstrap=job.bootstrap, log_epoch=job.group, objects=str(home / "objects"), home=str(home),
        started_at="",
    )  # fmt: skip
    write_stack(stack)
    asyncio.run(serve(settings, [spec_of(check if job.sink else look)], Report(home, "worker")))
