"""P4: a question over the topics and back, against a raw ping-pong of two aiokafka clients on the same broker."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from bench.lab import Lab
from bench.measure import Check, Outcome, percentile
from bench.null_adapters import null_question_path
from bench.stack import running_client
from millrace.client import Millrace
from millrace.codec import meta_of
from millrace.topics import (
    ANSWER_PRODUCED,
    COMPLETION_GENERATED,
    CONTEXT_RETRIEVED,
    QUERY_ADMITTED,
    QUERY_RECEIVED,
    REPLY,
)

HOPS = (QUERY_RECEIVED, QUERY_ADMITTED, CONTEXT_RETRIEVED, COMPLETION_GENERATED, ANSWER_PRODUCED, REPLY)


async def measure(lab: Lab) -> Outcome:
    """Ask one question after the other, in turns with the ping-pong."""
    n = lab.size(150, 5)
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    hops: list[dict[str, float]] = []
    stack = running_client(lab, embedder="hashing", adapt=null_question_path, agents=("agents.query",))
    async with stack as client, _ping_pong(lab) as ping:
        await _asked(client, lab.size(20, 2))
        await _timed(ping, lab.size(20, 2))
        cpu_ms = {"question": 0.0, "ping-pong": 0.0}
        for _ in range(lab.repetitions):
            began = time.process_time()
            ours.append(await _asked(client, n))
            between = time.process_time()
            theirs.append(await _timed(ping, n))
            cpu_ms["question"] += (between - began) * 1000
            cpu_ms["ping-pong"] += (time.process_time() - between) * 1000
        async with _hop_times(lab) as seen:  # apart, because following the log costs time of its own
            await _asked(client, n, hops, seen)
    ratios = tuple(statistics.median(a) / statistics.median(b) for a, b in zip(ours, theirs, strict=True))
    return Outcome(
        checks=(Check(id="P4", what="p50 against a raw ping-pong", relation="<=", limit=2.5, unit="x", values=ratios),),
        numbers={
            **_latencies("question", ours),
            **_latencies("ping-pong", theirs),
            **{f"CPU of a {name}, ms": round(spent / n / lab.repetitions, 2) for name, spent in cpu_ms.items()},
            **{f"{name}, ms (median)": round(statistics.median(hop[name] for hop in hops), 2) for name in hops[0]},
        },
        notes=(
            f"{n} questions a repetition, one at a time, by the real client over the real fused run of four "
            "agents with an embedder and a store that do nothing; every intermediate event is published and "
            "acknowledged before the reply is sent. Client and worker share one process and event loop, as do "
            "the two ends of the ping-pong. Waits per hop are differences of record timestamps: when each was "
            "handed to its producer, in whole milliseconds."
        ),
    )


async def _asked(
    client: Millrace, n: int, hops: list[dict[str, float]] | None = None, seen: "_Hops | None" = None
) -> list[float]:
    """Milliseconds of each question."""
    times = []
    for i in range(n):
        sent_ms = time.time() * 1000
        began = time.perf_counter()
        answer = await client.ask(f"How high is mark number {i}?", timeout_s=10)
        times.append((time.perf_counter() - began) * 1000)
        if hops is not None and seen is not None:
            hops.append(await seen.of(answer.correlation_id, sent_ms, sent_ms + times[-1]))
    return times


class _Hops:
    """Timestamps of the events of each question."""

    def __init__(self) -> None:
        self.times: dict[str, dict[str, float]] = {}
        self.changed = asyncio.Event()

    async def of(self, correlation: str, sent_ms: float, ended_ms: float) -> dict[str, float]:
        """Milliseconds between one event of a question and the next."""
        async with asyncio.timeout(10):
            while len(self.times.get(correlation, ())) < len(HOPS):
                self.changed.clear()
                await self.changed.wait()
        stamps = self.times.pop(correlation)
        found, before = {}, sent_ms
        for topic in HOPS:
            name = topic.events[0].__name__ if topic is not REPLY else "reply"
            found[f"until {name} is sent"] = stamps[topic.name] - before
            before = stamps[topic.name]
        found["until the asker has the reply"] = ended_ms - before
        return found


@asynccontextmanager
async def _hop_times(lab: Lab) -> AsyncIterator[_Hops]:
    consumer = AIOKafkaConsumer(bootstrap_servers=lab.bootstrap, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(topic.name, i) for topic in HOPS for i in range(4)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    for partition in partitions:
        await consumer.position(partition)
    hops = _Hops()

    async def follow() -> None:
        async for record in consumer:
            correlation = meta_of(record.headers, None).correlation_id
            hops.times.setdefault(correlation, {})[record.topic] = record.timestamp
            hops.changed.set()

    task = asyncio.create_task(follow())
    try:
        yield hops
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


class _PingPong:
    """Two clients that hand one record to and fro, with the body and headers of a real question."""

    def __init__(self, lab: Lab) -> None:
        self.topics = lab.create_topic("bench.ping", 1), lab.create_topic("bench.pong", 1)
        self._bootstrap = lab.bootstrap
        self._consumers: list[AIOKafkaConsumer] = []
        self.producers: list[AIOKafkaProducer] = []
        self.echo: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for topic in self.topics:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
            producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
            await consumer.start()
            await producer.start()
            consumer.assign([TopicPartition(topic, 0)])
            await consumer.seek_to_end()
            await consumer.position(TopicPartition(topic, 0))
            self._consumers.append(consumer)
            self.producers.append(producer)
        self.echo = asyncio.create_task(self._answer())

    async def stop(self) -> None:
        if self.echo is not None:
            self.echo.cancel()
            await asyncio.gather(self.echo, return_exceptions=True)
        for client in (*self._consumers, *self.producers):
            await client.stop()

    async def _answer(self) -> None:
        while True:
            record = await self._consumers[0].getone()
            await self.producers[1].send(self.topics[1], record.value, key=record.key)

    async def once(self, value: bytes) -> None:
        """Send a record and wait until it is back."""
        await self.producers[0].send(self.topics[0], value, key=b"k")
        await self._consumers[1].getone()


@asynccontextmanager
async def _ping_pong(lab: Lab) -> AsyncIterator[_PingPong]:
    pair = _PingPong(lab)
    await pair.start()
    try:
        yield pair
    finally:
        await pair.stop()


async def _timed(pair: _PingPong, n: int) -> list[float]:
    times = []
    for _ in range(n):
        began = time.perf_counter()
        await pair.once(bytes(200))
        times.append((time.perf_counter() - began) * 1000)
    return times


def _latencies(name: str, runs: Sequence[Sequence[float]]) -> dict[str, float]:
    everything = [value for run in runs for value in run]
    return {f"{name} p{round(share * 100)}, ms": round(percentile(everything, share), 2) for share in (0.5, 0.95, 0.99)}
