"""What the demo does to the log as others would, and reads from it."""

from __future__ import annotations

import asyncio
import time

from confluent_kafka import Producer

from millrace.client import Millrace
from millrace.contract import codec_of
from millrace.dead_letters import Letter
from millrace.errors import Unavailable
from millrace.events.corpus import DocumentIndexed
from millrace.events.guard import ReviewItemOpened
from millrace.reader import LogReader, decode, raw_record, read
from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, REVIEW_ITEM_OPENED

LETTER_TIMEOUT_S = 15.0
REVIEW_TIMEOUT_S = 60.0


async def version_of(millrace: Millrace, document: str, version: int) -> DocumentIndexed | None:
    """What became of a version."""
    events = await asyncio.to_thread(lambda: list(read(millrace.connection, [DOCUMENT_INDEXED])))
    indexed = [event for event in events if isinstance(event, DocumentIndexed) and event.document == document]
    return next((event for event in indexed if event.version == version), None)


async def count_embedded(millrace: Millrace) -> int:
    """Records on the topic of embedded chunks, so that none since can be shown."""
    return len(await asyncio.to_thread(lambda: list(read(millrace.connection, [CHUNKS_EMBEDDED]))))


def review_items(millrace: Millrace, document: str) -> list[ReviewItemOpened]:
    """Review items of a document; waits for the first, because a trusted one is scanned beside everything else."""
    give_up_s = time.monotonic() + REVIEW_TIMEOUT_S
    codec = codec_of(millrace.connection)
    with LogReader(millrace.connection, [REVIEW_ITEM_OPENED], stop="never") as reader:
        for batch in reader.batches(idle=lambda: time.monotonic() > give_up_s):
            events = [decode(codec, raw_record(message), REVIEW_ITEM_OPENED) for message in batch]
            found = [event for event in events if isinstance(event, ReviewItemOpened) and event.subject == document]
            if found:
                return found
    return []


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
