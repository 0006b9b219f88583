"""What every interface of the gateway works with; `infra.gateway` makes it, tests make it with fakes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Request

from gateway.admission import Admission
from gateway.event_ids import Place
from gateway.health import Health
from gateway.identity import Identity, Scope
from gateway.library import Library
from gateway.metrics import Metrics
from gateway.reviewing import Quality, Reviews
from gateway.seals import Seals
from gateway.settings import GatewaySettings
from millrace.client import Answer, Asked, Millrace
from millrace.client.frames import Frame
from millrace.events.query import AnswerProduced, Receipt


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A question as an interface took it; tenant, user and groups come from the identity alone.

    `watermark` is one that an answer of this gateway carried, as `gateway.http.answers` seals it.
    """

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


class TakenUp(msgspec.Struct, frozen=True):
    """A stream that is taken up again has its place; nothing of it has come yet."""


class Asking(Protocol):
    """Questions with limits, load shedding and cancellation; the one way in for every interface."""

    def stream(self, identity: Identity, ask: Ask) -> AsyncGenerator[Frame, None]:
        """Frames of a question (`AnswerDelta`, then one terminal frame), each with where it stands in the reply topic.

        A delta with a higher ``attempt`` than those before starts the answer anew. Closing the iterator cancels the
        question. Raises `gateway.problems.Problem` where it is not let in, and where no reply came in time.
        """

    def follow(self, identity: Identity, ask: Ask) -> AsyncGenerator[Asked | Frame, None]:
        """`stream` with an `Asked` first, and again where a question that was given back is asked anew."""

    async def answer(self, identity: Identity, ask: Ask) -> Answer:
        """The whole answer, or `Problem`."""

    def place(self, identity: Identity, found: str) -> Place:
        """Where a stream stands whose last event had the id `found`; `Problem` with 404 for an id of anybody else."""

    def resume(self, identity: Identity, place: Place) -> AsyncGenerator[TakenUp | Frame, None]:
        """Frames behind a place that any replica gave out, from the log, with a `TakenUp` before them.

        Closing the iterator cancels the question. Raises `Problem` before the first item where there is no place for
        those who wait; the question is not cancelled then, and its stream can be taken up later.
        """

    async def recall(self, identity: Identity, correlation: str) -> AnswerProduced | None:
        """How an own question ended; None while it has not, and where it is not known."""


class Embedder(Protocol):
    """Turns texts into vectors: the model that the documents are embedded with."""

    @property
    def model(self) -> str:
        """Name, version and quantization."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of shape (n, dim), float32, L2-normalised."""


@dataclass(frozen=True)
class Service:
    """Parts of a running gateway.

    Attributes
    ----------
    millrace : Millrace
        Started client of the stack.
    identify : callable
        ``await identify(request, scope)`` gives the caller's identity, or raises `Problem` with 401, 403 or 429.
    asking : Asking
        How questions are asked.
    library : Library
        What may be looked at.
    admission : Admission
        What a caller may still ask for now.
    seals : Seals
        Makes tokens that callers keep: cursors, receipts, places in streams.
    health : Health
        Whether the gateway can work.
    metrics : Metrics
        What it counts.
    embedder : Embedder, optional
        Embeds texts for callers; without it there is no model for that.
    reviews, quality : Reviews, Quality, optional
        What reviewers look at; without them there is nothing to review.
    """

    millrace: Millrace
    identify: Callable[[Request, Scope], Awaitable[Identity]]
    asking: Asking
    library: Library
    admission: Admission
    seals: Seals
    health: Health
    metrics: Metrics
    embedder: Embedder | None = None
    reviews: Reviews | None = None
    quality: Quality | None = None


Routers = Callable[[Service, GatewaySettings], APIRouter]
"""A part of the interface: `create_app` includes what it returns."""
