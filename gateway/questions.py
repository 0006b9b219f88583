"""Questions of all interfaces: let in, asked, followed, taken up again, given up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, aclosing
from typing import Any, Final, Protocol

from gateway.admission import Admission
from gateway.event_ids import Place, place_of
from gateway.health import Health
from gateway.identity import Identity
from gateway.metrics import Metrics
from gateway.problems import Problem, invalid, missing, problem_of
from gateway.resuming import Replies
from gateway.seals import Seals
from gateway.service import Ask, TakenUp
from gateway.settings import GatewaySettings
from millrace.client import Answer, Asked, Millrace
from millrace.client.answers import answer_of, failure_of
from millrace.client.frames import Frame
from millrace.errors import LogTruncated, MillraceError, RequestFailed
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerFailed, AnswerProduced, AnswerRetracted

_LATE_S: Final = 0.5
_LEAST_S: Final = 2.0
WATERMARK: Final = "watermark"


class Answers(Protocol):
    """Recent ends of questions, as the log has them."""

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        """First terminal record of a tenant's question."""


class Questions:
    """The way in for questions; implements `gateway.service.Asking`.

    Parameters
    ----------
    millrace : Millrace
        Client of the stack.
    admission : Admission
        Who is let in.
    seals : Seals
        For the ids of events and for watermarks.
    replies : Replies
        Reads replies again.
    answers : Answers
        Knows how recent questions ended.
    health, metrics
        Learn how questions end.
    now : callable
        Unix time in seconds.
    """

    def __init__(
        self,
        millrace: Millrace,
        settings: GatewaySettings,
        *,
        admission: Admission,
        seals: Seals,
        replies: Replies,
        answers: Answers,
        health: Health,
        metrics: Metrics,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._millrace = millrace
        self._settings = settings
        self._admission = admission
        self._seals = seals
        self._replies = replies
        self._answers = answers
        self._health = health
        self._metrics = metrics
        self._now = now

    async def stream(self, identity: Identity, ask: Ask) -> AsyncGenerator[Frame, None]:
        """Frames of a question; see `gateway.service.Asking`."""
        async with aclosing(self.follow(identity, ask)) as items:
            async for item in items:
                if not isinstance(item, Asked):
                    yield item

    async def follow(self, identity: Identity, ask: Ask) -> AsyncGenerator[Asked | Frame, None]:
        """Frames of a question, with an `Asked` before them; see `gateway.service.Asking`."""
        options = self._options(identity, ask)
        outcome = "abandoned"
        correlation = ""
        with ExitStack() as held:
            held.enter_context(self._admission.question(identity, ask.question))
            held.enter_context(self._health.open())
            heard = held.enter_context(self._health.waiting(parked=bool(ask.after)))
            asked_at = asyncio.get_running_loop().time()
            try:
                async with aclosing(self._millrace.follow(ask.question, **options)) as items:
                    async for item in items:
                        if isinstance(item, Asked):
                            correlation = item.correlation
                        else:
                            heard()
                            self._note_frame(item, asked_at)
                            outcome = _outcome(item)
                            asked_at = 0.0
                        if isinstance(item, AnswerCompleted):
                            self._admission.answered(identity, item.text)
                        yield item
            except (MillraceError, TimeoutError) as error:
                outcome = "failed"
                if isinstance(error, RequestFailed) and error.reason == "deadline_exceeded":
                    raise self._timed_out(correlation, options["timeout_s"]) from error
                raise problem_of(error) from error
            finally:
                self._metrics.questions.labels(outcome if not self._health.over.is_set() else "left").inc()

    async def answer(self, identity: Identity, ask: Ask) -> Answer:
        """The whole answer; see `gateway.service.Asking`."""
        started = asyncio.get_running_loop().time()
        conversation = ""
        async with aclosing(self.follow(identity, ask)) as items:
            async for item in items:
                if isinstance(item, Asked):
                    conversation = item.conversation
                elif isinstance(item, AnswerCompleted):
                    latency_ms = (asyncio.get_running_loop().time() - started) * 1000
                    return answer_of(item, trace_id=item.correlation, conversation=conversation, latency_ms=latency_ms)
                elif isinstance(item, AnswerFailed | AnswerRetracted):
                    raise problem_of(failure_of(item))
        raise Problem(503, "no_terminal", "the reply ended early; ask again", retry_after_s=1)

    def place(self, identity: Identity, found: str) -> Place:
        """Where a stream stands; see `gateway.service.Asking`."""
        place = place_of(self._seals, identity, found)
        if place is None or self._now() * 1000 > place.deadline_ms + self._settings.resume_s * 1000:
            raise missing("stream")
        return place

    async def resume(self, identity: Identity, place: Place) -> AsyncGenerator[TakenUp | Frame, None]:
        """What comes behind a place; see `gateway.service.Asking`."""
        if place.ended:
            return
        left_s = max(_LEAST_S, place.deadline_ms / 1000 - self._now() + _LATE_S)
        ended = False
        with ExitStack() as held:
            held.enter_context(self._admission.place(identity))
            held.enter_context(self._health.open())
            expires_at = asyncio.get_running_loop().time() + left_s
            try:
                yield TakenUp()
                async with aclosing(self._replies.rest(identity.tenant, place)) as frames:
                    while True:
                        async with asyncio.timeout_at(expires_at):
                            frame = await anext(frames, None)
                        if frame is None:
                            return
                        ended = frame.terminal
                        yield frame
            except LogTruncated as error:
                ended = True
                raise missing("stream") from error
            except TimeoutError as error:
                ended = True
                raise self._timed_out(place.correlation, left_s) from error
            except MillraceError as error:
                raise problem_of(error) from error
            finally:
                if not ended and not self._health.over.is_set():
                    self._millrace.cancel(place.asked, tenant=identity.tenant)

    async def recall(self, identity: Identity, correlation: str) -> AnswerProduced | None:
        """How an own question ended; see `gateway.service.Asking`."""
        found = self._answers.find(identity.tenant, correlation)
        return found if found is not None and found.user == identity.user else None

    def _options(self, identity: Identity, ask: Ask) -> dict[str, Any]:
        watermark = ""
        if ask.watermark:
            raw = self._seals.open(WATERMARK, identity, ask.watermark)
            if raw is None:
                raise invalid([{"loc": ("watermark",), "msg": "is none that this gateway gave you"}])
            watermark = raw.decode()
        if any(receipt.tenant != identity.tenant for receipt in ask.after):
            raise invalid([{"loc": ("after",), "msg": "is no receipt that this gateway gave you"}])
        timeout_s = min(ask.timeout_s, self._settings.limits.question_timeout_s)
        return {
            "tenant": identity.tenant,
            "user": identity.user,
            "groups": identity.groups,
            "after": tuple(ask.after),
            "conversation": ask.conversation,
            "watermark": watermark,
            "labels": ask.labels,
            "top_k": ask.top_k,
            "exact": ask.exact,
            "explain": ask.explain,
            "timeout_s": timeout_s,
            "mode": ask.mode,
        }

    def _note_frame(self, frame: Frame, asked_at: float) -> None:
        if asked_at and isinstance(frame, AnswerDelta | AnswerCompleted):
            self._metrics.first_frame_seconds.observe(asyncio.get_running_loop().time() - asked_at)

    @staticmethod
    def _timed_out(correlation: str, timeout_s: float) -> Problem:
        return Problem(
            503,
            "deadline_exceeded",
            f"no answer within {timeout_s:g} s; ask again, or allow more time",
            retry_after_s=1,
            more={"question": correlation} if correlation else None,
        )


def _outcome(frame: Frame) -> str:
    if isinstance(frame, AnswerDelta):
        return "abandoned"
    if isinstance(frame, AnswerCompleted):
        return "completed"
    return "retracted" if isinstance(frame, AnswerRetracted) else "failed"
