"""Dead letters as a person meets them: what lies in ``<topic>.dlq``, why, and how it goes back.

A letter holds the original bytes, key and headers, and says in ``mr-error-*`` headers why it is there. Its partition is
that of the source record. A letter put back carries the identity it always had, so putting it back twice changes
nothing.
"""

from typing import Any, Final, Self

import msgspec

from millrace.codec import ConsumedRecord, Record
from millrace.errors import InvalidEvent
from millrace.ids import derived

SUFFIX: Final = ".dlq"
PREFIX: Final = "mr-error-"
REPLAYED: Final = "mr-replayed-from"
# What ties a question to an asker that has long been told of the failure.
_REPLY_HEADERS: Final = frozenset({"deadline", "reply-to", "reply-partition", "ce_correlationid"})


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """One dead letter, with where it stands in the dead letter topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, record: ConsumedRecord) -> Self:
        """Letter of a record consumed from a dead letter topic."""
        return cls(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers),
        )

    @property
    def id(self) -> str:
        """Name of the letter, ``topic/partition/offset``."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def error(self) -> dict[str, str]:
        """Why it is here: ``type``, ``stage``, ``attempt``, ``agent``, ``topic``, ``offset``, ``message`` and so on."""
        return {name.removeprefix(PREFIX): _text(value) for name, value in self.headers if name.startswith(PREFIX)}

    @property
    def source(self) -> str:
        """Topic it came from."""
        return self.topic.removesuffix(SUFFIX)

    def header(self, name: str) -> str:
        """Text of an original header; empty when there is none."""
        return next((_text(value) for key, value in self.headers if key == name), "")


def replayed(letter: Letter) -> Record:
    """Build the record that puts a letter back: the original bytes and headers, marked with where it lay.

    A question gets a new id and correlation id, derived from the letter: the old ones have their terminal answer
    already. It goes back without a deadline, which has passed, and without a reply address, where nobody waits.

    Raises
    ------
    InvalidEvent
        If there is nothing to put back.
    """
    if letter.value is None and letter.key is None:
        raise InvalidEvent(f"the letter at {letter.id} has neither key nor value; there is nothing to put back")
    headers = [(name, value) for name, value in letter.headers if not name.startswith(PREFIX) and name != REPLAYED]
    names = {name for name, _ in headers}
    if names & {"deadline", "reply-to"} and "ce_causationid" not in names:
        fresh = derived("replayed", letter.id).encode()
        headers = [(name, fresh if name == "ce_id" else value) for name, value in headers if name not in _REPLY_HEADERS]
        headers.append(("ce_correlationid", fresh))
    headers.append((REPLAYED, letter.id.encode()))
    # A record may lack key or value; that is often why it is here.
    key: Any = letter.key
    value: Any = letter.value
    return Record(topic=letter.source, key=key, value=value, headers=headers, partition=letter.partition)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
