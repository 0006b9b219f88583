"""Questions that were given up lately, so that no more work goes into them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from millrace.codec import Codec
from millrace.events.query import QueryCancelled
from millrace.topics import QUERY_CANCELLED
from streams.visibility.recent import KEEP_S, Question, RecentTail

_MAX_BYTES: Final = 8 * 1024 * 1024


class RecentCancellations(RecentTail[QueryCancelled]):
    """The recent tail of ``query.request.cancelled.v1``: the `Cancellations` port. See `RecentTail` for the parameters.

    A cancellation counts for a question of its own tenant alone. One that is forgotten, or not read, costs an answer
    that nobody waits for and nothing else.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        keep_s: float = KEEP_S,
        max_bytes: int = _MAX_BYTES,
        codec: Codec | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            connection, QUERY_CANCELLED, QueryCancelled, keep_s=keep_s, max_bytes=max_bytes, codec=codec, **options
        )
        self._watched: dict[Question, list[asyncio.Future[None]]] = {}

    @property
    def n_watched(self) -> int:
        """Questions that are being watched."""
        return len(self._watched)

    def watch(self, tenant: str, correlation: str) -> asyncio.Future[None]:
        """Future that is done once the question is cancelled, at once if it was; cancel it to stop watching."""
        question = (tenant, correlation)
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if question in self:
            watcher.set_result(None)
        else:
            self._watched.setdefault(question, []).append(watcher)
            watcher.add_done_callback(partial(self._unwatch, question))
        return watcher

    def noted(self, question: Question) -> None:
        """Tell whoever watches the question."""
        for watcher in self._watched.get(question, ()):
            if not watcher.done():
                watcher.set_result(None)

    def _unwatch(self, question: Question, watcher: asyncio.Future[None]) -> None:
        watchers = self._watched.get(question)
        if watchers is not None:
            watchers.remove(watcher)
            if not watchers:
                del self._watched[question]
