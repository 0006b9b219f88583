"""The visibility table kept up to date from the log: what the agents' `Visibility` port is given."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from millrace.codec import Codec, ConsumedRecord
from millrace.connection import FETCH_MS
from millrace.errors import ContractError, LogTruncated, MillraceError, Unavailable
from millrace.event import Origin
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Receipt
from millrace.topics import ACL_CHANGED, DOCUMENT_SETTLED
from streams.visibility.file import Settled
from streams.visibility.folding import FOLDED
from streams.visibility.table import Grouped, VisibilityTable
from streams.visibility.topic_folder import REMEDY, Offsets, TopicFolder, met
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
        Told of every record that was passed over because it is no event of ours, and why.
    fetch_max_wait_ms, fetch_idle_wait_ms, confirm_every_s, clock
        See `TopicFolder`.
    """

    def __init__(
        self,
        path: Path,
        connection: Mapping[str, Any],
        *,
        log_epoch: str = "",
        codec: Codec | None = None,
        on_undecodable: Callable[[ConsumedRecord, ContractError], None] | None = None,
        fetch_max_wait_ms: int = FETCH_MS,
        fetch_idle_wait_ms: int | None = None,
        confirm_every_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._codec = codec or Codec()
        self._on_undecodable = on_undecodable
        self.table = VisibilityTable.open(path, self._codec, log_epoch)
        self.n_undecodable = 0
        self._settled = False
        self._folder = TopicFolder(
            connection,
            FOLDED,
            self._begin,
            self._take,
            fetch_max_wait_ms=fetch_max_wait_ms,
            fetch_idle_wait_ms=fetch_idle_wait_ms,
            confirm_every_s=confirm_every_s,
            clock=clock,
        )

    async def start(self) -> None:
        """Read on from where the table stands; returns at once, see `ready`.

        Raises
        ------
        LogTruncated, ConfigurationError, Unavailable
            See `TopicFolder.start`.
        """
        self._say_unread()
        await self._folder.start()

    async def stop(self) -> None:
        """Stop reading and close the table."""
        await self._folder.stop()
        self.table.close()

    def _begin(self, beginnings: Offsets, ends: Offsets) -> Offsets:
        """Where to read on. A log that ends before the table does has lost records: nothing is folded from it."""
        known = self.table.positions
        start = {}
        for (topic, partition), end in ends.items():
            if known.get((topic, partition), 0) > end:
                raise LogTruncated(
                    f"{topic}/{partition} ends at offset {end}, but {self.table.path} has folded it to "
                    f"{known[topic, partition]}: records were lost, or the topic was created again; {REMEDY}. To go on "
                    "with what the log still holds, move the table's file away"
                )
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

    async def _take(self, records: Sequence[Any], positions: Offsets) -> None:
        await met(self._codec, records)
        try:
            report = self.table.fold(records, positions)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"visibility table {self.table.path} cannot be written: {error}") from error
        self.n_undecodable += len(report.undecodable)
        if report.undecodable and self._on_undecodable is not None:
            by_origin = {Origin(record.topic, record.partition, record.offset): record for record in records}
            for origin, found in report.undecodable:
                self._on_undecodable(by_origin[origin], found)
        if any(origin.topic == ACL_CHANGED.name for origin, _ in report.undecodable):
            self._say_unread()

    def _say_unread(self) -> None:
        if unread := self.table.unread_access:
            log.error(
                "questions are refused: %d changes of access, the first at %s, are in a schema that this release "
                "does not know, and may take rights away; run the release that wrote them, or write the access of the "
                "document again (`millrace acl set`)",
                len(unread), next(iter(unread.values())),
            )  # fmt: skip

    @property
    def failure(self) -> MillraceError | None:
        """Why folding ended, if it did; `LogTruncated` where the log lost what was to be folded next."""
        return self._folder.failure

    def ready(self) -> bool:
        """Whether the table has folded what was in the log at the start."""
        ready = self._folder.ready()
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
        await self._folder.until(self.ready)

    async def caught_up(self, partitions: Iterable[int] | None = None) -> None:
        """Return when everything in these partitions at the time of the call is folded."""
        await self._folder.caught_up(partitions)

    def watermark(self) -> str:
        """How far it has folded."""
        return self.table.watermark()

    def confirmed(self) -> bool:
        """Whether the end of the log was confirmed within the last five seconds; if not, questions are refused.

        A table that had to pass over a change of access confirms nothing: who lost a right is not known here.
        """
        return self.ready() and not self.table.unread_access and self._folder.confirmed(CONFIRMED_WITHIN_S)

    @property
    def confirmed_age_s(self) -> float | None:
        """Seconds since the end of the log was last confirmed; None before the first time."""
        return self._folder.confirmed_age_s

    @property
    def behind(self) -> int:
        """Records that it has yet to fold."""
        return self._folder.behind

    def size(self) -> tuple[int, int]:
        """Documents and chunks that count now, over all tenants; looks at every document."""
        sizes = self.table.statistics().values()
        return sum(size.n_documents for size in sizes), sum(size.n_chunks for size in sizes)

    def visible(
        self, tenant: str, principal: Grouped, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> VisibleSet:
        """Decide what a question may see, see `VisibilityTable.visible`."""
        return self.table.visible(tenant, principal, at=at, labels=labels)

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest folded version of a document, deleted ones included."""
        return self.table.current(tenant, document)

    def access(self, tenant: str, document: str) -> tuple[int, frozenset[str]] | None:
        """Access version of a document and the groups that may read it; None where no access was ever folded."""
        return self.table.access(tenant, document)

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All folded versions that are kept, newest first."""
        return self.table.retained(tenant, document)

    def outcome(self, tenant: str, document: str) -> Settled | None:
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
        await self._folder.until(
            lambda: self.table.reached(watermark) and all(self.table.resolved(receipt) for receipt in receipts)
        )
