"""The ping-pong of P4: two aiokafka clients hand a record with the body and headers of a real question to and fro."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.lab import Lab
from millrace.codec import Codec, Record
from millrace.event import Meta
from millrace.events.query import QueryReceived
from millrace.topics import QUERY_RECEIVED, REPLY

_LIMIT_S = 60


class End:
    """One end: reads one topic and writes the other, with the acknowledgements that Millrace asks for."""

    def __init__(self, bootstrap: str, *, reads: str, writes: str) -> None:
        self._place = TopicPartition(reads, 0)
        self._writes = writes
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)

    async def start(self) -> None:
        """Connect, and read what comes from now on."""
        await self._consumer.start()
        await self._producer.start()
        self._consumer.assign([self._place])
        await self._consumer.seek_to_end()
        await self._consumer.position(self._place)

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()
        await self._producer.stop()

    async def once(self, record: Record) -> None:
        """Send a record and wait until it is back."""
        await self._producer.send(self._writes, record.value, key=record.key, headers=record.headers)
        await self._consumer.getone()

    async def echo(self) -> None:
        """Send back what comes, for ever."""
        while True:
            found = await self._consumer.getone()
            await self._producer.send(self._writes, found.value, key=found.key, headers=list(found.headers))


@asynccontextmanager
async def open_end(bootstrap: str, *, reads: str, writes: str) -> AsyncIterator[End]:
    """An end that is connected within the block."""
    end = End(bootstrap, reads=reads, writes=writes)
    try:
        await end.start()
        yield end
    finally:
        await end.stop()


@asynccontextmanager
async def echoing(bootstrap: str, ping: str, pong: str) -> AsyncIterator[None]:
    """Send back on topic `pong` what comes on topic `ping`, within the block."""
    async with open_end(bootstrap, reads=ping, writes=pong) as end:
        task = asyncio.create_task(end.echo())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def question_event(question: str, *, tenant: str = "default", timeout_ms: int = 10_000) -> QueryReceived:
    """A question as a client asks it, with all metadata."""
    correlation = secrets.token_hex(16)
    event = QueryReceived(tenant=tenant, conversation=correlation, question=question, timeout_ms=timeout_ms)
    meta = Meta(
        id=correlation,
        type=QueryReceived.type_name(),
        source=f"millrace/{correlation[:16]}",
        time_us=time.time_ns() // 1000,
        tenant=event.tenant,
        correlation_id=correlation,
        traceparent=f"00-{correlation}-{correlation[:16]}-01",
        reply_to=REPLY.name,
        reply_partition=0,
        deadline_ms=time.time_ns() // 1_000_000 + event.timeout_ms,
    )
    return event.with_meta(meta)


def question_record() -> Record:
    """Record of a question as a client writes it."""
    return Codec().record(QUERY_RECEIVED, question_event("How high is mark number 100?"))


def topics(lab: Lab) -> tuple[str, str]:
    """Two fresh topics of one partition each."""
    return lab.create_topic("bench.ping", 1), lab.create_topic("bench.pong", 1)


async def timed(end: End, n: int) -> list[float]:
    """Milliseconds of each way there and back.

    Raises
    ------
    TimeoutError
        If nobody answers.
    """
    record, times = question_record(), []
    async with asyncio.timeout(_LIMIT_S):
        for _ in range(n):
            began = time.perf_counter()
            await end.once(record)
            times.append((time.perf_counter() - began) * 1000)
    return times
