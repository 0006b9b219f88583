"""Newest recorded term statistics of each tenant: the `Statistics` port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.corpus import StatisticsComputed
from millrace.topics import STATISTICS_COMPUTED
from streams.visibility.topic_view import TopicView

T = TypeVar("T")


class StatisticsView(TopicView, Generic[T]):
    """The newest ``corpus.statistics.computed.v1`` of each tenant.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    get : callable
        ``await get(ref)`` gives the bytes of an object.
    build : callable
        ``build(event, frequencies)`` makes what `current` returns of a record and the bytes of its object.
    codec : Codec, optional
        Knows the schema ids of this installation.
    options
        See `TopicFolder`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        get: Callable[[str], Awaitable[bytes]],
        build: Callable[[StatisticsComputed, bytes], T],
        *,
        codec: Codec | None = None,
        **options: Any,
    ) -> None:
        super().__init__(connection, STATISTICS_COMPUTED, codec, **options)
        self._get = get
        self._build = build
        self._newest: dict[str, StatisticsComputed] = {}
        self._built: dict[str, tuple[StatisticsComputed, T]] = {}

    async def current(self, tenant: str) -> T | None:
        """Newest statistics of a tenant, or None before the first.

        Raises
        ------
        ObjectError
            If their object is missing or does not match its digest.
        """
        newest = self._newest.get(tenant)
        if newest is None:
            return None
        built = self._built.get(tenant)
        if built is None or built[0] is not newest:
            data = await self._get(newest.frequencies)
            built = newest, await asyncio.to_thread(self._build, newest, data)  # megabytes, for a large corpus
            self._built[tenant] = built
        return built[1]

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:  # noqa: ARG002 - the newest counts
        """Take statistics in, unless newer ones are known."""
        known = self._newest.get(event.tenant)
        if isinstance(event, StatisticsComputed) and (known is None or event.epoch >= known.epoch):
            self._newest[event.tenant] = event
