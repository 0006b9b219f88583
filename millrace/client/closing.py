"""Close aiokafka's clients even when the broker is gone, within bounds and without leaving tasks behind."""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any

from aiokafka.errors import KafkaConnectionError


async def closed(closing: Awaitable[object]) -> None:
    """Await the end of a client of aiokafka, and lose no cancellation in it.

    `AIOKafkaClient.close` of 0.14 awaits a task that it has cancelled, and takes the cancellation of whoever calls it
    for that of the task: a caller that is told to end just then would go on.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    await closing
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError


async def close_consumer(consumer: Any) -> None:
    """Stop a consumer.

    aiokafka 0.14 lets the cancellation of its own fetch escape from `stop` when that fetch waits to try again; a
    cancellation that is meant for the caller is told apart and goes on.
    """
    try:
        await closed(consumer.stop())
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # The steps that `stop` did not come to.
        left = list(consumer._fetcher._pending_tasks)  # noqa: SLF001 - there is no public way
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await closed(consumer._client.close())  # noqa: SLF001 - the same


async def close_producer(producer: Any, timeout_s: float) -> None:
    """Send what is queued, for at most `timeout_s` seconds, and stop.

    An idempotent producer of aiokafka 0.14 tries for ever, and so does its `stop`; what is queued then is given up.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await closed(producer.stop())
            return
    except TimeoutError:
        pass
    # First the sender, so that it puts back what it could not send; then everything that is left is given up.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await producer._sender.close()  # noqa: SLF001 - there is no public way to give up
    gone = KafkaConnectionError("the client was closed before the broker acknowledged")
    producer._message_accumulator.fail_all(gone)  # noqa: SLF001 - the same
    await closed(producer.client.close())
