"""Dead letters of access that could not be read: no pump reads that topic, so whoever folds it writes them."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from millrace.codec import ConsumedRecord
from millrace.errors import ContractError, MillraceError, TooLarge
from millrace.event import Origin
from millrace.topics import ACL_CHANGED
from streams.dead_letters import letter_of, why_held
from streams.producer import Producer, acknowledged

log = logging.getLogger(__name__)

_MAX_WAITING: Final = 10_000
_DRAIN_S: Final = 5.0


class AccessLetters:
    """Writes a dead letter for every access record that was passed over, in the background.

    Every worker that folds the topic writes one. They name the same record, and putting several of them back changes
    what one does: the record's id is folded once.

    Parameters
    ----------
    producer : Producer
        Started; stopped after this is.
    retry_s : float
        Time between attempts while the broker does not take a letter, in seconds.
    """

    def __init__(self, producer: Producer, *, retry_s: float = 1.0) -> None:
        self._producer = producer
        self._retry_s = retry_s
        self._waiting: asyncio.Queue[tuple[ConsumedRecord, ContractError]] = asyncio.Queue(_MAX_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.n_written = 0
        self.n_lost = 0

    def put(self, record: ConsumedRecord, error: ContractError) -> None:
        """Take a record in that was passed over; those of other topics have dead letters elsewhere or need none."""
        if record.topic != ACL_CHANGED.name:
            return
        try:
            self._waiting.put_nowait((record, error))
        except asyncio.QueueFull:
            self.n_lost += 1
            origin = Origin(record.topic, record.partition, record.offset)
            log.error("no dead letter for %s: %d wait already", origin, _MAX_WAITING)  # noqa: TRY400 - says it all

    async def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run(), name="access-letters")

    async def stop(self) -> None:
        """Write what waits, if the broker takes it within seconds, and end."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                await self._waiting.join()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            record, error = await self._waiting.get()
            letter = letter_of(record, error, agent="visibility")
            while True:
                try:
                    await acknowledged([await self._producer.send(letter)])
                    self.n_written += 1
                    break
                except MillraceError as failure:
                    log.error("cannot write to %s yet: %s", letter.topic, why_held(letter, failure))  # noqa: TRY400 - says it all
                    if isinstance(failure, TooLarge):
                        self.n_lost += 1
                        break
                    await asyncio.sleep(self._retry_s)
            self._waiting.task_done()
