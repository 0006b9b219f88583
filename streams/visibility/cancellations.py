"""Questions that were given up lately, so that no more work goes into them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Origin
from millrace.events.query import QueryCancelled
from millrace.topics import QUERY_CANCELLED
from streams.visibility.log_reader import LogReader, Offsets

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 8 * 1024 * 1024


class RecentCancellations:
    """The recent tail of ``query.request.cancelled.v1``, by tenant and correlation id: the `Cancellations` port.

    A cancellation counts for a question of its own tenant alone. One that is forgotten, or not read, costs an answer
    that nobody waits for and nothing else.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    keep_s : float
        How far back cancellations are kept: the longest deadline a question may have.
    max_bytes : int
        Most memory for cancellations, counted as their records; the oldest go first.
    codec : Codec, optional
        Knows the schema ids of this installation.
    now : callable
        Seconds since the epoch: where the recent tail begins.
    fetch_max_wait_ms : int
        See `LogReader`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        keep_s: float = 900.0,
        max_bytes: int = _MAX_BYTES,
        codec: Codec | None = None,
        now: Callable[[], float] = time.time,
        fetch_max_wait_ms: int = 100,
    ) -> None:
        self._codec = codec or Codec()
        self._keep_ms = round(keep_s * 1000)
        self._max_bytes = max_bytes
        self._known: OrderedDict[tuple[str, str], tuple[int, int]] = OrderedDict()
        self._watched: dict[tuple[str, str], list[asyncio.Future[None]]] = {}
        self._n_bytes = 0
        self.n_undecodable = 0
        self._reader = LogReader(
            connection,
            (QUERY_CANCELLED.name,),
            self._begin,
            self._take,
            fetch_max_wait_ms=fetch_max_wait_ms,
            since_ms=max(0, round(now() * 1000) - self._keep_ms),
        )

    async def start(self) -> None:
        """Read the recent tail and go on from there; see `LogReader.start` for what it raises."""
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading."""
        await self._reader.stop()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._reader.failure

    def ready(self) -> bool:
        """Whether the tail that was there at the start has been read."""
        return self._reader.ready()

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when every cancellation that was in these partitions at the time of the call is known."""
        await self._reader.caught_up(partitions)

    @property
    def n_watched(self) -> int:
        """Questions that are being watched."""
        return len(self._watched)

    def __len__(self) -> int:
        """How many cancellations are known."""
        return len(self._known)

    def watch(self, tenant: str, correlation: str) -> asyncio.Future[None]:
        """Future that is done once the question is cancelled, at once if it was; cancel it to stop watching."""
        question = (tenant, correlation)
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if question in self._known:
            watcher.set_result(None)
        else:
            self._watched.setdefault(question, []).append(watcher)
            watcher.add_done_callback(partial(self._unwatch, question))
        return watcher

    def _unwatch(self, question: tuple[str, str], watcher: asyncio.Future[None]) -> None:
        watchers = self._watched.get(question)
        if watchers is not None:
            watchers.remove(watcher)
            if not watchers:
                del self._watched[question]

    @staticmethod
    def _begin(recent: Offsets, _: Offsets) -> Mapping[tuple[str, int], int]:
        return recent

    def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        for record in records:
            origin = Origin(record.topic, record.partition, record.offset)
            try:
                event = self._codec.read(QUERY_CANCELLED, record.key, record.value, record.headers, origin)
            except ContractError as error:
                self.n_undecodable += 1
                log.error("record %s is passed over: %s", origin, error)  # noqa: TRY400 - the error says it all
                continue
            if isinstance(event, QueryCancelled) and (question := (event.tenant, event.correlation)) not in self._known:
                size = len(record.value or b"")
                self._known[question] = (record.timestamp, size)
                self._n_bytes += size
                self._forget(record.timestamp - self._keep_ms)
                for watcher in self._watched.get(question, ()):
                    if not watcher.done():
                        watcher.set_result(None)

    def _forget(self, before_ms: int) -> None:
        while self._known:
            timestamp, size = next(iter(self._known.values()))
            if timestamp >= before_ms and self._n_bytes <= self._max_bytes:
                return
            self._known.popitem(last=False)
            self._n_bytes -= size
