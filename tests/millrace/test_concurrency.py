import asyncio

import pytest

from millrace.concurrency import map_at_once


async def test_at_most_so_many_are_under_way_and_results_keep_the_order() -> None:
    under_way = most = 0

    async def call(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(6 - item):  # later ones end first
            await asyncio.sleep(0)
        under_way -= 1
        return item * item

    assert await map_at_once(call, range(6), 3) == [0, 1, 4, 9, 16, 25]
    assert most == 3


async def test_the_first_error_is_raised_once_all_have_ended() -> None:
    ended = []

    async def call(item: int) -> None:
        for _ in range(item):
            await asyncio.sleep(0)
        ended.append(item)
        if item in {1, 2}:
            raise ValueError(item)

    with pytest.raises(ValueError, match="2"):
        await map_at_once(call, [4, 2, 1, 3], 4)
    assert sorted(ended) == [1, 2, 3, 4]


async def test_who_is_cancelled_leaves_no_call_behind() -> None:
    begun, ended = asyncio.Event(), []

    async def call(item: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    task = asyncio.create_task(map_at_once(call, [1, 2], 2))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [1, 2]
