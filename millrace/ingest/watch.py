"""Ingest again and again: at once when a folder changes, and otherwise from time to time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
from watchfiles import awatch

from millrace.client import Millrace
from millrace.errors import ConfigurationError, InputRejected, MillraceError, Unavailable
from millrace.ingest.folder import FolderSource
from millrace.ingest.opening import Plan, open_sources
from millrace.ingest.run import Ingestion, Progress, Report
from millrace.ingest.source import Source

_TICK_MS: Final = 200
_DEBOUNCE_MS: Final = 400


class Watch:
    """Rounds of ingest over the same sources, until stopped.

    Parameters
    ----------
    client : Millrace
        An open client.
    plan : Plan
        What to do each time.
    told : callable
        Given the report of every round.
    failed : callable
        Given the error of a round that could not be done; the next one tries again.
    every_s : float
        Longest time between two rounds, in seconds; sources that are no folders are looked at this often.
    """

    def __init__(
        self,
        client: Millrace,
        plan: Plan,
        told: Callable[[Report], None],
        failed: Callable[[MillraceError], None],
        *,
        every_s: float = 60.0,
        progress: Progress = lambda _report, _waiting: None,
    ) -> None:
        self._client = client
        self._plan = plan
        self._told = told
        self._failed = failed
        self._every_s = every_s
        self._progress = progress
        self._woken = asyncio.Event()
        self._is_ready = False
        self._notices: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Go on until cancelled.

        What the last round did not send, the next run sends: cancelling loses nothing.

        Raises
        ------
        InputRejected, ConfigurationError
            The first round finds that what is asked for cannot be done.
        LogTruncated
            The log lost what was not read yet.
        """
        async with open_sources(self._plan) as sources, self._watching(sources):
            first, plan = True, self._plan
            while True:
                self._woken.clear()
                try:
                    self._told(await Ingestion(self._client, plan, self._progress, sources=sources).run())
                    plan = msgspec.structs.replace(plan, retry=False)  # once, not in every round
                except (InputRejected, Unavailable) as error:
                    if first:
                        raise
                    self._failed(error)
                first = False
                await self._rest(sources)

    async def _rest(self, sources: Sequence[Source]) -> None:
        restless = any(isinstance(source, FolderSource) and source.is_restless for source in sources)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self._plan.quiet_s, self._every_s) if restless else self._every_s):
                await self._woken.wait()
        if self._notices is not None and self._notices.done():
            self._notices.result()

    @contextlib.asynccontextmanager
    async def _watching(self, sources: Sequence[Source]) -> AsyncIterator[None]:
        """Watch all folders, from before the first round on: no change falls between a look and the wait after it."""
        if not (folders := [source.path for source in sources if isinstance(source, FolderSource)]):
            yield
            return
        self._notices = asyncio.create_task(self._notice(folders))
        self._notices.add_done_callback(lambda _: self._woken.set())
        try:
            await self._woken.wait()  # for the first tick, or the error
            if self._notices.done():
                self._notices.result()
            yield
        finally:
            self._notices.cancel()
            await asyncio.gather(self._notices, return_exceptions=True)

    async def _notice(self, folders: Sequence[Path]) -> None:
        try:
            async for changes in awatch(
                *folders,
                watch_filter=None,
                debounce=_DEBOUNCE_MS,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
            ):
                if changes or not self._is_ready:
                    self._is_ready = True
                    self._woken.set()
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(
                f"the folder cannot be watched: {error}; raise fs.inotify.max_user_watches, or run `millrace ingest` "
                "from a timer instead of --watch"
            ) from error
