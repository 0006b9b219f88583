"""A loop over aiokafka's `getmany`, as its manual has it for at-least-once: handle, await all sends, commit."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.peers.programs.ending import until_sigterm
from bench.peers.programs.work import Job, Work


def run(job: Job) -> None:
    """Run until SIGTERM."""
    asyncio.run(_run(job))


async def _run(job: Job) -> None:
    work = Work(job)
    consumer = AIOKafkaConsumer(
        job.source,
        bootstrap_servers=job.bootstrap,
        group_id=job.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=job.session_ms,
        heartbeat_interval_ms=job.session_ms // 3,
    )
    producer = AIOKafkaProducer(bootstrap_servers=job.bootstrap, acks="all", enable_idempotence=True)
    await consumer.start()
    await producer.start()
    try:
        await until_sigterm(_loop(job, work, consumer, producer))
    finally:
        await consumer.stop()
        await producer.stop()


async def _loop(job: Job, work: Work, consumer: Any, producer: Any) -> None:
    while True:
        pending = []
        fetched = await consumer.getmany(timeout_ms=100, max_records=500)
        for records in fetched.values():
            for record in records:
                reading = work.decode(record.value)
                if seconds := work.takes_s(reading):
                    await asyncio.sleep(seconds)
                work.look(reading)
                if job.sink:
                    pending.append(await producer.send(job.sink, work.answer(reading), key=record.key))
        if fetched:
            await asyncio.gather(*pending)
            await consumer.commit()
