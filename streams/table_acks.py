"""Acknowledge a Faust event only when it was applied.

Faust acknowledges what its handler raised on, what was cancelled, and what it skipped itself because it was fetched
around a rebalance (seen on a plain restart); the offset is committed and the record is lost. Here such an event leaves
a *hole*: nothing behind it counts, and the partition is read again from it.
"""

import asyncio
import logging
from typing import Any

import faust
from faust.types import TP

log = logging.getLogger(__name__)

_AGAIN_S = 0.1


class Holes:
    """Events of a Faust app that were delivered and not applied: first offset by partition."""

    def __init__(self) -> None:
        self.app: Any = None
        self._first: dict[TP, int] = {}
        self._seeking: dict[TP, asyncio.Task[None]] = {}

    def event_class(self) -> type[faust.Event]:
        """Event class for ``faust.App(Event=...)``."""
        holes = self

        class HeldEvent(faust.Event):
            """An event whose acknowledgement counts once ``applied`` is set."""

            applied = False

            def ack(self) -> bool:
                if self.applied:
                    return super().ack()
                holes.leave(self.message.tp, self.message.offset)
                return False

        return HeldEvent

    def blocks(self, tp: TP, offset: int) -> bool:
        """Whether an earlier event must be applied first; the event at the hole itself closes it."""
        first = self._first.get(tp)
        if first is None or offset < first:
            return False
        if offset == first:
            del self._first[tp]
            return False
        return True

    def leave(self, tp: TP, offset: int) -> None:
        """Note an event that was not applied, and have it read again."""
        self._first[tp] = min(offset, self._first.get(tp, offset))
        if tp not in self._seeking:
            task = asyncio.create_task(self._seek(tp))
            self._seeking[tp] = task
            task.add_done_callback(lambda _: self._seeking.pop(tp, None))

    async def _seek(self, tp: TP) -> None:
        """Read a partition again from its hole, while it is ours; its next owner starts at the committed offset."""
        while (first := self._first.get(tp)) is not None:
            if tp not in self.app.consumer.assignment():
                self._first.pop(tp, None)
                return
            log.info("reading %s[%d] again from offset %d, which was not applied", tp.topic, tp.partition, first)
            await self.app.consumer.seek(tp, first)
            await asyncio.sleep(_AGAIN_S)
