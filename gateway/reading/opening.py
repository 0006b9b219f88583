"""Open the library of a running gateway: the table and the tails it reads from, started together and ended together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.reading.log_library import Get, LogLibrary
from gateway.reading.log_quality import LogQuality
from gateway.reading.log_reviews import LogReviews
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.lineage import QuestionTrace, question_trace
from millrace.positions import Since, Until
from streams.maintenance import Maintenance
from streams.visibility.asked import AnswersByDocument, RecentQuestions
from streams.visibility.outcomes_of_answers import OutcomeLog
from streams.visibility.reviews import ReviewLog
from streams.visibility.tail import Tail

_MARGIN_MS: Final = 60_000
"""Records of a question are looked for this much before it and after its end: clocks differ, and verdicts come late."""
_SECOND_US: Final = 1_000_000


class _Service(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@asynccontextmanager
async def open_library(
    connection: Connection,
    *,
    table: Path,
    get: Get,
    codec: Codec,
    retention_s: float = 7 * 86_400.0,
    maintenance_interval_s: float = 60.0,
) -> AsyncIterator[LogLibrary]:
    """Start reading; everything is closed again at the end.

    Parameters
    ----------
    connection : Connection
        Where the broker is, and which life of the log it holds.
    table : Path
        File of the visibility table, one for each process.
    get : callable
        Reads parsed texts: `ContentStore.get`.
    codec : Codec
        Knows the schema ids of this installation.
    retention_s : float
        How long superseded versions can be looked at, in seconds; as for the workers.
    maintenance_interval_s : float
        How often the table forgets those that passed it, in seconds.

    Raises
    ------
    LogTruncated, ConfigurationError, Unavailable
        See `TopicFolder.start`.
    """
    client = connection.aiokafka()
    options: dict[str, Any] = {"codec": codec, "fetch_max_wait_ms": connection.fetch_max_wait_ms}
    tail = Tail(table, client, log_epoch=connection.log_epoch, **options)
    answers, questions = AnswersByDocument(client, **options), RecentQuestions(client, **options)
    forget = Maintenance(
        tail, None, codec, retention_us=round(retention_s * _SECOND_US), interval_s=maintenance_interval_s
    )
    async with AsyncExitStack() as services:
        reviews, outcomes = ReviewLog(client, **options), OutcomeLog(client, **options)
        parts: tuple[_Service, ...] = (tail, answers, questions, reviews, outcomes, forget)
        for part in parts:
            services.push_async_callback(part.stop)
            await part.start()
        yield LogLibrary(
            tail,
            get,
            answers,
            questions,
            partial(_follow, connection),
            reviews=LogReviews(reviews, tail, answers, questions, get),
            quality=LogQuality(outcomes),
        )


def _follow(connection: Connection, correlation: str, asked_ms: int, answered_ms: int) -> QuestionTrace:
    return question_trace(
        connection,
        correlation,
        start=Since(max(0, asked_ms - _MARGIN_MS)),
        stop=Until(answered_ms + _MARGIN_MS) if answered_ms else "now",
        sources=False,
    )
