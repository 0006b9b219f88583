"""A loop over confluent-kafka's `consume`, at least once: offsets are stored after `flush`, the client commits them."""

import signal
import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer

from bench.peers.programs.work import Job, Work

_BATCH = 1000


def run(job: Job) -> None:
    """Run until SIGTERM."""
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    work = Work(job)
    consumer = Consumer(
        {
            "bootstrap.servers": job.bootstrap,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": job.commit_ms,
            "session.timeout.ms": job.session_ms,
            "heartbeat.interval.ms": job.session_ms // 3,
        }
    )
    producer = Producer({"bootstrap.servers": job.bootstrap, "enable.idempotence": True})
    consumer.subscribe([job.source])
    try:
        while not ended:
            _batch(job, work, consumer, producer)
    finally:
        consumer.close()


def _batch(job: Job, work: Work, consumer: Any, producer: Any) -> None:
    messages = consumer.consume(_BATCH, timeout=0.1)
    for message in messages:
        if error := message.error():
            raise KafkaException(error)
        reading = work.decode(message.value())
        if seconds := work.takes_s(reading):
            time.sleep(seconds)
        work.look(reading)
        if job.sink:
            producer.produce(job.sink, work.answer(reading), key=message.key())
            producer.poll(0)
    if job.sink:
        producer.flush()
    for message in messages:
        consumer.store_offsets(message)
