"""What became of a change, from the visibility table."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from millrace.client import Outcome
from millrace.client.outcomes import outcome_from
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import Receipt
from streams.visibility.file import Settled


class Folded(Protocol):
    """What has been read of documents; `Tail` is one."""

    def resolved(self, receipt: Receipt) -> bool:
        """Whether the outcome of a change, or of a later one, is known."""

    async def wait_for(self, receipts: Collection[Receipt]) -> None:
        """Return when all receipts are resolved."""

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        """Newest version, deleted ones included."""

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        """All versions that are kept, newest first."""

    def outcome(self, tenant: str, document: str) -> Settled | None:
        """Newest outcome of a change that altered nothing visible."""


async def outcome_within(table: Folded, receipt: Receipt, wait_s: float) -> Outcome | None:
    """Outcome of a change: its own, else that of the first later one that is still known.

    None where none comes in time. The table holds no messages, so a refusal comes with its reason alone.

    Raises
    ------
    MillraceError
        The table is no longer kept up to date, so that it would never know.
    """
    if not table.resolved(receipt):
        if wait_s <= 0:
            return None
        try:
            async with asyncio.timeout(wait_s):
                await table.wait_for([receipt])
        except TimeoutError:
            return None
    return await asyncio.to_thread(_outcome, table, receipt)


def _outcome(table: Folded, receipt: Receipt) -> Outcome | None:
    if not receipt.version:
        return Outcome(receipt=receipt, outcome="access")
    wanted = (receipt.source_epoch, receipt.version)
    settled = table.outcome(receipt.tenant, receipt.document)
    if settled is not None and settled.order[:2] < wanted:
        settled = None
    version = _version(table, receipt, wanted)
    if version is not None and (settled is None or version.order[:2] <= settled.order[:2]):
        return outcome_from(receipt, version)
    if settled is None:
        return None
    return Outcome(receipt=receipt, outcome=settled.outcome, version=settled.order[1], reason=settled.reason)


def _version(table: Folded, receipt: Receipt, wanted: tuple[int, int]) -> DocumentIndexed | None:
    """First version at or after an order; older ones are looked at only where the newest is a later one."""
    try:
        current = table.current(receipt.tenant, receipt.document)
    except LookupError:  # a newer one came just now, and this one has been pruned
        return None
    if current is None or current.order[:2] <= wanted:
        return current if current is not None and current.order[:2] == wanted else None
    kept = [each for each in table.retained(receipt.tenant, receipt.document) if each.order[:2] >= wanted]
    return min(kept, key=lambda each: each.order, default=current)
