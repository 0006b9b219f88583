"""FastStream on its aiokafka broker: a subscriber whose annotation types the message, and a publisher.

Variants: ``default`` acknowledges first, as FastStream does unless told otherwise; ``nack`` is its at-least-once
policy, one message at a time; ``batches`` is the same policy with its batch subscriber and sends awaited together.
"""

import asyncio
from typing import Any

from fast_depends.msgspec import MsgSpecSerializer
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, KafkaResponse

from bench.peers.programs.work import Job, Reading, Work


def run(job: Job) -> None:
    """Run until SIGTERM."""
    work = Work(job)
    broker = KafkaBroker(
        job.bootstrap, acks="all", enable_idempotence=True, serializer=MsgSpecSerializer(), logger=None,
        allow_auto_create_topics=False,
    )  # fmt: skip
    (_batches if job.variant == "batches" else _singly)(job, work, broker)
    asyncio.run(FastStream(broker, logger=None).run())


def _options(job: Job) -> dict[str, Any]:
    return {
        "group_id": job.group,
        "auto_offset_reset": "earliest",
        "auto_commit_interval_ms": job.commit_ms,
        "session_timeout_ms": job.session_ms,
        "heartbeat_interval_ms": job.session_ms // 3,
        "ack_policy": AckPolicy.ACK_FIRST if job.variant == "default" else AckPolicy.NACK_ON_ERROR,
    }


def _singly(job: Job, work: Work, broker: Any) -> None:
    async def decode(message: KafkaMessage) -> dict[str, Any]:
        return work.plain(message.body)

    async def look(reading: Reading) -> None:
        if seconds := work.takes_s(reading):
            await asyncio.sleep(seconds)
        work.look(reading)

    async def check(reading: Reading, message: KafkaMessage) -> KafkaResponse:
        await look(reading)
        return KafkaResponse(work.answer(reading), key=message.raw_message.key)

    subscriber = broker.subscriber(job.source, decoder=decode, **_options(job))
    if job.sink:
        subscriber(broker.publisher(job.sink)(check))
    else:
        subscriber(look)


def _batches(job: Job, work: Work, broker: Any) -> None:
    async def decode(message: KafkaMessage) -> list[dict[str, Any]]:
        return [work.plain(value) for value in message.body]

    async def check(readings: list[Reading], message: KafkaMessage) -> None:
        acknowledged = []
        for reading, record in zip(readings, message.raw_message, strict=True):
            if seconds := work.takes_s(reading):
                await asyncio.sleep(seconds)
            work.look(reading)
            if job.sink:
                acknowledged.append(
                    await broker.publish(work.answer(reading), job.sink, key=record.key, no_confirm=True)
                )
        await asyncio.gather(*acknowledged)

    broker.subscriber(job.source, decoder=decode, batch=True, max_records=500, **_options(job))(check)
