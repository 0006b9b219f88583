"""P4: a question over the topics and back, against a raw ping-pong of two aiokafka clients on the same broker."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.apart import NULL_STACK, client_apart, echo_apart
from bench.lab import Lab
from bench.measure import Check, Outcome, percentile
from bench.ping import End, echoing, open_end, timed, topics
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


class _Rounds:
    """Milliseconds of questions and of the ping-pong, taken in turns."""

    def __init__(self) -> None:
        self.ours: list[list[float]] = []
        self.theirs: list[list[float]] = []
        self.cpu_ms = {"question": 0.0, "ping-pong": 0.0}

    @property
    def ratios(self) -> tuple[float, ...]:
        """p50 of a question over p50 of the ping-pong, by turn."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return tuple(statistics.median(ours) / statistics.median(theirs) for ours, theirs in pairs)

    async def take(self, lab: Lab, client: Millrace, end: End, n: int) -> None:
        """Ask one question after the other, in turns with the ping-pong."""
        await _asked(client, lab.size(20, 2))
        await timed(end, lab.size(20, 2))
        for _ in range(lab.repetitions):
            began = time.process_time()
            self.ours.append(await _asked(client, n))
            between = time.process_time()
            self.theirs.append(await timed(end, n))
            self.cpu_ms["question"] += (between - began) * 1000
            self.cpu_ms["ping-pong"] += (time.process_time() - between) * 1000


async def measure(lab: Lab) -> Outcome:
    """Measure as it is deployed, the asker and the other side in processes of their own; then both in one process."""
    n = lab.size(150, 5)
    ping, pong = topics(lab)
    together, apart = _Rounds(), _Rounds()
    hops: list[dict[str, float]] = []
    async with open_end(lab.bootstrap, reads=pong, writes=ping) as end:
        async with running_client(lab, **NULL_STACK) as client, echoing(lab.bootstrap, ping, pong):
            await together.take(lab, client, end, n)
        async with client_apart(lab) as client, echo_apart(lab, ping, pong):
            await apart.take(lab, client, end, n)
            async with _hop_times(lab) as seen:  # apart, because following the log costs time of its own
                await _asked(client, n, hops, seen)
    what = "p50 against a raw ping-pong"
    return Outcome(
        checks=(Check(id="P4", what=what, relation="<=", limit=2.5, unit="x", values=apart.ratios),),
        numbers={
            **_latencies("question", apart.ours),
            **_latencies("ping-pong", apart.theirs),
            "both sides in one process: ratio": round(statistics.median(together.ratios), 2),
            **_latencies("both sides in one process: question", together.ours),
            **_latencies("both sides in one process: ping-pong", together.theirs),
            **{
                f"CPU of a {name} on both sides, ms": round(spent / n / lab.repetitions, 2)
                for name, spent in together.cpu_ms.items()
            },
            **{f"{name}, ms (median)": round(statistics.median(hop[name] for hop in hops), 2) for name in hops[0]},
        },
        notes=(
            f"{n} questions a repetition, one at a time, by the real client over the real fused run of five "
            "agents with an embedder and a store that do nothing; every intermediate event is published and "
            "acknowledged before the reply is sent. The ping-pong carries the body and the headers of a question. "
            "Worker and echo have a process each beside the asker's, as where they are deployed; the lines that say so "
            "have both sides in one process and event loop. Waits per hop are differences of record timestamps: when "
            "each was handed to its producer, in whole milliseconds."
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


def _latencies(name: str, runs: Sequence[Sequence[float]]) -> dict[str, float]:
    everything = [value for run in runs for value in run]
    return {f"{name} p{round(share * 100)}, ms": round(percentile(everything, share), 2) for share in (0.5, 0.95, 0.99)}
