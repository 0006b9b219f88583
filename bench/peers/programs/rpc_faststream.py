"""FastStream's way to ask over Kafka: a message with `reply_to`, and a subscriber to the replies.

Its `broker.request` refuses to work on Kafka, so the asker matches replies to questions by the correlation id.
``python -m bench.peers.programs.rpc_faststream serve|ask JOB``
"""

import asyncio
import os
import secrets
import sys

import msgspec
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaMessage, TopicPartition

from bench.peers.programs.asking import RpcJob, ask_all


def _broker(job: RpcJob) -> KafkaBroker:
    return KafkaBroker(job.bootstrap, acks="all", enable_idempotence=True, logger=None, allow_auto_create_topics=False)


async def _body(message: KafkaMessage) -> bytes:
    body: bytes = message.body
    return body


async def serve(job: RpcJob) -> None:
    """Answer each message with its body, at least once."""
    broker = _broker(job)

    async def answer(body: bytes) -> bytes:
        return body

    broker.subscriber(
        job.requests, group_id=job.group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_body,
    )(answer)  # fmt: skip
    await FastStream(broker, logger=None).run()


async def ask(job: RpcJob) -> None:
    """Ask one after the other."""
    broker = _broker(job)
    pending: dict[str, asyncio.Future[bytes]] = {}

    async def receive(body: bytes, message: KafkaMessage) -> None:
        if waiting := pending.pop(message.correlation_id, None):
            waiting.set_result(body)

    async def once() -> None:
        correlation = secrets.token_hex(16)
        waiting = pending[correlation] = asyncio.get_running_loop().create_future()
        await broker.publish(job.body, job.requests, reply_to=job.replies, correlation_id=correlation, no_confirm=True)
        await waiting

    broker.subscriber(partitions=[TopicPartition(job.replies, 0)], auto_offset_reset="latest", decoder=_body)(receive)
    async with broker:
        await broker.start()
        await ask_all(job, once)


if __name__ == "__main__":
    asyncio.run((serve if sys.argv[1] == "serve" else ask)(msgspec.json.decode(sys.argv[2], type=RpcJob)))
    os._exit(0)
