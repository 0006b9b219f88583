"""What the demo does to the log as others would, and reads from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Producer

from millrace.client import Millrace
from millrace.contract import codec_of
from millrace.dead_letters import Letter
from millrace.errors import Unavailable
from millrace.event import Event
from millrace.events.corpus import DocumentIndexed
from millrace.reader import LogReader, decode, raw_record, read
from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, Topic

E = TypeVar("E", bound=Event)

LETTER_TIMEOUT_S = 15.0
AGENT_TIMEOUT_S = 60.0


async def version_of(millrace: Millrace, document: str, version: int) -> DocumentIndexed | None:
    """What became of a version."""
    events = await asyncio.to_thread(lambda: list(read(millrace.connection, [DOCUMENT_INDEXED])))
    indexed = [event for event in events if isinstance(event, DocumentIndexed) and event.document == document]
    return next((event for event in indexed if event.version == version), None)


async def count_embedded(millrace: Millrace) -> int:
    """Records on the topic of embedded chunks, so that none since can be shown."""
    return len(await asyncio.to_thread(lambda: list(read(millrace.connection, [CHUNKS_EMBEDDED]))))


def events_of(
    millrace: Millrace, topic: Topic, kind: type[E], fits: Callable[[E], bool] = lambda _: True, wait_s: float = 0.0
) -> list[E]:
    """Events of a topic that fit, in the order of the log.

    Parameters
    ----------
    wait_s : float
        How long the first of them is waited for, in seconds: what an agent says comes when it comes.
    """
    give_up_s = time.monotonic() + wait_s
    codec = codec_of(millrace.connection)
    if wait_s:
        with LogReader(millrace.connection, [topic], stop="never") as reader:
            for batch in reader.batches(idle=lambda: time.monotonic() > give_up_s):
                events = [decode(codec, raw_record(message), topic) for message in batch]
                if any(isinstance(event, kind) and fits(event) for event in events):
                    break
    return [event for event in read(millrace.connection, [topic]) if isinstance(event, kind) and fits(event)]


async def first_of(
    millrace: Millrace, topic: Topic, kind: type[E], fits: Callable[[E], bool], wait_s: float = AGENT_TIMEOUT_S
) -> E | None:
    """The first event that fits; None where none came in time."""
    found = await asyncio.to_thread(events_of, millrace, topic, kind, fits, wait_s)
    return found[0] if found else None


def write_raw(millrace: Millrace, topic: str, key: bytes, value: bytes) -> None:
    """Write bytes as a foreign client would."""
    producer = Producer(millrace.connection.librdkafka_producer())
    producer.produce(topic, key=key, value=value)
    if producer.flush(10):
        raise Unavailable(f"the broker did not take a record for {topic}")


def letters_of(millrace: Millrace, topic: str, value: bytes) -> list[Letter]:
    """Dead letters with these bytes; waits for the first, because its partition goes at its own pace."""
    give_up_s = time.monotonic() + LETTER_TIMEOUT_S
    with LogReader(millrace.connection, [topic], stop="never") as reader:
        for batch in reader.batches(idle=lambda: time.monotonic() > give_up_s):
            found = [Letter.of(raw_record(message)) for message in batch]
            if any(letter.value == value for letter in found):
                break
    with LogReader(millrace.connection, [topic]) as reader:
        return [letter for letter in map(Letter.of, reader) if letter.value == value]
