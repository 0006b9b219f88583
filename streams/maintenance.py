"""Tell documents that time has passed: publishes MaintenanceDue where superseded versions outlived the retention.

Time enters the log here and nowhere else on the corpus path: agents act on the time that the event carries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from millrace.codec import Codec
from millrace.event import Meta, attach
from millrace.events.corpus import MaintenanceDue
from millrace.ids import derived
from millrace.topics import MAINTENANCE_DUE
from streams.producer import Ack, Producer, acknowledged
from streams.visibility.history import Expired
from streams.visibility.tail import Tail

log = logging.getLogger(__name__)


class Maintenance:
    """Looks for expired versions at intervals and says so on the log.

    Several workers may say the same: collecting garbage twice changes nothing.

    Parameters
    ----------
    tail : Tail
        The visibility table to look into.
    producer : Producer, optional
        Started; publishes what is due. Without it the table only forgets: other workers write the index.
    retention_us : int
        How long a superseded version is kept, in microseconds.
    interval_s : float
        Time between looks, in seconds.
    tidy : callable, optional
        ``await tidy(tenant)`` at each look, for every tenant: lets a store give back the disk space of deleted rows.
    wall_us : callable
        Wall clock, microseconds since the epoch.
    """

    def __init__(
        self,
        tail: Tail,
        producer: Producer | None,
        codec: Codec,
        *,
        retention_us: int,
        interval_s: float,
        tidy: Callable[[str], Awaitable[object]] | None = None,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._tail = tail
        self._codec = codec
        self._producer = producer
        self._retention_us = retention_us
        self._interval_s = interval_s
        self._tidy = tidy
        self._wall_us = wall_us
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look, now and then at each interval."""
        self._task = asyncio.create_task(self._run(), name="maintenance")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def look(self) -> int:
        """Publish what is due now, then forget it; gives the number of documents.

        Raises
        ------
        MillraceError
            If the broker does not take what is due.
        sqlite3.Error
            If the table's file cannot be written.
        """
        now_us = self._wall_us()
        found = self._tail.table.expired(now_us, self._retention_us)
        if self._producer is not None:
            await self._publish(found, now_us, self._producer)
        if found:
            self._tail.table.prune(now_us - self._retention_us)
        if self._tidy is not None:
            for tenant in self._tail.table.statistics():
                await self._tidy(tenant)
        return len(found)

    async def _publish(self, found: Sequence[Expired], now_us: int, producer: Producer) -> None:
        acks: list[Ack] = []
        for expired in found:
            event = MaintenanceDue(
                tenant=expired.tenant, document=expired.document, at_us=now_us, before_order=expired.before_order
            )
            name = derived("maintenance", expired.tenant, expired.document, expired.before_order, now_us)
            meta = Meta(
                id=name, type=event.type_name(), source="millrace/maintenance", time_us=now_us, tenant=event.tenant
            )
            acks.append(await producer.send(self._codec.record(MAINTENANCE_DUE, attach(event, meta))))
        await acknowledged(acks)

    async def _run(self) -> None:
        while True:
            try:
                await self._tail.wait_ready()
                found = await self.look()
                if found:
                    log.info("garbage is due in %d documents", found)
            except Exception as error:  # noqa: BLE001 - a full disk, a store's own error: the next look may succeed
                log.warning("maintenance waits for the next look: %s: %s", type(error).__name__, error)
            await asyncio.sleep(self._interval_s)
