"""Which rows of a document are live, archived or gone: pure decisions, and the store calls that follow from them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final

from millrace.concurrency import map_at_once
from millrace.events.corpus import DocumentIndexed, MaintenanceDue, Order, parse_order

from agents.ports import CorpusPorts

ROWS_AT_ONCE: Final = 2_000
TENANTS_AT_ONCE: Final = 16
DOCUMENTS_AT_ONCE: Final = 8


def listed(versions: Iterable[DocumentIndexed]) -> set[str]:
    """Chunk ids that at least one of the versions lists."""
    return {ref.id for version in versions if not version.deleted for ref in version.chunks}


def retired_rows(versions: Collection[DocumentIndexed]) -> set[str]:
    """Chunk ids that only superseded versions list."""
    if not versions:
        return set()
    newest = max(versions, key=lambda version: version.order)
    return listed(versions) - listed([newest])


def kept_versions(versions: Collection[DocumentIndexed], before: Order | None) -> list[DocumentIndexed]:
    """Versions that the retention still covers: the newest one, and those superseded by a version after `before`."""
    newest_first = sorted(versions, key=lambda version: version.order, reverse=True)
    kept = newest_first[:1]
    for successor, version in pairwise(newest_first):
        if before is None or successor.order > before:
            kept.append(version)
    return kept


async def archive_retired(events: Sequence[DocumentIndexed], ports: CorpusPorts) -> None:
    """Move the rows that decided versions retired out of the live table, and see that their own are in it.

    The events have been read back from the log, so they are decided whether or not they are folded here. Of a document
    that comes with several versions, the newest counts. The second half matters where two workers wrote versions of a
    document at the same time: one may have archived what the other uses.
    """
    by_document: dict[tuple[str, str], list[DocumentIndexed]] = defaultdict(list)
    for event in events:
        by_document[event.tenant, event.document].append(event)
    retired: dict[str, set[str]] = defaultdict(set)
    used: dict[str, set[str]] = defaultdict(set)
    for (tenant, document), versions in by_document.items():
        known = _known(tenant, document, ports, also=versions)
        retired[tenant] |= retired_rows(known)
        newest = max(known, key=lambda version: version.order)
        if len(known) > 1 and newest.n_reused and any(version.order == newest.order for version in versions):
            used[tenant] |= listed([newest])

    async def moved(tenant: str) -> None:
        for part in _in_parts(retired[tenant]):
            await ports.vectors.archive(tenant, part)
        for part in _in_parts(used[tenant]):
            await ports.vectors.restore(tenant, part)

    await map_at_once(moved, retired, TENANTS_AT_ONCE)


async def collect_garbage(events: Sequence[MaintenanceDue], writer: str, ports: CorpusPorts) -> None:
    """Delete the rows of documents that no retained version lists.

    Rows of a version whose parts are still coming in may be among them; `writer`, the agent that indexes, finds them
    missing when the last part arrives and writes them again from their objects. What it emitted last counts as
    retained.
    """

    async def garbage_of(event: MaintenanceDue) -> set[str]:
        before = parse_order(event.before_order) if event.before_order else None
        emitted = ports.emitted.newest(writer, event.tenant, event.document)
        known = _known(event.tenant, event.document, ports, also=[emitted.version] if emitted is not None else [])
        return await ports.vectors.of_document(event.tenant, event.document) - listed(kept_versions(known, before))

    garbage: dict[str, set[str]] = defaultdict(set)
    for event, found in zip(events, await map_at_once(garbage_of, events, DOCUMENTS_AT_ONCE), strict=True):
        garbage[event.tenant] |= found

    async def delete(tenant: str) -> None:
        for part in _in_parts(garbage[tenant]):
            await ports.vectors.delete(tenant, part)

    await map_at_once(delete, garbage, TENANTS_AT_ONCE)


def _in_parts(chunk_ids: Collection[str]) -> Iterator[Sequence[str]]:
    """Sorted, and no more at once than should be held in memory as rows."""
    ordered = sorted(chunk_ids)
    for start in range(0, len(ordered), ROWS_AT_ONCE):
        yield ordered[start : start + ROWS_AT_ONCE]


def _known(tenant: str, document: str, ports: CorpusPorts, *, also: Sequence[DocumentIndexed]) -> list[DocumentIndexed]:
    """Every version that may still be read, one per order."""
    versions = {version.order: version for version in also}
    current = ports.visibility.current(tenant, document)
    for version in (*ports.visibility.retained(tenant, document), *([current] if current is not None else [])):
        versions[version.order] = version
    return list(versions.values())
