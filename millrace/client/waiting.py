"""Receipts of one client, and the outcomes they wait for."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from aiokafka import TopicPartition

from millrace.client.outcomes import Outcome, OutcomeReader, Watched, outcome_positions
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import DeadlineExceeded
from millrace.events.query import Receipt

_NOTED: Final = 100_000
# Positions fixed longer ago may have left a small log before anyone waits; they are fixed anew while nothing reads.
_STALE_S: Final = 60.0


class Waiter:
    """Knows which outcomes this client's changes wait for; reads the log only once somebody waits.

    Positions are fixed before the first change is sent, so an outcome always comes after them. A receipt from
    elsewhere, or one noted long ago, is looked for from the beginning of its partitions.
    """

    def __init__(self, connection: Connection, codec: Codec, timeout_s: float) -> None:
        self._connection = connection
        self._codec = codec
        self._timeout_s = timeout_s
        self._positions: dict[TopicPartition, int] = {}
        self._fixed_at = 0.0
        self._reader: OutcomeReader | None = None
        self._noted: OrderedDict[Receipt, Watched] = OrderedDict()
        self._lock = asyncio.Lock()

    async def prepare(self) -> None:
        """Make sure that outcomes of changes sent from now on will be seen.

        Raises
        ------
        Unavailable
            The broker does not answer.
        """
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._reader is not None and self._reader.error is None:
                return
            if self._reader is None and self._positions and now - self._fixed_at < _STALE_S:
                return
            await self._drop_reader()
            self._noted.clear()
            self._positions = await outcome_positions(self._connection, end=True, timeout_s=self._timeout_s)
            self._fixed_at = now

    def note(self, receipt: Receipt, *, access_known: bool = False) -> None:
        """Remember a change that is about to be sent.

        Parameters
        ----------
        access_known : bool
            Whether the log holds its access already, so that no record of it will come.
        """
        watched = self._noted[receipt] = Watched(receipt, access_known=access_known)
        if self._reader is not None:
            self._reader.watch(watched)
        if len(self._noted) > _NOTED:
            _, oldest = self._noted.popitem(last=False)
            if self._reader is not None:
                self._reader.forget(oldest)

    def noted(self, receipt: Receipt) -> bool:
        """Whether one reader for all of this client's changes waits for it, rather than one for it alone."""
        return receipt in self._noted

    async def follow(self) -> OutcomeReader:
        """Begin to read outcomes, if nothing does yet."""
        async with self._lock:
            if self._reader is None:
                if not self._positions:
                    self._positions = await outcome_positions(self._connection, end=True, timeout_s=self._timeout_s)
                reader = OutcomeReader(self._connection, self._codec, self._positions, self._timeout_s)
                for watched in self._noted.values():
                    reader.watch(watched)
                self._reader = reader  # before it starts: what is noted meanwhile must be watched too
                try:
                    await reader.start()
                except BaseException:
                    self._reader = None
                    raise
            return self._reader

    def outcome(self, receipt: Receipt) -> asyncio.Future[Outcome]:
        """Outcome of a noted receipt, while outcomes are followed."""
        return self._noted[receipt].future

    async def wait(self, receipts: Sequence[Receipt], timeout_s: float) -> list[Outcome]:
        """Outcomes in the order of the receipts.

        Raises
        ------
        DeadlineExceeded
            Some were not known in time.
        """
        wanted = list(dict.fromkeys(receipts))
        futures: dict[Receipt, asyncio.Future[Outcome]] = {}
        strangers: OutcomeReader | None = None
        try:
            async with asyncio.timeout(timeout_s):
                foreign = [receipt for receipt in wanted if receipt not in self._noted]
                if foreign:
                    strangers = await self.from_the_beginning(foreign, futures)
                if len(foreign) < len(wanted):
                    await self.follow()
                    futures |= {receipt: self.outcome(receipt) for receipt in wanted if receipt in self._noted}
                # Shielded: giving up on one wait must not end another for the same change.
                await asyncio.gather(*(asyncio.shield(future) for future in futures.values()))
        except TimeoutError as error:
            missing = [receipt for receipt in wanted if receipt not in futures or not futures[receipt].done()]
            raise DeadlineExceeded(
                f"{len(missing)} of {len(wanted)} changes have no outcome after {timeout_s:g} s, the first is "
                f"{missing[0].document!r} version {missing[0].version}; are corpus workers running? "
                "see `millrace doctor`"
            ) from error
        finally:
            if strangers is not None:
                await strangers.stop()
        return [futures[receipt].result() for receipt in receipts]

    async def stop(self) -> None:
        """Stop reading."""
        async with self._lock:
            await self._drop_reader()

    async def _drop_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()

    async def from_the_beginning(
        self, receipts: Sequence[Receipt], futures: dict[Receipt, asyncio.Future[Outcome]]
    ) -> OutcomeReader:
        """Look for outcomes of receipts that this client did not send; stop the reader when `futures` are done."""
        positions = await outcome_positions(self._connection, end=False, timeout_s=self._timeout_s, receipts=receipts)
        reader = OutcomeReader(self._connection, self._codec, positions, self._timeout_s)
        for receipt in receipts:
            watched = Watched(receipt)
            reader.watch(watched)
            futures[receipt] = watched.future
        await reader.start()
        return reader
