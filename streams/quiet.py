"""Which conversations have gone quiet: in memory, told by what is read of them and by a clock that is given.

Bounded: beyond `MAX_OPEN` conversations those that were quiet longest are forgotten. They are not said to be over: a
session that is closed too early is judged without its end, and what still comes of it is dropped as late. Of one that
is forgotten nothing is concluded, unless it goes on: then it is followed again, and closed with all that it holds.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from millrace.event import Event, Meta, attach
from millrace.events.feedback import SessionDue
from millrace.ids import derived

Name = tuple[str, str]
"""Tenant and conversation."""
MAX_OPEN: Final = 100_000
"""Conversations of all tenants that may be open at a time; each takes about a kilobyte, 3 kB at most."""
_MAX_IDS: Final = 256
_ID_BYTES: Final = 8
_MAX_CLOSED: Final = 200_000


class _Open:
    """A conversation whose last session has not been closed."""

    __slots__ = ("_ids", "arrived_us", "last_us", "positions")

    def __init__(self) -> None:
        self.last_us = self.arrived_us = 0
        self.positions: dict[str, int] = {}
        self._ids = b""  # digests: the ids themselves would take ten times as much

    def is_new(self, event_id: str) -> bool:
        """Whether an event is none of the last ones; it is one of them from now on."""
        digest = hashlib.blake2s(event_id.encode(), digest_size=_ID_BYTES).digest()
        if memoryview(digest).cast("Q")[0] in memoryview(self._ids).cast("Q"):
            return False
        self._ids = (self._ids + digest)[-_ID_BYTES * _MAX_IDS :]
        return True


class QuietConversations:
    """Says once of each session that it is over.

    Parameters
    ----------
    gap_us : int
        Quiet for so long, a session is over.
    lateness_us : int
        So much later events may still arrive.
    most : int
        Conversations that are followed; beyond, those of which nothing was read for longest are forgotten.

    Attributes
    ----------
    n_forgotten : int
        How many were.
    """

    def __init__(self, gap_us: int, lateness_us: int, *, most: int = MAX_OPEN) -> None:
        self.n_forgotten = 0
        self._gap_us = gap_us
        self._lateness_us = lateness_us
        self._most = most
        self._open: OrderedDict[Name, _Open] = OrderedDict()
        self._closed: OrderedDict[Name, int] = OrderedDict()

    def __len__(self) -> int:
        """How many conversations are followed."""
        return len(self._open)

    def note(self, event: Event, arrived_us: int) -> None:
        """Take a record of a conversation in; one that comes again changes nothing.

        Parameters
        ----------
        event : Event
            With its place in the log.
        arrived_us : int
            When the broker took it, microseconds since the epoch.
        """
        name = (event.tenant, getattr(event, "conversation", ""))
        if isinstance(event, SessionDue):
            self._note_closed(name, event.until_us)
            return
        meta = event.meta
        if meta.time_us + self._gap_us <= self._closed.get(name, 0):
            return
        found = self._open.setdefault(name, _Open())
        if not found.is_new(meta.id):
            return
        found.last_us = max(found.last_us, meta.time_us)
        found.arrived_us = max(found.arrived_us, arrived_us)
        if meta.origin is not None:
            found.positions[meta.origin.topic] = meta.origin.offset
        self._open.move_to_end(name)
        while len(self._open) > self._most:
            self._open.popitem(last=False)
            self.n_forgotten += 1

    def due(self, now_us: int) -> Iterator[SessionDue]:
        """Sessions that are over now; each comes again until it is noted as closed, by the same id."""
        for name, found in self._open.items():
            quiet = now_us - found.last_us >= self._gap_us + self._lateness_us
            if quiet and now_us - found.arrived_us >= self._lateness_us:
                yield _due(name, found.last_us + self._gap_us, found.positions)

    def _note_closed(self, name: Name, until_us: int) -> None:
        self._closed[name] = max(until_us, self._closed.pop(name, 0))
        while len(self._closed) > _MAX_CLOSED:
            self._closed.popitem(last=False)
        found = self._open.get(name)
        if found is not None and found.last_us + self._gap_us <= until_us:
            del self._open[name]


def _due(name: Name, until_us: int, positions: dict[str, int]) -> SessionDue:
    tenant, conversation = name
    event = SessionDue(tenant=tenant, conversation=conversation, until_us=until_us, positions=dict(positions))
    return attach(
        event,
        Meta(
            id=derived("session", tenant, conversation, until_us),
            type=event.type_name(),
            source="millrace/sessions",
            time_us=until_us,
            tenant=tenant,
        ),
    )
