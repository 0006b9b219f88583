"""What every interface of the gateway works with; `infra.gateway` makes it, tests make it with fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
from fastapi import Request

from gateway.identity import Identity, Scope
from gateway.library import Library
from millrace.client import Millrace
from millrace.events.query import Receipt


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question as an interface took it; tenant, user and groups come from the identity alone."""

    question: str
    conversation: str = ""
    mode: Literal["answer", "search"] = "answer"
    top_k: int = 10
    labels: Mapping[str, str] = {}
    after: Sequence[Receipt] = ()
    watermark: str = ""
    explain: bool = False
    exact: bool = False
    timeout_s: float = 30.0


class Asking(Protocol):
    """Questions with limits, load shedding and cancellation; the one way in for every interface."""

    def stream(self, identity: Identity, ask: Ask) -> AsyncIterator[Any]:
        """Frames of a question (`AnswerDelta`, then one terminal frame), each with where it stands in the reply topic.

        Closing the iterator cancels the question. Raises `gateway.problems.Problem` where it is not let in.
        """

    async def answer(self, identity: Identity, ask: Ask) -> Any:
        """`millrace.client.answers.Answer`, or `Problem`."""


@dataclass(frozen=True)
class Service:
    """Parts of a running gateway.

    Attributes
    ----------
    millrace : Millrace
        Started client of the stack.
    identify : callable
        ``await identify(request, scope)`` gives the caller's identity, or raises `Problem` with 401 or 403.
    asking : Asking
        How questions are asked.
    library : Library
        What may be looked at.
    """

    millrace: Millrace
    identify: Callable[[Request, Scope], Awaitable[Identity]]
    asking: Asking
    library: Library
