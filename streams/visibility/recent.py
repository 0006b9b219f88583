"""The recent tail of one topic, held in memory: bounded by time and by bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from millrace.codec import Codec
from millrace.event import Event
from millrace.topics import Topic
from streams.visibility.topic_view import TopicView

E = TypeVar("E", bound=Event)
Question = tuple[str, str]
"""Tenant and correlation id: an asker chooses the latter, so it names a question within the tenant alone."""

KEEP_S: Final = 900.0


class RecentTail(TopicView, Generic[E]):
    """The first event of each question that a topic holds, as far back as questions can still be worked on.

    Parameters
    ----------
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    topic : Topic
        What is read, all partitions.
    kind : type
        Events that are kept; each has a ``correlation``.
    keep_s : float
        How far back: the longest deadline a question may have, with a margin for redelivery. Older than the newest
        record by more is forgotten, in whatever order partitions are read.
    max_bytes : int
        Most memory, counted as records; the oldest go first.
    codec : Codec, optional
        Knows the schema ids of this installation.
    now : callable
        Seconds since the epoch: where the recent tail begins.
    options
        See `TopicFolder`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        topic: Topic,
        kind: type[E],
        *,
        keep_s: float,
        max_bytes: int,
        codec: Codec | None,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self.keep_s = keep_s
        self._keep_ms = round(keep_s * 1000)
        since_ms = max(0, round(now() * 1000) - self._keep_ms)
        super().__init__(connection, topic, codec, since_ms=since_ms, **options)
        self._kind = kind
        self._max_bytes = max_bytes
        self._known: OrderedDict[Question, tuple[int, int, E]] = OrderedDict()
        self._n_bytes = 0
        self._newest_ms = 0

    def __len__(self) -> int:
        """How many events are known."""
        return len(self._known)

    def __contains__(self, question: Question) -> bool:
        """Whether there is an event of a question."""
        return question in self._known

    def first(self, question: Question) -> E | None:
        """First event of a question, if there is one."""
        found = self._known.get(question)
        return None if found is None else found[2]

    def noted(self, question: Question) -> None:
        """Called when the first event of a question was read; for subclasses."""

    def forgotten(self, question: Question, timestamp_ms: int, event: E) -> None:
        """Called when the event of a question was forgotten; for subclasses."""

    def question_of(self, event: E) -> Question:
        """Which question an event belongs to."""
        return (event.tenant, getattr(event, "correlation"))  # noqa: B009 - every kind has one, unless overridden

    def seen_at_ms(self, question: Question) -> int | None:
        """When the broker took the first event of a question, unix milliseconds; None where there is none."""
        found = self._known.get(question)
        return None if found is None else found[0]

    def keep(self, event: Event, timestamp_ms: int, n_bytes: int) -> None:
        """Take an event of the kind in, if it is recent and the first of its question."""
        if isinstance(event, self._kind):
            self._keep(event, timestamp_ms, n_bytes)

    def _keep(self, event: E, timestamp: int, size: int) -> None:
        question = self.question_of(event)
        self._newest_ms = max(self._newest_ms, timestamp)
        if question in self._known or timestamp < self._newest_ms - self._keep_ms:
            return
        self._known[question] = (timestamp, size, event)
        self._n_bytes += size
        self.noted(question)
        self._forget()

    def _forget(self) -> None:
        while self._known:
            question, (timestamp, size, event) = next(iter(self._known.items()))
            if timestamp >= self._newest_ms - self._keep_ms and self._n_bytes <= self._max_bytes:
                return
            del self._known[question]
            self._n_bytes -= size
            self.forgotten(question, timestamp, event)
