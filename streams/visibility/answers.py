"""Recent terminal records of questions, so that a redelivered question is not answered twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from millrace.codec import Codec
from millrace.events.query import AnswerProduced
from millrace.topics import ANSWER_PRODUCED
from streams.visibility.recent import KEEP_S, RecentTail

_MAX_BYTES: Final = 64 * 1024 * 1024


class RecentAnswers(RecentTail[AnswerProduced]):
    """The recent tail of ``query.answer.produced.v1``: the `Answers` port. See `RecentTail` for the parameters."""

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

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """First terminal record of a tenant's question, if it has one."""
        return self.first((tenant, correlation))
