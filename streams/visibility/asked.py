"""What was asked and answered lately, to be looked at: newest first, by tenant and by the document quoted.

Two bounded tails, of the questions and of their terminal records. Who may see what is not decided here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Any, Final

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.query import AnswerProduced, QueryReceived
from millrace.topics import ANSWER_PRODUCED, QUERY_RECEIVED
from streams.visibility.recent import Question, RecentTail

KEEP_S: Final = 30 * 86_400.0
"""As long as the topics themselves keep questions, in seconds."""
_MAX_BYTES: Final = 32 * 1024 * 1024
_Asker = tuple[str, str | None]
"""Tenant and user; None is everyone, so that looking at one's own takes no time for what others asked."""


class _ByTime:
    """Questions in order of time."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, Question]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, timestamp_ms: int, question: Question) -> None:
        insort(self._entries, (timestamp_ms, question))

    def discard(self, timestamp_ms: int, question: Question) -> None:
        at = bisect_left(self._entries, (timestamp_ms, question))
        if at < len(self._entries) and self._entries[at] == (timestamp_ms, question):
            del self._entries[at]

    def newest_first(self) -> Iterator[Question]:
        # A copy: whoever iterates may wait in between, and the log goes on.
        return (question for _, question in reversed(self._entries[:]))


class AnswersByDocument(RecentTail[AnswerProduced]):
    """The newest terminal records of ``query.answer.produced.v1``, found by tenant, document and trace.

    Parameters
    ----------
    keep_s : float
        How far back, in seconds.
    max_bytes : int
        Most memory, counted as records; the oldest go first.
    connection, codec, options
        See `RecentTail`.
    """

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        keep_s: float = KEEP_S,
        max_bytes: int = _MAX_BYTES,
        codec: Codec | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            connection, ANSWER_PRODUCED, AnswerProduced, keep_s=keep_s, max_bytes=max_bytes, codec=codec, **options
        )
        self._of_asker: dict[_Asker, _ByTime] = {}
        self._from_document: dict[tuple[str, str], _ByTime] = {}

    def newest(self, tenant: str, user: str | None = None) -> Iterator[AnswerProduced]:
        """Terminal records of the questions of a tenant, or of one of its users, newest first."""
        return self._events(self._of_asker.get((tenant, user)))

    def from_document(self, tenant: str, document: str) -> Iterator[AnswerProduced]:
        """Those that quote a document, newest first."""
        return self._events(self._from_document.get((tenant, document)))

    def noted(self, question: Question) -> None:
        """Put a record into its lists."""
        event, timestamp = self.first(question), self.seen_at_ms(question)
        if event is not None and timestamp is not None:
            for user in (None, event.user):
                self._of_asker.setdefault((event.tenant, user), _ByTime()).add(timestamp, question)
            for document in _quoted(event):
                self._from_document.setdefault((event.tenant, document), _ByTime()).add(timestamp, question)

    def forgotten(self, question: Question, timestamp_ms: int, event: AnswerProduced) -> None:
        """Take a record out of its lists."""
        for user in (None, event.user):
            _discard(self._of_asker, (event.tenant, user), timestamp_ms, question)
        for document in _quoted(event):
            _discard(self._from_document, (event.tenant, document), timestamp_ms, question)

    def _events(self, found: _ByTime | None) -> Iterator[AnswerProduced]:
        for question in found.newest_first() if found is not None else ():
            if (event := self.first(question)) is not None:
                yield event


class RecentQuestions(RecentTail[QueryReceived]):
    """The newest records of ``query.request.received.v1``, by correlation or trace id; see `AnswersByDocument`."""

    def __init__(
        self,
        connection: Mapping[str, Any],
        *,
        keep_s: float = KEEP_S,
        max_bytes: int = _MAX_BYTES,
        codec: Codec | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            connection, QUERY_RECEIVED, QueryReceived, keep_s=keep_s, max_bytes=max_bytes, codec=codec, **options
        )
        self._of_asker: dict[_Asker, _ByTime] = {}
        self._traces: dict[Question, Question] = {}

    def question_of(self, event: QueryReceived) -> Question:
        """Tenant and correlation id; the latter stands in its metadata."""
        return (event.tenant, event.meta.correlation_id)

    def newest(self, tenant: str, user: str | None = None) -> Iterator[QueryReceived]:
        """Questions of a tenant, or of one of its users, newest first."""
        found = self._of_asker.get((tenant, user))
        for question in found.newest_first() if found is not None else ():
            if (event := self.first(question)) is not None:
                yield event

    def find(self, tenant: str, name: str) -> QueryReceived | None:
        """Question of a tenant by correlation or trace id."""
        return self.first((tenant, name)) or self.first(self._traces.get((tenant, name), ("", "")))

    def noted(self, question: Question) -> None:
        """Know a question by its trace id too."""
        event, timestamp = self.first(question), self.seen_at_ms(question)
        if event is not None and timestamp is not None:
            for user in (None, event.user):
                self._of_asker.setdefault((event.tenant, user), _ByTime()).add(timestamp, question)
            if trace := trace_id(event):
                self._traces.setdefault((event.tenant, trace), question)

    def forgotten(self, question: Question, timestamp_ms: int, event: QueryReceived) -> None:
        """Forget its trace id as well."""
        for user in (None, event.user):
            _discard(self._of_asker, (event.tenant, user), timestamp_ms, question)
        if self._traces.get(trace := (event.tenant, trace_id(event))) == question:
            del self._traces[trace]


def trace_id(event: Event) -> str:
    """Trace id of an event's metadata; empty where it has none."""
    parts = event.meta.traceparent.split("-") if event.has_meta else []
    return parts[1] if len(parts) == 4 else ""


def _quoted(event: AnswerProduced) -> set[str]:
    return {citation.document for citation in event.citations}


def _discard(lists: dict[Any, _ByTime], name: Any, timestamp_ms: int, question: Question) -> None:
    if (found := lists.get(name)) is not None:
        found.discard(timestamp_ms, question)
        if not len(found):
            del lists[name]
