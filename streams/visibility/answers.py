"""Recent terminal records of questions, so that a redelivered question is not answered twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace.codec import Codec
from millrace.event import Event
from millrace.events.query import AnswerProduced
from millrace.topics import ANSWER_PRODUCED
from streams.visibility.recent import KEEP_S, Question, RecentTail

_MAX_BYTES: Final = 64 * 1024 * 1024
# What other workers wrote matters where a partition is taken over, and then its end is waited for.
_FETCH_MIN_BYTES: Final = 64 * 1024


class RecentAnswers(RecentTail[AnswerProduced]):
    """The recent tail of ``query.answer.produced.v1``: the `Answers` port. See `RecentTail` for the parameters.

    Records of this process are known as soon as they are acknowledged, if it notes them; the tail is read in larger
    pieces and comes after.
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
            connection,
            ANSWER_PRODUCED,
            AnswerProduced,
            keep_s=keep_s,
            max_bytes=max_bytes,
            codec=codec,
            fetch_min_bytes=_FETCH_MIN_BYTES,
            **options,
        )
        self._unread: dict[Question, AnswerProduced] = {}

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """First terminal record of a tenant's question, if it has one."""
        question = (tenant, correlation)
        return self.first(question) or self._unread.get(question)

    def note(self, event: Event) -> None:
        """Know a terminal record that is acknowledged before it is read; what is read first is the truth then."""
        if isinstance(event, AnswerProduced) and (event.tenant, event.correlation) not in self:
            self._unread[event.tenant, event.correlation] = event

    def _keep(self, event: AnswerProduced, timestamp: int, size: int) -> None:
        super()._keep(event, timestamp, size)
        self._unread.pop((event.tenant, event.correlation), None)
