"""Tell conversations that time has passed: publishes SessionDue for those that went quiet.

Time enters the log here and nowhere else for what is concluded from sessions: agents act on the time that the event
carries. What was closed is read from the log too, so that a session that was open when a worker ended is closed by the
next one, and what one worker has said no other one repeats.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aiokafka import ConsumerRecord

from millrace.codec import Codec
from millrace.errors import ContractError, MillraceError
from millrace.event import Event, Origin
from millrace.events.feedback import FeedbackGiven
from millrace.topics import (
    ANSWER_PRODUCED,
    FEEDBACK_GIVEN,
    INTERACTION_OBSERVED,
    QUERY_RECEIVED,
    SESSION_DUE,
    Topic,
)
from streams.producer import Producer, acknowledged
from streams.quiet import MAX_OPEN, QuietConversations
from streams.visibility.topic_folder import Offsets, TopicFolder, met

log = logging.getLogger(__name__)

FOLLOWED: Final[Mapping[str, Topic]] = {
    topic.name: topic for topic in (QUERY_RECEIVED, ANSWER_PRODUCED, INTERACTION_OBSERVED, FEEDBACK_GIVEN, SESSION_DUE)
}
KEEP_S: Final = 86_400.0
"""As long as what was said to be over is kept; so far back a start looks for sessions that nobody closed."""
_LOOKS: Final = 20
_MOST_S: Final = 15.0
_LEAST_S: Final = 0.1


class SessionCloser:
    """Follows conversations and says of each when it has been quiet for long enough.

    Several workers may say the same: the id is made of the conversation and the time, so it counts once.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    producer : Producer
        Started.
    gap_s, lateness_s : float
        How long a conversation is quiet before its session is over, and how much later its events may arrive.
    codec : Codec, optional
        Knows the schema ids of this installation.
    wall_us : callable
        Wall clock, microseconds since the epoch.
    options
        See `TopicFolder`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        producer: Producer,
        codec: Codec | None = None,
        *,
        gap_s: float,
        lateness_s: float,
        wall_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        **options: Any,
    ) -> None:
        self._codec = codec or Codec()
        self._producer = producer
        self._wall_us = wall_us
        self._interval_s = min(_MOST_S, max(_LEAST_S, (gap_s + lateness_s) / _LOOKS))
        since_ms = max(0, wall_us() // 1000 - round((KEEP_S + gap_s + lateness_s) * 1000))
        self._folder = TopicFolder(connection, FOLLOWED, _from_the_beginning, self._take, since_ms=since_ms, **options)
        self._quiet = QuietConversations(round(gap_s * 1e6), round(lateness_s * 1e6))
        self._n_told = 0
        self._looking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Follow the log, and look now and at each interval; see `TopicFolder.start` for what it raises."""
        await self._folder.start()
        self._task = asyncio.create_task(self._run(), name="session-closer")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._folder.stop()

    @property
    def failure(self) -> MillraceError | None:
        """Why reading ended, if it did."""
        return self._folder.failure

    def ready(self) -> bool:
        """Whether what was there at the start has been read."""
        return self._folder.ready()

    async def look(self) -> int:
        """Publish what is due by what the log holds now; gives the number of sessions.

        Raises
        ------
        MillraceError
            If the broker does not take what is due, or reading has ended.
        """
        async with self._looking:
            now_us = self._wall_us()
            await self._folder.caught_up()
            found = list(self._quiet.due(now_us))
            await acknowledged([await self._producer.send(self._codec.record(SESSION_DUE, due)) for due in found])
            for due in found:
                self._quiet.note(due, now_us)
            self._tell_forgotten()
            return len(found)

    def _tell_forgotten(self) -> None:
        forgotten, self._n_told = self._quiet.n_forgotten - self._n_told, self._quiet.n_forgotten
        if forgotten:
            log.warning(
                "%d conversations are not followed any more, for more than %d are open at a time; nothing is concluded "
                "from what was done in them, unless they go on. A smaller learn.session_gap_s closes them sooner",
                forgotten,
                MAX_OPEN,
            )

    async def _run(self) -> None:
        while True:
            try:
                if found := await self.look():
                    log.info("%d sessions are over", found)
            except Exception as error:  # noqa: BLE001 - a broker that is away: the next look may succeed
                log.warning("closing sessions waits for the next look: %s: %s", type(error).__name__, error)
            await asyncio.sleep(self._interval_s)

    async def _take(self, records: Sequence[ConsumerRecord[bytes, bytes]], _: Offsets) -> None:
        await met(self._codec, records)
        for record in records:
            event = self._read(record)
            if event is not None and not (isinstance(event, FeedbackGiven) and event.implicit):
                self._quiet.note(event, record.timestamp * 1000)

    def _read(self, record: ConsumerRecord[bytes, bytes]) -> Event | None:
        origin = Origin(record.topic, record.partition, record.offset)
        try:
            return self._codec.read(FOLLOWED[record.topic], record.key, record.value, record.headers, origin)
        except ContractError as error:  # whoever handles it puts it with the dead letters
            log.warning("record %s is passed over: %s", origin, error)
            return None


def _from_the_beginning(beginnings: Offsets, _: Offsets) -> Offsets:
    return beginnings
