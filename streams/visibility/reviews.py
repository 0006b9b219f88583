"""Review items and what was decided about them, to be looked at: by tenant, newest first. Held in memory, bounded."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened
from millrace.reviewing import overtaken, standing
from millrace.topics import REVIEW_DECISION_MADE, REVIEW_ITEM_OPENED
from streams.visibility.topic_view import TopicView

KEEP_S: Final = 365 * 86_400.0
"""As long as the topics keep them, in seconds."""
MAX_ITEMS: Final = 20_000
_MAX_MADE: Final = 20


class Reviewable(msgspec.Struct, frozen=True):
    """An item and its decisions.

    Attributes
    ----------
    item : ReviewItemOpened
        As it was opened last.
    opened_at_ms : int
        When it was opened first, unix milliseconds.
    decisions : tuple of (int, ReviewDecisionMade)
        When each was made, and what it says; in their order, the newest `_MAX_MADE` of them.
    """

    item: ReviewItemOpened
    opened_at_ms: int
    decisions: tuple[tuple[int, ReviewDecisionMade], ...] = ()

    @property
    def last(self) -> ReviewDecisionMade | None:
        """The decision that counts."""
        return standing(self.item, self.decisions[-1][1] if self.decisions else None)


class ReviewLog(TopicView):
    """Folds items and decisions; see `TopicView` for the other parameters.

    Parameters
    ----------
    max_items : int
        Most items of all tenants; the oldest go first.
    now : callable
        Seconds since the epoch: where reading begins.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        codec: Codec | None = None,
        max_items: int = MAX_ITEMS,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        since_ms = max(0, round((now() - KEEP_S) * 1000))
        super().__init__(connection, (REVIEW_ITEM_OPENED, REVIEW_DECISION_MADE), codec, since_ms=since_ms, **options)
        self._max_items = max_items
        self._items: OrderedDict[tuple[str, str], Reviewable] = OrderedDict()
        self._unopened: OrderedDict[tuple[str, str], list[tuple[int, ReviewDecisionMade]]] = OrderedDict()

    def find(self, tenant: str, item: str) -> Reviewable | None:
        """An item of a tenant."""
        return self._items.get((tenant, item))

    def of_tenant(self, tenant: str) -> Sequence[Reviewable]:
        """Items of a tenant, those opened last first."""
        found = [each for (owner, _), each in self._items.items() if owner == tenant]
        return sorted(found, key=lambda each: (each.opened_at_ms, each.item.item), reverse=True)

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:  # noqa: ARG002 - of all views
        """Take an item or a decision in; the two topics are read in any order."""
        if isinstance(event, ReviewItemOpened):
            place = (event.tenant, event.item)
            known = self._items.get(place)
            since = timestamp_ms if known is None else min(known.opened_at_ms, timestamp_ms)
            made = known.decisions if known is not None else tuple(self._unopened.pop(place, ()))
            self._items[place] = Reviewable(event, since, made)
            while len(self._items) > self._max_items:
                self._items.popitem(last=False)
        elif isinstance(event, ReviewDecisionMade):
            self._decide((event.tenant, event.item), timestamp_ms, event)

    def _decide(self, place: tuple[str, str], timestamp_ms: int, event: ReviewDecisionMade) -> None:
        known = self._items.get(place)
        before = known.decisions if known is not None else tuple(self._unopened.get(place, ()))
        if any(each.meta.id == event.meta.id for _, each in before) or overtaken(
            before[-1][1] if before else None, event
        ):
            return
        made = (*before, (timestamp_ms, event))[-_MAX_MADE:]
        if known is not None:
            self._items[place] = msgspec.structs.replace(known, decisions=made)
            return
        self._unopened[place] = list(made)
        while len(self._unopened) > self._max_items:
            self._unopened.popitem(last=False)
