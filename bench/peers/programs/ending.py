"""SIGTERM for programs whose library leaves it to them."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any


async def until_sigterm(work: Coroutine[Any, Any, None]) -> None:
    """Run until SIGTERM, which cancels; what the work raises is raised."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
