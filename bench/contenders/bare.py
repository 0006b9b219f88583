"""The floor: aiokafka's `getmany` and fastavro with parsed schemas, and nothing else.

It has no consumer group, commits nothing, checks nothing, and writes no headers unless asked to: what a careful author
gets who needs none of that. Sends are pipelined: those of one fetch are awaited after those of the next were sent.
"""

import asyncio
import io
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from bench.contenders.job import Job, Stopwatch
from bench.measure import Sample
from bench.readings import ReadingChecked, ReadingTaken
from millrace.schema import avro_schema, schema_id

READER = parse_schema(avro_schema(ReadingTaken))
WRITER = parse_schema(avro_schema(ReadingChecked))
HEAD = b"\x00" + schema_id(avro_schema(ReadingChecked)).to_bytes(4, "big")


def run(job: Job) -> Sample:
    """Consume, or consume and produce."""
    return asyncio.run(_transform(job) if job.sink else _consume(job))


async def _consumer(job: Job) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(bootstrap_servers=job.bootstrap, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(job.source, i) for i in range(job.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning(*partitions)
    return consumer


async def _consume(job: Job) -> Sample:
    handle = Stopwatch(job)
    consumer = await _consumer(job)
    while not handle.done:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                body = io.BytesIO(record.value)
                body.seek(5)
                handle(schemaless_reader(body, READER, None))
    return handle.sample()


async def _transform(job: Job) -> Sample:
    count = Stopwatch(job)
    consumer = await _consumer(job)
    producer = AIOKafkaProducer(
        bootstrap_servers=job.bootstrap, acks="all", enable_idempotence=True, max_batch_size=256 * 1024
    )
    await producer.start()
    earlier: list[Any] = []
    while not count.done:
        pending = []
        for records in (await consumer.getmany(timeout_ms=100, max_records=500)).values():
            for record in records:
                body = io.BytesIO(record.value)
                body.seek(5)
                event = schemaless_reader(body, READER, None)
                out = io.BytesIO()
                out.write(HEAD)
                schemaless_writer(out, WRITER, _checked(event))
                headers = list(record.headers) if job.headers else None
                pending.append(await producer.send(job.sink, out.getvalue(), key=record.key, headers=headers))
                count(event)
        for ack in earlier:
            await ack
        earlier = pending
    for ack in earlier:
        await ack
    count.stop()
    return count.sample()


def _checked(event: Any) -> dict[str, Any]:
    return {
        "tenant": event["tenant"],
        "sensor": event["sensor"],
        "sequence": event["sequence"],
        "value": event["value"],
        "within_limits": event["value"] < 1000,
    }
