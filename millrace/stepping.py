"""Coroutines that are begun at once, where they are called, and become work to wait for only if they really wait.

`first_step` runs a coroutine to the first point where it waits. One that never waits has ended there, and has cost no
task. One that waits goes on in the task that began it, and in no other: what it learned in its first step (the current
task, which `asyncio.timeout` and `asyncio.TaskGroup` cancel) must stay true. Whoever calls `first_step` for one
coroutine after another therefore stops at the first that waits, awaits it, and leaves the others to a new task.

Each coroutine has a context of its own, as in a task of its own, so that no context variable leaks into the next.
Python 3.12 has eager tasks for this; here it is the same for every version, and without a task for each coroutine.
"""

from collections.abc import Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from types import CoroutineType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Suspended(Generic[T]):
    """A coroutine that waits after its first step: await it, once, in the task that made the step."""

    __slots__ = ("_context", "_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, T], context: Context, waits_for: object) -> None:
        self._coroutine = coroutine
        self._context = context
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, T]:
        run, send, throw = self._context.run, self._coroutine.send, self._coroutine.throw
        waits_for = self._waits_for
        try:
            while True:
                try:
                    value = yield waits_for
                except BaseException as error:  # noqa: BLE001 - thrown in by the task, for the coroutine to see
                    waits_for = run(throw, error)
                else:
                    waits_for = run(send, value)
        except StopIteration as end:
            returned: T = end.value
            return returned


def first_step(awaitable: Awaitable[T]) -> T | Suspended[T]:
    """Run a coroutine until it waits or ends.

    Returns
    -------
    T or Suspended
        What it returned, or what to await for it.

    Raises
    ------
    BaseException
        Whatever the coroutine raised.
    """
    coroutine: Coroutine[Any, Any, T] = awaitable if isinstance(awaitable, CoroutineType) else _waiting(awaitable)
    context = copy_context()
    try:
        waits_for = context.run(coroutine.send, None)
    except StopIteration as end:
        returned: T = end.value
        return returned
    return Suspended(coroutine, context, waits_for)


async def _waiting(awaitable: Awaitable[T]) -> T:
    return await awaitable
