"""How fast recorded questions are asked again: a token bucket, and a look at whether live questions wait."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from millrace.connection import Connection
from millrace.positions import reader_settings
from millrace.topics import QUERY_RECEIVED

GROUP: Final = "millrace.answer_question"
"""Group of the workers that answer; only what it committed is asked for, it is never joined."""
MAX_WAITING: Final = 64
"""So many live questions may be uncommitted, most of them answered a moment ago, before a replay holds back."""
TELL_AFTER_S: Final = 5.0
"""A replay that holds back for so long says so, once."""
_LOOK_EVERY_S: Final = 1.0
_TIMEOUT_S: Final = 5.0


class HeldTooLong(Exception):
    """Live questions waited for longer than a replay may hold back."""


class Pace:
    """Lets questions through at a rate; unused time is not saved up beyond one question.

    Parameters
    ----------
    rate : float
        Questions a second; 0 for as fast as they can be answered.
    waiting : callable, optional
        ``waiting()`` gives how many live questions wait, None where that cannot be said; looked at once a second, in a
        thread.
    limit_s : float
        How long it may hold back for live questions at a time, in seconds.
    tell : callable
        Takes what a person who waits should know.
    clock, sleep : callable
        Monotonic seconds, and how to wait for some.

    Attributes
    ----------
    held_s : float
        How long live questions made it wait, in seconds.
    """

    def __init__(
        self,
        rate: float,
        waiting: Callable[[], int | None] | None = None,
        *,
        limit_s: float = math.inf,
        tell: Callable[[str], None] = lambda _text: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._every_s = 1 / rate if rate > 0 else 0.0
        self._waiting = waiting
        self._limit_s = limit_s
        self._tell = tell
        self._told = False
        self._clock = clock
        self._sleep = sleep
        self._due_s = clock()
        self._look_s = clock()
        self.held_s = 0.0

    async def turn(self) -> None:
        """Return when the next question may be asked.

        Raises
        ------
        HeldTooLong
            Live questions still wait after the time it may hold back.
        """
        await self._let_live_questions_pass()
        now = self._clock()
        if self._due_s > now:
            await self._sleep(self._due_s - now)
        self._due_s = max(self._due_s, now) + self._every_s

    async def _let_live_questions_pass(self) -> None:
        began_s = self._clock()
        while self._waiting is not None and self._clock() >= self._look_s:
            found = await asyncio.to_thread(self._waiting)
            self._look_s = self._clock() + _LOOK_EVERY_S
            if found is None or found <= MAX_WAITING:
                return
            self._held(found, self._clock() - began_s)
            await self._sleep(_LOOK_EVERY_S)
            self.held_s += _LOOK_EVERY_S

    def _held(self, found: int, for_s: float) -> None:
        if for_s >= self._limit_s:
            raise HeldTooLong(f"{found} live questions waited, and {for_s:.0f} s of holding back did not change that")
        if for_s >= TELL_AFTER_S and not self._told:
            self._told = True
            self._tell(
                f"holding back: {found} live questions wait, and it goes on when at most {MAX_WAITING} do. If no "
                "worker takes them (`python -m infra status`), start the workers, or give --hold 0 to ask beside them"
                + (f"; after {self._limit_s:g} s the rest is left out" if math.isfinite(self._limit_s) else "")
            )


class LiveQuestions:
    """Counts questions that the workers have not committed yet.

    Parameters
    ----------
    connection : Connection
        Where the broker is.
    group : str
        Group of the workers.
    """

    def __init__(self, connection: Connection, group: str = GROUP) -> None:
        self._consumer = Consumer(reader_settings(connection, lambda _error: None) | {"group.id": group}, logger=None)

    def __call__(self) -> int | None:
        """How many; None where the broker does not say, or does not let us ask."""
        try:
            known = self._consumer.list_topics(QUERY_RECEIVED.name, _TIMEOUT_S).topics[QUERY_RECEIVED.name]
            places = [TopicPartition(QUERY_RECEIVED.name, number) for number in known.partitions]
            committed = self._consumer.committed(places, timeout=_TIMEOUT_S)
            return sum(self._behind(place) for place in committed if place.offset >= 0)
        except (KafkaException, KeyError):
            return None

    def _behind(self, place: TopicPartition) -> int:
        _, end = self._consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S)
        return max(0, int(end) - int(place.offset))

    def close(self) -> None:
        """Leave the broker; nothing was joined."""
        self._consumer.close()
