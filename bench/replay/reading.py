"""How fast recorded events are read and decoded, beside a plain consumer that decodes with fastavro."""

import asyncio
import io
import time
from collections.abc import Callable
from functools import partial

from confluent_kafka import Consumer, TopicPartition
from fastavro import parse_schema, schemaless_reader

from bench.measure import Check, Outcome, Sample, interleaved, medians, rate_ratios
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.positions import log_bounds, reader_settings
from millrace.reader import read
from millrace.schema import avro_schema
from millrace.topics import ANSWER_PRODUCED, COMPLETION_GENERATED, CONTEXT_RETRIEVED, QUERY_ADMITTED, QUERY_RECEIVED

TOPICS = (QUERY_RECEIVED, QUERY_ADMITTED, CONTEXT_RETRIEVED, COMPLETION_GENERATED, ANSWER_PRODUCED)
_HEAD = 5


async def reading(connection: Connection, repetitions: int) -> Outcome:
    """Read the topics of questions from beginning to end, in turns."""
    contenders = {
        "millrace": _timed(partial(_ours, connection, codec_of(connection))),
        "confluent-kafka + fastavro": _timed(partial(_raw, connection)),
    }
    samples = await interleaved(contenders, repetitions)
    ratios = rate_ratios(samples["millrace"], samples["confluent-kafka + fastavro"])
    return Outcome(
        checks=(
            Check(id="P10", what="read and decode recorded events", relation=">=", limit=0.8, unit="x", values=ratios),
        ),
        numbers=medians(samples),
        notes=(
            "Reading: all events of five topics of the question path, to typed events with metadata after all checks, "
            "against one confluent-kafka consumer and fastavro with the writer's schema, to plain dicts, headers "
            "left alone."
        ),
    )


def _timed(call: Callable[[], int]) -> Callable[[], "asyncio.Future[Sample]"]:
    async def run() -> Sample:
        began, cpu = time.perf_counter(), time.process_time()
        n = await asyncio.to_thread(call)
        return Sample(n, time.perf_counter() - began, time.process_time() - cpu)

    return run  # type: ignore[return-value]


def _ours(connection: Connection, codec: Codec) -> int:
    return sum(1 for _ in read(connection, TOPICS, codec=codec))


def _raw(connection: Connection) -> int:
    bounds = log_bounds(connection)
    parsed = {topic.name: parse_schema(avro_schema(topic.events[0])) for topic in TOPICS}
    places = [TopicPartition(name, n, low) for name in parsed for n, (low, _) in bounds[name].items()]
    left = sum(high - low for name in parsed for low, high in bounds[name].values())
    consumer = Consumer(reader_settings(connection, lambda _error: None))
    consumer.assign(places)
    n = 0
    while n < left:
        first = consumer.poll(0.1)  # `consume` alone would wait for a whole batch
        for message in [] if first is None else [first, *consumer.consume(2000, 0)]:
            if message.error() is None:
                body = io.BytesIO(message.value() or b"")
                body.seek(_HEAD)
                schemaless_reader(body, parsed[str(message.topic())], None)
                n += 1
    consumer.close()
    return n
