"""Long computations beside the event loop, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# One thread: Python code of several does not run faster, it only keeps the loop waiting for the interpreter's lock
# after each of its system calls, until heartbeats are missed.
_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="corpus")


async def beside_the_loop(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in the one background thread, after what was given to it before."""
    return await asyncio.wrap_future(_THREAD.submit(work, *args, **kwargs))
