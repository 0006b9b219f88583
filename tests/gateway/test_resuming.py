"""Laws about readers of replies: streams that come back together share one, and none joins a reader that ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from gateway.event_ids import Place
from gateway.resuming import LogReplies
from millrace.client.frames import Frame
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.contract import codec_of
from millrace.errors import LogTruncated
from millrace.event import Meta
from millrace.events.query import AnswerCompleted
from millrace.topics import REPLY
from tests.conditions import until
from tests.gateway.conftest import Gateways, identity
from tests.gateway.serving import asking, serving
from tests.tcp_proxy import TcpProxy


async def places_of_answers(gateways: Gateways, n: int) -> list[Place]:
    """Places before the first frames of questions that have been answered one after the other."""
    found = []
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering():
            for _ in range(n):
                async with asking(client, gateways.bearer()) as stream:
                    events = [event async for event in stream if event.name != ":"]
                found.append(replica.service.asking.place(identity(gateways.tenant), events[0].id))
    return found


async def place_of_an_answer(gateways: Gateways) -> Place:
    """Place before the first frame of a question that has been answered."""
    [place] = await places_of_answers(gateways, 1)
    return place


def replies_of(connection: Connection) -> LogReplies:
    return LogReplies(connection, codec_of(connection), 20.0)


def readers() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "millrace-gateway-resume"]


async def test_a_stream_that_comes_as_the_last_one_leaves_has_a_reader_of_its_own(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    replies = replies_of(gateways.connection)

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
    replies = replies_of(gateways.connection)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(answered(replies.rest(gateways.tenant, place)) for _ in range(3)))
    assert [type(frame) for frame in found] == [AnswerCompleted] * 3


async def test_streams_that_share_a_reader_are_read_from_the_earliest_on(gateways: Gateways) -> None:
    earlier, later = await places_of_answers(gateways, 2)
    assert (earlier.partition, earlier.offset < later.offset) == (later.partition, True)
    replies = replies_of(gateways.connection)
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(answered(replies.rest(gateways.tenant, each)) for each in (later, earlier)))
    assert [frame.correlation for frame in found] == [later.correlation, earlier.correlation]


async def test_the_last_stream_ends_its_reader(gateways: Gateways) -> None:
    replies = replies_of(gateways.connection)
    place = await place_of_an_answer(gateways)
    async with asyncio.timeout(20):
        await answered(replies.rest(gateways.tenant, place))
        left = replies.rest(gateways.tenant, msgspec.structs.replace(place, correlation="nobody's"))
        waiting = asyncio.create_task(anext(left))  # for a frame that never comes
        await until(lambda: bool(readers()))
        waiting.cancel()
        await until(lambda: not readers())


async def test_who_asks_for_frames_that_the_log_does_not_have_is_told(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    gone = msgspec.structs.replace(place, offset=place.offset + 1_000_000)
    async with asyncio.timeout(20):
        with pytest.raises(LogTruncated, match="ask again"):
            await answered(replies_of(gateways.connection).rest(gateways.tenant, gone))


async def test_a_broker_that_is_away_is_asked_again(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    with TcpProxy(int(gateways.connection.bootstrap.rpartition(":")[2])) as proxy:
        proxy.refuse()
        replies = replies_of(msgspec.structs.replace(gateways.connection, bootstrap=f"127.0.0.1:{proxy.port}"))
        async with asyncio.timeout(20):
            coming = asyncio.create_task(answered(replies.rest(gateways.tenant, place)))
            await until(lambda: proxy.n_connections > 0)
            proxy.refuse(refusing=False)
            assert isinstance(await coming, AnswerCompleted)


async def test_a_record_that_is_no_frame_is_passed_over(gateways: Gateways) -> None:
    place = await place_of_an_answer(gateways)
    producer = AIOKafkaProducer(bootstrap_servers=gateways.connection.bootstrap)
    await producer.start()
    try:
        headers = [("ce_correlationid", place.correlation.encode())]
        sent = await producer.send_and_wait(REPLY.name, b"no frame", partition=place.partition, headers=headers)
        frame = AnswerCompleted(tenant=gateways.tenant, correlation=place.correlation, text="Six.")
        meta = Meta(
            id="frame", type=frame.type_name(), source="test", time_us=1, tenant=frame.tenant,
            correlation_id=frame.correlation,
        )  # fmt: skip
        record = Codec().record(REPLY, frame.with_meta(meta))
        await producer.send_and_wait(
            record.topic, record.value, key=record.key, partition=place.partition, headers=list(record.headers)
        )
    finally:
        await producer.stop()
    behind = msgspec.structs.replace(place, offset=sent.offset)
    async with asyncio.timeout(20):
        found = await answered(replies_of(gateways.connection).rest(gateways.tenant, behind))
    assert isinstance(found, AnswerCompleted)
    assert found.text == "Six."


async def answered(frames: AsyncGenerator[Frame, None]) -> Frame:
    """The last frame."""
    return [frame async for frame in frames][-1]
