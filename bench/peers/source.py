"""The records of the fault matrix, and the scan of what came of them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from bench.lab import Lab
from bench.peers.oracle import Answer, Kind, Sent
from bench.readings import EVENTS, ReadingChecked, ReadingTaken, reading, reading_topic
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import Unavailable

PARTITIONS = 4
KEYS = 40
_BY_KEY = -1  # librdkafka's sign that the key decides
_QUALITY: Mapping[Kind, str] = {"good": "good", "slow": "slow", "failing": "failing", "poison": "good"}


def send(lab: Lab, topic: str, kinds: Sequence[Kind], *, over_s: float = 0.0) -> list[Sent]:
    """Write a reading for each kind; poison is bytes that no schema fits, one after the other into all partitions.

    Parameters
    ----------
    lab : Lab
        With the broker.
    topic : str
        Where to.
    kinds : sequence of str
        What each reading is.
    over_s : float
        Write at an even pace, over so many seconds.

    Raises
    ------
    Unavailable
        If not all were acknowledged.
    """
    codec = Codec(EVENTS)
    target = reading_topic(topic, ReadingTaken)
    producer = Producer(Connection(bootstrap=lab.bootstrap).librdkafka_producer() | {"log_level": 0})
    sent: list[Sent] = []
    n_poison = 0
    began = time.monotonic()
    for i, kind in enumerate(kinds):
        while (early_s := began + over_s * i / len(kinds) - time.monotonic()) > 0:
            producer.poll(early_s)
        event = reading(i).replace(sensor=f"pump-{i % KEYS:02d}", quality=_QUALITY[kind])
        record = codec.record(target, event)
        value, partition = record.value, _BY_KEY
        if kind == "poison":
            value, partition = f"poison {i:06d}".encode(), n_poison % PARTITIONS
            n_poison += 1

        def acknowledged(error: Any, message: Any, i: int = i, kind: Kind = kind) -> None:
            if error is None:
                sent.append(Sent(i, kind, message.key(), message.value(), message.partition(), message.offset()))

        headers: Any = record.headers
        producer.produce(topic, value, record.key, partition, acknowledged, headers=headers)
        producer.poll(0)
    producer.flush(60)
    if len(sent) < len(kinds):
        raise Unavailable(f"{len(kinds) - len(sent)} of {len(kinds)} records for {topic} were not acknowledged in 60 s")
    return sorted(sent, key=lambda each: each.sequence)


class Scan:
    """Follows the sink and the dead letter topic from their beginnings.

    Parameters
    ----------
    lab : Lab
        With the broker.
    sink, letters : str
        Topics.
    """

    def __init__(self, lab: Lab, sink: str, letters: str) -> None:
        self.answers: list[Answer] = []
        self.letters: set[bytes] = set()
        self._sink = sink
        self._codec = Codec(EVENTS)
        self._last = time.monotonic()
        settings = {
            "bootstrap.servers": lab.bootstrap, "group.id": "bench.scan", "enable.auto.commit": False, "log_level": 0,
        }  # fmt: skip
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(topic, i, 0) for topic in (sink, letters) for i in range(PARTITIONS)])

    def read(self, wait_s: float = 0.2) -> None:
        """Read what has come, for at most so long.

        Raises
        ------
        TypeError
            If the sink holds something else than answers.
        """
        messages: list[Any] = self._consumer.consume(10_000, wait_s)
        for message in messages:
            if message.error():
                continue
            self._last = time.monotonic()
            if message.topic() == self._sink:
                event = self._codec.decode(message.value())
                if not isinstance(event, ReadingChecked):
                    raise TypeError(f"{self._sink} holds a {type(event).__name__}; a peer answers with ReadingChecked")
                self.answers.append(Answer(event.sequence, message.key(), message.partition(), message.offset()))
            else:
                self.letters.add(message.value())

    @property
    def quiet_s(self) -> float:
        """Seconds since something came."""
        return time.monotonic() - self._last

    @property
    def sequences(self) -> set[int]:
        """What has been answered."""
        return {each.sequence for each in self.answers}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()
