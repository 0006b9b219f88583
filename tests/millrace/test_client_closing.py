"""Who is told to end while a client closes ends, though the client takes that for its own task's end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from aiokafka.client import AIOKafkaClient

from millrace.client.closing import closed


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
