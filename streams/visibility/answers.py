"""Recent terminal records of questions, so that a redelivered question is not answered twice."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Origin
from millrace.events.query import AnswerProduced
from millrace.topics import ANSWER_PRODUCED
from streams.visibility.log_reader import LogReader, Offsets

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 64 * 1024 * 1024


class RecentAnswers:
    """The recent tail of ``query.answer.produced.v1``, by tenant and correlation id: the `Answers` port.

    An asker chooses the correlation id: a record counts for a question of its own tenant alone.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    keep_s : float
        How far back answers are kept: the longest deadline a question may have, with a margin for redelivery.
    max_bytes : int
        Most memory for answers, counted as their records; the oldest go first.
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
        self._answers: OrderedDict[tuple[str, str], tuple[int, int, AnswerProduced]] = OrderedDict()
        self._n_bytes = 0
        self.n_undecodable = 0
        self._reader = LogReader(
            connection,
            (ANSWER_PRODUCED.name,),
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
        """Return when every answer that was in these partitions at the time of the call can be found."""
        await self._reader.caught_up(partitions)

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """First terminal record of a tenant's question, if it has one."""
        found = self._answers.get((tenant, correlation))
        return None if found is None else found[2]

    @staticmethod
    def _begin(recent: Offsets, _: Offsets) -> Mapping[tuple[str, int], int]:
        return recent

    def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        for record in records:
            origin = Origin(record.topic, record.partition, record.offset)
            try:
                event = self._codec.read(ANSWER_PRODUCED, record.key, record.value, record.headers, origin)
            except ContractError as error:
                self.n_undecodable += 1
                log.error("record %s is passed over: %s", origin, error)  # noqa: TRY400 - the error says it all
                continue
            if isinstance(event, AnswerProduced) and (ended := (event.tenant, event.correlation)) not in self._answers:
                size = len(record.value or b"")
                self._answers[ended] = (record.timestamp, size, event)
                self._n_bytes += size
                self._forget(record.timestamp - self._keep_ms)

    def _forget(self, before_ms: int) -> None:
        while self._answers:
            timestamp, size, _ = next(iter(self._answers.values()))
            if timestamp >= before_ms and self._n_bytes <= self._max_bytes:
                return
            self._answers.popitem(last=False)
            self._n_bytes -= size
