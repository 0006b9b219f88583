"""A consumer whose fetches are held longer the longer nothing has come.

A broker that does not wake a fetch when a record comes has to be asked again and again, and a worker has some twenty
consumers: asked every few milliseconds, they cost a third of a core while nothing happens. A broker that does wake it
can hold a fetch for long, except while records of some partition wait to be taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

_SHARE: Final = 20
"""A record waits at most one part in so many of the silence that it ends."""
_CROWDED_MS: Final = 100
"""How long a fetch may be held while records wait to be taken: it leaves out their partitions, which wait for it."""


class Patience:
    """How long a fetch may be held: a part of the silence so far, within bounds.

    Parameters
    ----------
    shortest_ms, longest_ms : int
        The bounds. Where they are equal, that is how long.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, shortest_ms: int, longest_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._shortest_ms = shortest_ms
        self._longest_ms = max(shortest_ms, longest_ms)
        self._clock = clock
        self._heard_s = clock()

    def hear(self) -> None:
        """Something came, or somebody waits for what may come: the silence begins anew."""
        self._heard_s = self._clock()

    @property
    def wait_ms(self) -> int:
        """How long the next fetch may be held, in milliseconds."""
        silence_ms = (self._clock() - self._heard_s) * 1000
        return min(self._longest_ms, max(self._shortest_ms, round(silence_ms / _SHARE)))


class PatientConsumer(AIOKafkaConsumer):  # type: ignore[misc] # aiokafka ships no types
    """A consumer that sets its wait anew whenever it is asked for records; for `getmany` alone.

    Parameters
    ----------
    fetch_max_wait_ms : int
        How long a fetch may be held while records come.
    fetch_idle_wait_ms : int, optional
        How long at most after silence; by default no longer.
    clock : callable
        Seconds, monotonic.
    options
        See `aiokafka.AIOKafkaConsumer`.
    """

    def __init__(
        self,
        *,
        fetch_max_wait_ms: int,
        fetch_idle_wait_ms: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        super().__init__(fetch_max_wait_ms=fetch_max_wait_ms, **options)
        self._patience = Patience(fetch_max_wait_ms, fetch_idle_wait_ms or fetch_max_wait_ms, clock)

    @property
    def wait_ms(self) -> int:
        """How long the broker may hold the next fetch, in milliseconds."""
        wait_ms: int = self._fetcher._fetch_max_wait_ms if self._fetcher else self._fetch_max_wait_ms  # noqa: SLF001
        return wait_ms

    def hurry(self) -> None:
        """Fetch as while records come, because somebody waits."""
        self._patience.hear()
        self._set_wait()

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]]:
        """Take records from what was fetched, see `aiokafka.AIOKafkaConsumer.getmany`."""
        found: dict[TopicPartition, list[ConsumerRecord[bytes, bytes]]] = await super().getmany(
            *partitions, timeout_ms=timeout_ms, max_records=max_records
        )
        if found:
            self._patience.hear()
        self._set_wait(filled=sum(map(len, found.values())) == max_records)
        return found

    def _set_wait(self, *, filled: bool = False) -> None:
        if (fetcher := self._fetcher) is None:
            return
        wait_ms = self._patience.wait_ms
        if filled or fetcher._records:  # noqa: SLF001 - a node is asked one thing at a time, perhaps for others alone
            wait_ms = min(wait_ms, _CROWDED_MS)
        fetcher._fetch_max_wait_ms = wait_ms  # noqa: SLF001 - read for each fetch, set by none
