"""Laws about coroutines that are begun in place: nothing they can see tells them from a task of their own."""

import asyncio
from collections.abc import Awaitable, Generator
from contextvars import ContextVar
from typing import Any

import pytest

from millrace.stepping import Suspended, first_step

WHO: ContextVar[str] = ContextVar("who", default="nobody")


async def finished(awaitable: Awaitable[Any]) -> Any:
    begun = first_step(awaitable)
    return await begun if isinstance(begun, Suspended) else begun


async def test_a_coroutine_that_never_waits_ends_with_its_first_step() -> None:
    async def inner() -> int:
        return 2

    async def never_waits() -> int:
        return 1 + await inner()

    assert first_step(never_waits()) == 3


async def test_what_is_awaited_goes_on_where_it_waited_and_gets_what_it_waited_for() -> None:
    answers: list[asyncio.Future[int]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def adds() -> int:
        return await answers[0] + await answers[1]

    begun = first_step(adds())
    assert isinstance(begun, Suspended)
    for i, answer in enumerate(answers):
        asyncio.get_running_loop().call_soon(answer.set_result, 10 + i)
    assert await begun == 21


async def test_an_awaitable_that_is_no_coroutine_is_begun_as_well() -> None:
    class Later:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "now"

    assert await finished(Later()) == "now"
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    answer.set_result("there")
    assert first_step(answer) == "there"


async def test_an_error_leaves_from_the_first_step_or_from_a_later_one() -> None:
    async def fails(waits: bool) -> None:
        if waits:
            await asyncio.sleep(0)
        raise KeyError("k")

    with pytest.raises(KeyError):
        first_step(fails(False))
    begun = first_step(fails(True))
    assert isinstance(begun, Suspended)
    with pytest.raises(KeyError):
        await begun


async def test_an_error_of_what_is_awaited_is_the_coroutines_to_handle() -> None:
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def mends() -> str:
        try:
            await answer
        except ConnectionError:
            await asyncio.sleep(0)
            return "mended"
        return "well"

    begun = first_step(mends())
    answer.set_exception(ConnectionError())
    assert isinstance(begun, Suspended)
    assert await begun == "mended"


async def test_a_timeout_entered_in_the_first_step_ends_the_coroutine_and_only_it() -> None:
    async def impatient() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "waited"

    task = asyncio.create_task(finished(impatient()))
    assert await task == "timed out"
    assert task.cancelling() == 0


@pytest.mark.parametrize(("inner_s", "outer_s", "which"), [(0.01, 30, "inner"), (30, 0.01, "outer"), (0, 0, "outer")])
async def test_a_limit_set_around_what_waits_is_told_from_one_set_inside(
    inner_s: float, outer_s: float, which: str
) -> None:
    async def impatient() -> None:
        try:
            async with asyncio.timeout(inner_s):
                await asyncio.Event().wait()
        except TimeoutError:
            raise KeyError("inner") from None

    begun = first_step(impatient())
    assert isinstance(begun, Suspended)
    with pytest.raises(KeyError if which == "inner" else TimeoutError):
        async with asyncio.timeout(outer_s):
            await begun


async def test_a_task_group_entered_in_the_first_step_is_cancelled_when_a_child_fails() -> None:
    async def child() -> None:
        raise KeyError("k")

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            _ = group.create_task(child())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup):
        await finished(parent())


async def test_the_current_task_is_the_same_before_and_after_a_wait() -> None:
    async def looks() -> tuple[Any, Any]:
        before = asyncio.current_task()
        await asyncio.sleep(0)
        return before, asyncio.current_task()

    before, after = await finished(looks())
    assert before is after is asyncio.current_task()


async def test_a_cancellation_reaches_what_waits() -> None:
    cleaned: list[str] = []
    waits = asyncio.Event()

    async def cleans() -> None:
        try:
            waits.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("up")

    task = asyncio.create_task(finished(cleans()))
    await waits.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["up"]


async def test_context_variables_stay_with_their_coroutine_over_waits_and_in_its_tasks() -> None:
    async def child() -> str:
        return WHO.get()

    async def names(who: str, *, waits: bool) -> tuple[str, str]:
        before = WHO.get()
        token = WHO.set(who)
        if waits:
            await asyncio.sleep(0)
        seen = await asyncio.create_task(child()) if waits else WHO.get()
        WHO.reset(token)
        WHO.set(f"{who} was here")
        return before, seen

    for waits in (False, True, False, True):
        assert await finished(names("me", waits=waits)) == ("nobody", "me")
    assert WHO.get() == "nobody"


async def test_what_is_never_awaited_again_is_closed() -> None:
    closed: list[str] = []

    async def cleans() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.append("closed")

    begun = first_step(cleans())
    assert isinstance(begun, Suspended)
    rest = begun.__await__()
    _ = next(rest)
    rest.close()
    assert closed == ["closed"]
