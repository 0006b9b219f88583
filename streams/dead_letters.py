"""Records that could not be processed: ``<topic>.dlq`` holds their bytes, and ``mr-error-*`` headers say why.

The partition is that of the source record, so that one key's letters stay in order. A letter put back carries the
identity it always had (``ce_id``), so putting it back twice changes nothing.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from millrace.codec import Record
from millrace.errors import InvalidEvent, TooLarge, error_type
from millrace.ids import derived
from millrace.invoke import describe
from streams.producer import Ack, Producer

SUFFIX = ".dlq"
PREFIX = "mr-error-"
REPLAYED = "mr-replayed-from"
_MESSAGE_CHARS = 500


class Consumed(Protocol):
    """What this module reads of a consumed record; aiokafka's ``ConsumerRecord`` has this shape."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter.

    Attributes
    ----------
    topic, partition, offset
        Where the letter stands: in a dead letter topic.
    headers
        Those of the original record and the ``mr-error-*`` ones.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, record: Consumed) -> "Letter":
        """Letter of a record consumed from a dead letter topic."""
        return cls(
            topic=record.topic, partition=record.partition, offset=record.offset,
            key=record.key, value=record.value, headers=tuple(record.headers),
        )  # fmt: skip

    @property
    def error(self) -> dict[str, str]:
        """Why it is here: ``type``, ``stage``, ``attempt``, ``agent``, ``topic``, ``offset``, ``message`` and so on."""
        return {name.removeprefix(PREFIX): _text(value) for name, value in self.headers if name.startswith(PREFIX)}

    @property
    def source(self) -> str:
        """Topic it came from."""
        return self.topic.removesuffix(SUFFIX)


def letter_of(record: Consumed, error: BaseException, *, agent: str, stage: str = "", attempt: int = 0) -> Record:
    """Build the dead letter of a consumed record.

    Parameters
    ----------
    record
        The original; its key, value and headers go on unchanged, absent key and value included.
    error
        Why it failed. An unknown exception's text may quote content, so only its type is named.
    stage
        Stage of a fused run that failed.
    attempt
        How many attempts were made.
    """
    trace = dict(record.headers).get("traceparent", b"").split(b"-")
    notes = {
        "type": error_type(error),
        "stage": stage or agent,
        "attempt": str(attempt),
        "agent": agent,
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "trace-id": _text(trace[1]) if len(trace) == 4 else "",
        "message": describe(error, agent)[:_MESSAGE_CHARS],
    }
    headers = [*record.headers, *((f"{PREFIX}{name}", text.encode()) for name, text in notes.items())]
    # A record may lack key or value; that is often why it is here.
    key: Any = record.key
    value: Any = record.value
    return Record(topic=f"{record.topic}{SUFFIX}", key=key, value=value, headers=headers, partition=record.partition)


def why_held(letter: Record, failure: BaseException) -> str:
    """Say why a letter cannot be written, and what to do: until it is, the offset of its record is held."""
    if isinstance(failure, TooLarge):
        return (
            f"{failure}; raise max.message.bytes of {letter.topic} to 64 kB above that of the source topic, then the "
            "letter is written by itself"
        )
    return str(failure) or repr(failure)


def replayed(letter: Letter) -> Record:
    """Build the record that puts a letter back: the original bytes and headers, marked with where it lay.

    A question gets a new id and correlation id, derived from the letter: the old ones have their terminal answer
    already. It goes back without a deadline, which has passed, and without a reply address, where nobody waits.
    """
    origin = f"{letter.topic}/{letter.partition}/{letter.offset}"
    headers = [(name, value) for name, value in letter.headers if not name.startswith(PREFIX) and name != REPLAYED]
    names = {name for name, _ in headers}
    if names & {"deadline", "reply-to"} and "ce_causationid" not in names:
        fresh = derived("replayed", origin)
        gone = {"deadline", "reply-to", "reply-partition", "ce_correlationid"}
        headers = [(name, value) for name, value in headers if name not in gone]
        headers = [(name, fresh.encode() if name == "ce_id" else value) for name, value in headers]
        headers.append(("ce_correlationid", fresh.encode()))
    headers.append((REPLAYED, origin.encode()))
    if letter.value is None and letter.key is None:
        raise InvalidEvent(f"the letter at {origin} has neither key nor value; there is nothing to put back")
    key: Any = letter.key
    value: Any = letter.value
    return Record(topic=letter.source, key=key, value=value, headers=headers, partition=letter.partition)


async def replay(producer: Producer, letter: Letter) -> Ack:
    """Put a letter back into its source topic, in its old partition; see `replayed`.

    Returns
    -------
    asyncio.Future
        Done when the broker has acknowledged the record.
    """
    return await producer.send(replayed(letter))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
