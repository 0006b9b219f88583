"""Several calls at once, but not too many."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_at_once(call: Callable[[T], Awaitable[R]], items: Iterable[T], at_most: int) -> list[R]:
    """Call a function with every item, at most so many at once.

    All calls have ended when it returns or raises: nothing goes on behind the back of who gets the error, and who tries
    again meets no call of the first try.

    Parameters
    ----------
    call : callable
        Awaited with one item.
    items : iterable
        What to call it with.
    at_most : int
        How many calls may be under way together.

    Returns
    -------
    list
        Results, in the order of the items.

    Raises
    ------
    BaseException
        What the first item raised that did, in the order of the items.
    """
    free = asyncio.Semaphore(at_most)

    async def one(item: T) -> R:
        async with free:
            return await call(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    found: list[R] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.append(result)
    return found
