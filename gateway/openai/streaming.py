"""An answer as chunks: what was sent stays true, or the stream says that it is not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final, TypeVar

import msgspec

from gateway.openai.errors import error_of
from gateway.openai.growing import Growth, Overtaken
from gateway.openai.wire import Outcome, Reply
from gateway.problems import Problem, problem_of
from millrace.client import Asked
from millrace.client.answers import failure_of
from millrace.client.frames import Frame
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerRetracted

T = TypeVar("T")
_DONE: Final = b"data: [DONE]\n\n"
_ALIVE: Final = b": alive\n\n"
Items = AsyncGenerator[Asked | Frame, None]


class Told:
    """One reply on its way to a client.

    Parameters
    ----------
    reply : Reply
        Makes chunks.
    sealed : callable
        Watermark as the client may keep it.
    longest : int, optional
        Words that may be sent.
    with_usage : bool
        Whether a chunk at the end says what was used.
    """

    def __init__(self, reply: Reply, sealed: Any, *, longest: int | None, with_usage: bool) -> None:
        self._reply = reply
        self._sealed = sealed
        self._growth = Growth(longest)
        self._with_usage = with_usage
        self._conversation = ""
        self._correlation = ""

    def begin(self, asked: Asked) -> None:
        """A question is on the log; one that is asked anew has another name there."""
        self._conversation = asked.conversation
        self._correlation = self._correlation or asked.correlation

    def opening(self) -> dict[str, Any]:
        """First chunk."""
        return self._reply.opening(self._correlation)

    def chunks(self, frame: Frame) -> list[dict[str, Any]]:
        """Chunks of a frame; after those of a terminal one nothing comes."""
        try:
            if isinstance(frame, AnswerDelta):
                text = self._growth.piece(frame.attempt, frame.text)
                return [self._reply.piece(self._correlation, text)] if text else []
            if isinstance(frame, AnswerCompleted):
                return self._completed(frame)
        except Overtaken as error:
            return [self._reply.withdrawn(self._correlation), error_of(Problem(409, "overtaken", str(error)))]
        told = error_of(problem_of(failure_of(frame)))
        return [self._reply.withdrawn(self._correlation), told] if isinstance(frame, AnswerRetracted) else [told]

    def _completed(self, frame: AnswerCompleted) -> list[dict[str, Any]]:
        outcome = outcome_of(frame, self._correlation, self._conversation, self._sealed(frame.watermark))
        text = self._growth.rest(outcome.content)
        found = [self._reply.piece(self._correlation, text)] if text else []
        found.append(self._reply.closing(self._growth.sent, outcome, cut=self._growth.cut))
        if self._with_usage:
            found.append(self._reply.used(self._correlation, self._growth.sent))
        return found


def outcome_of(frame: AnswerCompleted, correlation: str, conversation: str, watermark: str) -> Outcome:
    """What is told of a stream's end."""
    return Outcome(
        text=frame.text,
        found=frame.found,
        correlation=correlation,
        citations=frame.citations,
        watermark=watermark,
        conversation=conversation,
        model=frame.model,
        cost_usd=frame.cost_usd,
    )


async def first_frame(items: Items, told: Told) -> Frame:
    """The frame that a reply begins with.

    Raises
    ------
    Problem
        There is no answer: the response can still say so by its status.
    """
    async for item in items:
        if isinstance(item, Asked):
            told.begin(item)
        elif isinstance(item, AnswerDelta | AnswerCompleted):
            return item
        else:
            raise problem_of(failure_of(item))
    raise Problem(503, "no_terminal", "the reply ended early; ask again", retry_after_s=1)


async def events(
    items: Items, first: Frame, told: Told, *, over: asyncio.Event, heartbeat_s: float
) -> AsyncIterator[bytes]:
    """Server-sent events of a reply; `items` is closed in the end, which gives up a question that goes on.

    Parameters
    ----------
    first : Frame
        What was taken from `items` already.
    over : asyncio.Event
        Set when streams have to end.
    heartbeat_s : float
        Time between signs of life, in seconds.
    """
    async with aclosing(items):
        try:
            yield _event(told.opening())
            frame: Asked | Frame | None = first
            async with aclosing(_paced(items, over, heartbeat_s)) as following:
                while True:
                    for chunk in told.chunks(frame) if frame is not None and not isinstance(frame, Asked) else ():
                        yield _event(chunk)
                    if frame is None:
                        yield _ALIVE
                    elif not isinstance(frame, Asked) and frame.terminal:
                        break
                    frame = await anext(following)
        except StopAsyncIteration:
            yield _event(error_of(Problem(503, "no_terminal", "the reply ended early; ask again")))
        except Exception as error:  # noqa: BLE001 - the head of the response is sent: the stream says what happened
            yield _event(error_of(problem_of(error)))
        yield _DONE


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


async def _paced(items: AsyncGenerator[T, None], over: asyncio.Event, every_s: float) -> AsyncGenerator[T | None, None]:
    """Items as they come, and None where none has come for a while; `Problem` when everything has to end."""
    ending: asyncio.Future[Any] = asyncio.ensure_future(over.wait())
    following: asyncio.Future[Any] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(items))
            await asyncio.wait({following, ending}, timeout=every_s, return_when=asyncio.FIRST_COMPLETED)
            if following.done():
                done, following = following, None
                try:
                    item = done.result()
                except StopAsyncIteration:
                    return
                yield item
            elif ending.done():
                raise Problem(503, "ending", "this replica ends; ask again", retry_after_s=1)
            else:
                yield None
    finally:
        ending.cancel()
        if following is not None:
            following.cancel()
            while not following.done():  # whoever is cancelled itself is so at each wait again
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({following})
