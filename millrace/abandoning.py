"""End what is awaited once nobody waits for its result any more, and tell that from a shutdown."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Self

from millrace.errors import InputAbandoned


class Abandonment:
    """Whether, and when, an input is given up; ``with abandonment:`` ends what is awaited inside when it is.

    The block is interrupted as by a cancellation, in its own task: its ``finally`` clauses run, and it ends with
    InputAbandoned. Where the task is cancelled for another reason as well, that CancelledError goes on. Blocks of one
    abandonment may follow each other but not overlap.

    Parameters
    ----------
    signal : Awaitable
        Done when the input is given up; one that fails or is cancelled says nothing. A future is used as it is,
        anything else becomes a task. `close` cancels it.
    what : str
        Names the input in messages.
    """

    def __init__(self, signal: Awaitable[None], what: str) -> None:
        self._signal: asyncio.Future[None] = asyncio.ensure_future(signal)
        self._what = what
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._interrupted = False
        self._closed = False

    @property
    def happened(self) -> bool:
        """Whether the input has been given up, and was still watched."""
        signal = self._signal
        return signal.done() and not self._closed and not signal.cancelled() and signal.exception() is None

    def check(self) -> None:
        """Go on only while somebody waits.

        Raises
        ------
        InputAbandoned
            Nobody does.
        """
        if self.happened:
            raise self._error()

    def close(self) -> None:
        """Stop watching: from now on it cannot be given up."""
        self._closed = True
        self._signal.cancel()

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        self._interrupted = False
        if task is not None:
            self._cancelling = task.cancelling()
            self._signal.add_done_callback(self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        task, self._task = self._task, None
        self._signal.remove_done_callback(self._interrupt)
        if self._interrupted and task is not None:
            alone = task.uncancel() <= self._cancelling
            if alone and kind is not None and issubclass(kind, asyncio.CancelledError):
                raise self._error() from error

    def _interrupt(self, _: "asyncio.Future[None]") -> None:
        if self._task is not None and self.happened:  # the block may have ended since this was called for
            self._interrupted = True
            self._task.cancel()

    def _error(self) -> InputAbandoned:
        return InputAbandoned(f"{self._what} was cancelled: whoever waited for it has given it up")


class Never:
    """What an agent without a `cancel` hook runs under: nothing happens."""

    def check(self) -> None:
        """Go on."""

    def close(self) -> None:
        """Nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


NEVER = Never()
