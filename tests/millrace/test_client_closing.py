"""Who is told to end while a client closes ends, though the client takes that for its own task's end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient

from millrace.client.closing import close_consumer, close_producer, closed


async def told_while_it_closes(*, guarded: bool) -> asyncio.Task[object]:
    """A task that was cancelled while it waited for aiokafka's client to close."""
    client, goes_on = AIOKafkaClient(bootstrap_servers="127.0.0.1:1"), asyncio.Event()

    async def slow_to_end() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await goes_on.wait()

    client._sync_task = asyncio.create_task(slow_to_end())
    await asyncio.sleep(0)
    task: asyncio.Task[object] = asyncio.create_task(closed(client.close()) if guarded else client.close())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    goes_on.set()
    await asyncio.wait({task})
    return task


async def test_a_cancellation_is_not_lost_while_a_client_closes() -> None:
    assert (await told_while_it_closes(guarded=True)).cancelled()


async def test_the_client_alone_loses_it() -> None:
    """Control."""
    assert not (await told_while_it_closes(guarded=False)).cancelled()


async def test_what_was_cancelled_before_closes_in_order() -> None:
    left: list[str] = []

    async def end() -> None:
        left.append("closed")

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await closed(end())
            await closed(end())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left == ["closed", "closed"]


class Closing:
    """A client whose `close` takes the cancellation of its caller for that of a task of its own, as aiokafka's does."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def close(self) -> None:
        self.began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> None:
    return


def _consumer(client: Closing) -> Awaitable[None]:
    return close_consumer(SimpleNamespace(stop=client.close))


def _consumer_that_stopped_half(client: Closing) -> Awaitable[None]:
    fetcher = SimpleNamespace(_pending_tasks=[])
    return close_consumer(SimpleNamespace(stop=cancels_itself, _fetcher=fetcher, _client=client))


def _producer(client: Closing) -> Awaitable[None]:
    return close_producer(SimpleNamespace(stop=client.close), 60.0)


def _producer_that_gives_up(client: Closing) -> Awaitable[None]:
    batches, sender = SimpleNamespace(fail_all=lambda error: None), SimpleNamespace(close=at_once)
    producer = SimpleNamespace(stop=never, _sender=sender, _message_accumulator=batches, client=client)
    return close_producer(producer, 0.01)


@pytest.mark.parametrize("close", [_consumer, _consumer_that_stopped_half, _producer, _producer_that_gives_up])
async def test_whoever_closes_a_consumer_or_a_producer_ends_when_told_to(close: Callable[[Closing], Any]) -> None:
    client = Closing()
    closing = asyncio.ensure_future(close(client))
    await asyncio.wait_for(client.began.wait(), 20)
    closing.cancel()
    await asyncio.wait({closing})
    assert closing.cancelled()
