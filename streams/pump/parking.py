"""Inputs that wait beside the lanes, so that those behind them flow."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing

from millrace.abandoning import Abandonment, Never
from millrace.errors import DeadlineExceeded
from streams.lanes import Item
from streams.ledger import TopicPartition
from streams.pump.delivery import NotYetVisible

Watch = Callable[[], Abandonment | Never]


class Parking:
    """Waits for what parked inputs wait for, then lets them into the lanes.

    Parameters
    ----------
    max_parked
        Most inputs of one partition that may wait.
    enter
        ``enter(item, error)``: the wait is over, or ended with an error.
    """

    def __init__(self, max_parked: int, enter: Callable[[Item, BaseException | None], None]) -> None:
        self._max_parked = max_parked
        self._enter = enter
        self._tasks: dict[asyncio.Task[None], TopicPartition] = {}
        self._n: Counter[TopicPartition] = Counter()

    def __len__(self) -> int:
        return len(self._tasks)

    def park(self, item: Item, ready: Awaitable[None], timeout_s: float, watch: Watch) -> None:
        """Wait for `ready` at most `timeout_s` seconds, or until `watch` ends it; refuse at once if too many wait."""
        if self._n[item.tp] >= self._max_parked:
            if asyncio.iscoroutine(ready):
                ready.close()
            self._enter(item, NotYetVisible(f"{self._max_parked} inputs wait already; ask again in a second"))
            return
        task = asyncio.create_task(self._wait(item, ready, timeout_s, watch))
        self._tasks[task] = item.tp
        self._n[item.tp] += 1
        task.add_done_callback(self._left)

    def drop(self, tp: TopicPartition) -> None:
        """Forget what was read from a revoked partition."""
        for task, of in list(self._tasks.items()):
            if of == tp:
                task.cancel()

    async def _wait(self, item: Item, ready: Awaitable[None], timeout_s: float, watch: Watch) -> None:
        error: BaseException | None = None
        try:
            async with asyncio.timeout(timeout_s):
                with closing(watch()) as given_up, given_up:
                    await ready
        except TimeoutError:
            error = DeadlineExceeded(f"what the input waits for did not become visible within {timeout_s:.1f} s")
        except Exception as failure:  # noqa: BLE001 - it becomes the input's failure, whatever it is
            error = failure
        self._enter(item, error)

    def _left(self, task: "asyncio.Task[None]") -> None:
        tp = self._tasks.pop(task)
        self._n[tp] -= 1
