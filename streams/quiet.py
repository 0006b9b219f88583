"""Which conversations have gone quiet: in memory, told by what is read of them and by a clock that is given."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from millrace.event import Event, Meta, attach
from millrace.events.feedback import SessionDue
from millrace.ids import derived

Name = tuple[str, str]
"""Tenant and conversation."""
_MAX_IDS: Final = 256
_MAX_OPEN: Final = 50_000
_MAX_CLOSED: Final = 200_000


class _Open:
    """A conversation whose last session has not been closed."""

    __slots__ = ("arrived_us", "ids", "last_us", "positions")

    def __init__(self) -> None:
        self.last_us = self.arrived_us = 0
        self.positions: dict[str, int] = {}
        self.ids: OrderedDict[str, None] = OrderedDict()


class QuietConversations:
    """Says once of each session that it is over.

    Parameters
    ----------
    gap_us : int
        Quiet for so long, a session is over.
    lateness_us : int
        So much later events may still arrive.
    most : int
        Conversations that are followed; beyond, those that were quiet longest are said to be over early.
    """

    def __init__(self, gap_us: int, lateness_us: int, *, most: int = _MAX_OPEN) -> None:
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
        if meta.id in found.ids:
            return
        found.ids[meta.id] = None
        while len(found.ids) > _MAX_IDS:
            found.ids.popitem(last=False)
        found.last_us = max(found.last_us, meta.time_us)
        found.arrived_us = max(found.arrived_us, arrived_us)
        if meta.origin is not None:
            found.positions[meta.origin.topic] = meta.origin.offset
        self._open.move_to_end(name)

    def due(self, now_us: int) -> Iterator[SessionDue]:
        """Sessions that are over now; each comes again until it is noted as closed, by the same id."""
        excess = len(self._open) - self._most
        for at, (name, found) in enumerate(self._open.items()):
            quiet = now_us - found.last_us >= self._gap_us + self._lateness_us
            if at < excess or (quiet and now_us - found.arrived_us >= self._lateness_us):
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
