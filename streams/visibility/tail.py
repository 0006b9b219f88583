"""The visibility table kept up to date from the log: what the agents' `Visibility` port is given."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from millrace.codec import Codec
from millrace.errors import LogTruncated, MillraceError, Unavailable
from millrace.event import Origin
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Receipt
from millrace.topics import DOCUMENT_SETTLED
from streams.visibility.file import Outcome, put_aside
from streams.visibility.folding import FOLDED
from streams.visibility.log_reader import REMEDY, LogReader, Offsets
from streams.visibility.table import Grouped, VisibilityTable
from streams.visibility.visible_set import VisibleSet

log = logging.getLogger(__name__)

CONFIRMED_WITHIN_S: Final = 5.0


class Tail:
    """A table and the reader that folds the log into it.

    Parameters
    ----------
    path : Path
        The table's file, one for each process.
    connection : mapping
        Options of an aiokafka client: ``bootstrap_servers`` and security.
    log_epoch : str
        Names the life of the log: ``EmbeddedBroker.log_epoch``, or the id of a Kafka cluster.
    codec : Codec, optional
        Knows the schema ids of this installation.
    on_undecodable : callable, optional
        Told of every record that was passed over because it is no event of ours.
    fetch_max_wait_ms, confirm_every_s, clock
        See `LogReader`.
    """

    def __init__(
        self,
        path: Path,
        connection: Mapping[str, Any],
        *,
        log_epoch: str = "",
        codec: Codec | None = None,
        on_undecodable: Callable[[Origin, MillraceError], None] | None = None,
        fetch_max_wait_ms: int = 100,
        confirm_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._codec = codec or Codec()
        self._log_epoch = log_epoch
        self._on_undecodable = on_undecodable
        self.table = VisibilityTable.open(path, self._codec, log_epoch)
        self.n_undecodable = 0
        self._settled = False
        self._reader = LogReader(
            connection,
            FOLDED,
            self._begin,
            self._take,
            fetch_max_wait_ms=fetch_max_wait_ms,
            confirm_every_s=confirm_every_s,
            clock=clock,
        )

    async def start(self) -> None:
        """Read on from where the table stands; returns at once, see `ready`.

        Raises
        ------
        LogTruncated, ConfigurationError, Unavailable
            See `LogReader.start`.
        """
        await self._reader.start()

    async def stop(self) -> None:
        """Stop reading and close the table."""
        await self._reader.stop()
        self.table.close()

    def _begin(self, beginnings: Offsets, ends: Offsets) -> Offsets:
        """Where to read on; a table that is ahead of the log belongs to another one and is folded anew."""
        known = self.table.positions
        ahead = [at for at, end in ends.items() if known.get(at, 0) > end]
        if ahead:
            path = self.table.path
            self.table.close()
            aside = put_aside(path, "earlier")
            log.warning("%s is ahead of the log at %s; kept as %s and folded anew", path, ahead[0], aside)
            self.table = VisibilityTable.open(path, self._codec, self._log_epoch)
            known = self.table.positions
        start = {}
        for at, beginning in beginnings.items():
            topic, partition = at
            # Outcomes are kept for a time only: a new table begins with those that are left.
            first = beginning if topic == DOCUMENT_SETTLED.name else 0
            start[at] = known.get(at, first)
            if start[at] < beginning:
                raise LogTruncated(
                    f"{topic}/{partition} begins at offset {beginning}, the visibility table needs it from "
                    f"{start[at]} on; {REMEDY}"
                )
        return start

    def _take(self, records: Sequence[Any], positions: Offsets) -> None:
        try:
            report = self.table.fold(records, positions)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"visibility table {self.table.path} cannot be written: {error}") from error
        self.n_undecodable += len(report.undecodable)
        if self._on_undecodable is not None:
            for origin, found in report.undecodable:
                self._on_undecodable(origin, found)

    @property
    def failure(self) -> MillraceError | None:
        """Why folding ended, if it did; `LogTruncated` where the log lost what was to be folded next."""
        return self._reader.failure

    def ready(self) -> bool:
        """Whether the table has folded what was in the log at the start."""
        ready = self._reader.ready()
        if ready and not self._settled:
            self.table.settle()
            self._settled = True
        return ready

    async def wait_ready(self) -> None:
        """Return when `ready`.

        Raises
        ------
        MillraceError
            If folding ended first.
        """
        await self._reader.until(self.ready)

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when everything in these partitions at the time of the call is folded."""
        await self._reader.caught_up(partitions)

    def watermark(self) -> str:
        """How far it has folded."""
        return self.table.watermark()

    def confirmed(self) -> bool:
        """Whether the end of the log was confirmed within the last five seconds; if not, questions are refused."""
        return self.ready() and self._reader.confirmed(CONFIRMED_WITHIN_S)

    def visible(
        self, tenant: str, principal: Grouped, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> VisibleSet:
        """Decide what a question may see, see `VisibilityTable.visible`."""
        return self.table.visible(tenant, principal, at=at, labels=labels)

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest folded version of a document, deleted ones included."""
        return self.table.current(tenant, document)

    def retained(self, tenant: str, document: str, since_order: str = "") -> Sequence[DocumentIndexed]:
        """All folded versions that are kept, newest first."""
        return self.table.retained(tenant, document, since_order)

    def outcome(self, tenant: str, document: str) -> Outcome | None:
        """Newest outcome of a change that altered nothing visible."""
        return self.table.outcome(tenant, document)

    def resolved(self, receipt: Receipt) -> bool:
        """Whether the outcome of a change, or of a later one, has been folded."""
        return self.table.resolved(receipt)

    async def wait_for(self, receipts: Collection[Receipt], watermark: str = "") -> None:
        """Return when all receipts are resolved and `watermark` is reached; bound it with a timeout.

        Raises
        ------
        MillraceError
            If folding has ended.
        """
        await self._reader.until(
            lambda: self.table.reached(watermark) and all(self.table.resolved(receipt) for receipt in receipts)
        )
