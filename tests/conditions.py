"""Wait for what no future announces: a condition is looked at until it holds, within a bound."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is watched has no event
            await asyncio.sleep(0.005)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float = 20.0) -> None:
    """The same for a condition that is itself asked for over the network."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """The same without an event loop."""
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, f"the condition does not hold after {timeout_s:g} s"
        time.sleep(0.01)
