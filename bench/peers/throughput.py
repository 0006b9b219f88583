"""P1 and P2 with peers: readings consumed, and readings answered, each peer in a process of its own on one core."""

import asyncio
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, TopicPartition

from bench.lab import Lab, last_core
from bench.measure import Contender, Sample
from bench.peers.findings import Section, rates
from bench.peers.running import Installed, Program, job_for
from bench.peers.turns import in_turns
from bench.readings import EVENTS, ReadingTaken, reading_topic, readings
from millrace.codec import Codec
from millrace.errors import Unavailable

PARTITIONS = 4
_LIMIT_S = 240
_SCAN_S = 1.0
_ALIKE = (
    "Small Avro events with CloudEvents headers in 4 partitions. Each peer runs the program in "
    "`bench/peers/programs/` in a process of its own, pinned to one core, and is ended from outside; the first "
    "events are not timed. Everyone decodes with fastavro and msgspec into a typed, validated event, reads with a "
    "consumer group and commits at least once (Bytewax: recovery snapshots; FastStream's default acknowledges "
    "before it handles). Faust gets a quarter of the events, FastStream's one-by-one subscribers a sixteenth and a "
    "fortieth. Processor times are those of the process, with its clients' threads. Millrace also checks that key, "
    "header and body name one tenant and entity and hands on metadata from ten headers; nobody else looks at "
    "headers."
)
_CONSUMED = f"{_ALIKE} The handler does nothing."
_ANSWERED = (
    f"{_ALIKE} The handler answers with an event under the same key; producers are idempotent with acks=all. The "
    "time is the broker's: from when it appended the last answer of the warm-up to when it appended the last one of "
    "all."
)


async def measure(lab: Lab, peers: Sequence[Installed], *, answering: bool) -> Section:
    """Rates of all peers, taken in turns.

    Parameters
    ----------
    lab : Lab
        With a broker.
    peers : sequence of Installed
        Who takes part.
    answering : bool
        Whether each reading is answered by an event, all of them acknowledged.
    """
    n = lab.size(40_000 if answering else 80_000, 2_000)
    topic = reading_topic(lab.create_topic("peers.taken", PARTITIONS), ReadingTaken)
    lab.fill(topic, readings(n), Codec(EVENTS))
    contenders = {
        each.peer.title: _contender(lab, each, topic.name, max(500, round(n * each.peer.share)), answering=answering)
        for each in peers
    }
    turns = await in_turns(contenders, lab.repetitions)
    if answering:
        return rates("answer", "One event out for each event in", _ANSWERED, turns, "Millrace", "events")
    return rates("consume", "Consume, decode, handle", _CONSUMED, turns, "Millrace", "events")


def _contender(lab: Lab, installed: Installed, source: str, n: int, *, answering: bool) -> Contender:
    async def run() -> Sample:
        # The broker's clock stamps the answers: nobody's own idea of an acknowledgement is asked for.
        sink = (
            lab.create_topic("peers.checked", PARTITIONS, {"message.timestamp.type": "LogAppendTime"})
            if answering
            else ""
        )
        warm_up = min(5_000, n // 10)
        job = job_for(lab, installed.peer, source, sink, n=n, warm_up=warm_up, core=last_core())
        with Program(installed, job) as program:
            timed = await program.timed(_LIMIT_S)
            if not sink:
                return Sample(timed.n, timed.seconds, timed.cpu_seconds)
            stamps = await asyncio.to_thread(_appended, lab.bootstrap, sink, n)
        return between(stamps, n, warm_up, timed.cpu_seconds / timed.n)

    return run


def between(stamps: Sequence[int], n: int, warm_up: int, cpu_s: float) -> Sample:
    """The sample of the answers from the warm-up's last to the `n`-th, by the broker's clock in ms."""
    ordered = sorted(stamps)[:n]
    first = ordered[warm_up - 1]
    counted = sum(stamp > first for stamp in ordered)
    return Sample(counted, (ordered[-1] - first) / 1000, cpu_s * counted)


def _appended(bootstrap: str, topic: str, n: int) -> list[int]:
    """When each record of a topic was appended, in ms, once there are `n`.

    Raises
    ------
    Unavailable
        If they do not come.
    """
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench.appended", "enable.auto.commit": False, "log_level": 0}
    )
    consumer.assign([TopicPartition(topic, i, 0) for i in range(PARTITIONS)])
    deadline = time.monotonic() + _LIMIT_S / 4
    stamps: list[int] = []
    try:
        while len(stamps) < n:
            stamps += [message.timestamp()[1] for message in consumer.consume(10_000, _SCAN_S) if not message.error()]
            if time.monotonic() > deadline:
                raise Unavailable(f"{topic} holds {len(stamps)} of {n} answers after {_LIMIT_S / 4:g} s")
    finally:
        consumer.close()
    return stamps
