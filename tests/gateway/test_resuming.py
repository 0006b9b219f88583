"""Laws about readers of replies: streams that come back together share one, and none joins a reader that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from gateway.event_ids import Place
from gateway.resuming import LogReplies
from millrace.client.frames import Frame
from millrace.contract import codec_of
from millrace.events.query import AnswerCompleted
from tests.gateway.conftest import Gateways, identity
from tests.gateway.serving import asking, serving


async def place_of_an_answer(gateways: Gateways) -> Place:
    """Place before the first frame of a question that has been answered."""
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering():
            async with asking(client, gateways.bearer()) as stream:
                events = [event async for event in stream if event.name != ":"]
        return replica.service.asking.place(identity(gateways.tenant), events[0].id)


async def test_a_stream_that_comes_as_the_last_one_leaves_has_a_reader_of_its_own(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    replies = LogReplies(gateways.connection, codec_of(gateways.connection), 20.0)

    async def leaves_and_comes_back() -> Frame:
        first = replies.rest(gateways.tenant, place)
        try:
            return await anext(first)
        except asyncio.CancelledError:  # the reader has been told to end and has not yet run
            return await answered(replies.rest(gateways.tenant, place))

    coming = asyncio.create_task(leaves_and_comes_back())
    begun = asyncio.Event()
    asyncio.get_running_loop().call_soon(begun.set)
    await begun.wait()
    coming.cancel()
    async with asyncio.timeout(20):
        assert isinstance(await coming, AnswerCompleted)


async def test_streams_that_come_while_one_gathers_all_get_the_rest(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    replies = LogReplies(gateways.connection, codec_of(gateways.connection), 20.0)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(answered(replies.rest(gateways.tenant, place)) for _ in range(3)))
    assert [type(frame) for frame in found] == [AnswerCompleted] * 3


async def answered(frames: AsyncGenerator[Frame, None]) -> Frame:
    """The last frame."""
    return [frame async for frame in frames][-1]
