"""Ids of streamed events: where a stream stands on the log, for its own caller alone.

The content is ``partition:offset:n`` of the reply topic with the name of the question. It is sealed, because offsets
tell how much others ask, and because a caller must not name a question of someone else.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.identity import Identity
from gateway.seals import Seals
from millrace.client import Asked
from millrace.client.frames import Frame

_PURPOSE: Final = "event"
_BEFORE: Final = -1


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a stream stands.

    Attributes
    ----------
    correlation, conversation : str
        Names of the question.
    partition : int
        Partition of the reply topic.
    offset : int
        First offset that was not seen.
    attempt, n : int
        Last piece that was seen; n is -1 before the first.
    ended : bool
        Whether the terminal frame was seen: nothing comes after it.
    deadline_ms : int
        When the question's time has passed, in unix milliseconds.
    """

    correlation: str
    conversation: str
    partition: int
    offset: int
    attempt: int
    n: int
    ended: bool
    deadline_ms: int

    @classmethod
    def of(cls, asked: Asked, deadline_ms: int) -> Place:
        """Place before the first frame of a question."""
        return cls(asked.correlation, asked.conversation, asked.partition, asked.offset, 0, _BEFORE, False, deadline_ms)

    def after(self, frame: Frame) -> Place:
        """Place behind a frame."""
        origin = frame.meta.origin
        offset = self.offset if origin is None else max(self.offset, origin.offset + 1)
        return msgspec.structs.replace(self, offset=offset, attempt=frame.attempt, n=frame.n, ended=frame.terminal)

    @property
    def asked(self) -> Asked:
        """The question."""
        return Asked(
            correlation=self.correlation, conversation=self.conversation, partition=self.partition, offset=self.offset
        )


def event_id(seals: Seals, owner: Identity, place: Place) -> str:
    """Id of the event after which a stream stands at `place`."""
    return seals.seal(_PURPOSE, owner, msgspec.msgpack.encode(place))


def place_of(seals: Seals, owner: Identity, found: str) -> Place | None:
    """Place that an id names; None for one that was not given to this caller."""
    raw = seals.open(_PURPOSE, owner, found)
    return None if raw is None else msgspec.msgpack.decode(raw, type=Place)
