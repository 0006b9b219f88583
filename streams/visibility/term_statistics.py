"""Newest recorded term statistics of each tenant: the `Statistics` port."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Origin
from millrace.events.corpus import StatisticsComputed
from millrace.topics import STATISTICS_COMPUTED
from streams.visibility.log_reader import LogReader, Offsets

log = logging.getLogger(__name__)

T = TypeVar("T")


class StatisticsView(Generic[T]):
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
    fetch_max_wait_ms : int
        See `LogReader`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        get: Callable[[str], Awaitable[bytes]],
        build: Callable[[StatisticsComputed, bytes], T],
        *,
        codec: Codec | None = None,
        fetch_max_wait_ms: int = 100,
    ) -> None:
        self._codec = codec or Codec()
        self._get = get
        self._build = build
        self._newest: dict[str, StatisticsComputed] = {}
        self._built: dict[str, tuple[StatisticsComputed, T]] = {}
        self._reader = LogReader(
            connection, (STATISTICS_COMPUTED.name,), self._begin, self._take, fetch_max_wait_ms=fetch_max_wait_ms
        )

    async def start(self) -> None:
        """Read the topic from its beginning; see `LogReader.start` for what it raises."""
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._reader.failure

    def ready(self) -> bool:
        """Whether what was there at the start has been read."""
        return self._reader.ready()

    async def caught_up(self) -> None:
        """Return when everything that was in the topic at the time of the call has been read."""
        await self._reader.caught_up()

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
            built = self._built[tenant] = (newest, self._build(newest, await self._get(newest.frequencies)))
        return built[1]

    @staticmethod
    def _begin(beginnings: Offsets, _: Offsets) -> Mapping[tuple[str, int], int]:
        return beginnings

    def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        for record in records:
            origin = Origin(record.topic, record.partition, record.offset)
            try:
                event = self._codec.read(STATISTICS_COMPUTED, record.key, record.value, record.headers, origin)
            except ContractError as error:
                log.error("record %s is passed over: %s", origin, error)  # noqa: TRY400 - the error says it all
                continue
            known = self._newest.get(event.tenant)
            if isinstance(event, StatisticsComputed) and (known is None or event.epoch >= known.epoch):
                self._newest[event.tenant] = event
