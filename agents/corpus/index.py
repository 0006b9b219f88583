"""Write embedded chunks into the index, and let a version count once all of them are there.

Delivery: at least once; rows are keyed by chunk id and never change, so writing them again changes nothing, and an
older version is dropped by its order. All that moves or removes rows of a document happens here, in its key lane:

* rows retired by a version are archived when that version's DocumentIndexed is read back from the log. Only then is it
  decided for every reader; readers that have not folded it yet still fetch the rows by id, because a fetch looks into
  both tables;
* of an untrusted version nothing is written before its scan is over: its last part then comes again, cleared, and
  brings the rows of the others with it;
* rows that no retained version lists are deleted on MaintenanceDue, rows of abandoned versions among them. The newest
  version this process has emitted counts as retained, so a version whose outcome is still on its way keeps its rows.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from millrace.agent import Batch, Result, agent
from millrace.concurrency import map_at_once
from millrace.errors import MillraceError, ObjectMissing, Unavailable
from millrace.event import Event
from millrace.events.corpus import ChunksEmbedded, DocumentIndexed, MaintenanceDue
from millrace.rows import ChunkRow
from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, MAINTENANCE_DUE

from agents.corpus.rows_codec import decode_manifest, decode_rows
from agents.corpus.upkeep import TENANTS_AT_ONCE, archive_retired, collect_garbage
from agents.corpus.version import settled_part
from agents.ports import CorpusPorts, EmittedVersion

NAME = "index"
IndexInput = ChunksEmbedded | DocumentIndexed | MaintenanceDue
E = TypeVar("E", DocumentIndexed, MaintenanceDue)


def fail_version(event: IndexInput, error_type: str, message: str) -> Sequence[Event]:
    """Tell who waits for a version that it could not be indexed; upkeep that fails is nobody's outcome."""
    if not isinstance(event, ChunksEmbedded):
        return []
    return [settled_part(event, None, "failed", error_type, message)]


def _is_upkeep(event: IndexInput) -> bool:
    """Whether nobody waits for it: the store may keep it waiting, for its files to be merged say."""
    return not isinstance(event, ChunksEmbedded)


@agent(
    source=(CHUNKS_EMBEDDED, DOCUMENT_INDEXED, MAINTENANCE_DUE),
    sinks=(DOCUMENT_INDEXED, DOCUMENT_SETTLED),
    batch=Batch(max_items=256, linger_ms=20, kind=_is_upkeep),
    on_failure=fail_version,
    timeout_s=300.0,
)
async def index(events: Sequence[IndexInput], ports: CorpusPorts) -> Sequence[Result]:
    """Write the parts of a batch in one upsert, decide the versions that are complete, and keep the tables tidy.

    Raises
    ------
    Unavailable
        If the vector store is down: the whole batch is tried again.
    """
    parts = [event for event in events if isinstance(event, ChunksEmbedded) and not _waits(event)]
    loaded = {id(part): found for part, found in zip(parts, await _load_all(parts, ports), strict=True)}
    ready = [found for found in loaded.values() if isinstance(found, _Part)]
    rows = [row for part in ready for row in part.rows]
    if rows:
        await ports.vectors.upsert(rows)
    decided = {id(part.event): result for part, result in zip(ready, await _decide_all(ready, ports), strict=True)}
    upkeep = await _kept_up(events, ports)
    results = []
    for event in events:
        if not isinstance(event, ChunksEmbedded):
            results.append(upkeep[id(event)])
        elif _waits(event):
            results.append(Result.ok())
        else:
            found = loaded[id(event)]
            results.append(found if isinstance(found, Result) else decided[id(event)])
    return results


def _waits(part: ChunksEmbedded) -> bool:
    """Whether a part belongs to an untrusted version that nobody has cleared: see `agents.guard.document`."""
    return part.trust != "trusted" and not part.cleared


class _Part(msgspec.Struct, frozen=True):
    event: ChunksEmbedded
    version: DocumentIndexed
    rows: list[ChunkRow]

    @property
    def is_last(self) -> bool:
        return self.event.part == self.event.n_parts - 1


async def _kept_up(events: Sequence[IndexInput], ports: CorpusPorts) -> dict[int, Result]:
    """What became of versions that were read back and of maintenance."""
    decided = [event for event in events if isinstance(event, DocumentIndexed)]
    due = [event for event in events if isinstance(event, MaintenanceDue)]
    archived = await _together(partial(archive_retired, ports=ports), decided)
    return archived | await _together(partial(collect_garbage, writer=NAME, ports=ports), due)


async def _together(work: Callable[[Sequence[E]], Awaitable[None]], events: Sequence[E]) -> dict[int, Result]:
    """Results by event: one move for all, if none is in the way.

    A store takes as long for one document's rows as for many's. What it refuses together is tried document by document;
    a store that is away is away for each of them.
    """
    together = await _attempted(work(events))
    if len(events) > 1 and together.error is not None and not isinstance(together.error, Unavailable):
        return {id(event): await _attempted(work([event])) for event in events}
    return {id(event): together for event in events}


async def _attempted(work: Awaitable[None]) -> Result:
    try:
        await work
    except (MillraceError, ValueError) as error:
        return Result.fail(error)
    return Result.ok()


async def _load_all(parts: Sequence[ChunksEmbedded], ports: CorpusPorts) -> list[_Part | Result]:
    return await asyncio.gather(*(_load(part, ports) for part in parts))


async def _load(event: ChunksEmbedded, ports: CorpusPorts) -> _Part | Result:
    """Read what a part refers to, unless its version has been overtaken."""
    is_last = event.part == event.n_parts - 1
    current = ports.visibility.current(event.tenant, event.document)
    emitted = ports.emitted.newest(NAME, event.tenant, event.document)
    newest = max((known.order for known in (current, emitted) if known is not None), default=event.order)
    try:
        version = decode_manifest(await ports.objects.get(event.manifest))
        if newest > event.order:
            outcome = settled_part(event, version, "superseded", "order", "")
            return Result.ok(*([outcome] if is_last else []))
        rows = decode_rows(await ports.objects.get(event.rows)) if event.rows is not None else []
    except MillraceError as error:
        return Result.fail(error)
    return _Part(event, version, rows)


async def _decide_all(parts: Sequence[_Part], ports: CorpusPorts) -> list[Result]:
    """Outcome of each part: nothing before the last one, then the version if all its rows are stored.

    Rows of these parts have just been written; the store is asked for what else their versions list.
    """
    stored: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        stored[part.event.tenant] |= {row.chunk_id for row in part.rows}
    wanted: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        if part.is_last:
            wanted[part.event.tenant] |= {ref.id for ref in part.version.chunks} - stored[part.event.tenant]
    asked = [(tenant, chunk_ids) for tenant, chunk_ids in wanted.items() if chunk_ids]
    there = await map_at_once(lambda each: ports.vectors.existing(*each), asked, TENANTS_AT_ONCE)
    for (tenant, _), found in zip(asked, there, strict=True):
        stored[tenant] |= found
    return [await _decide(part, stored[part.event.tenant], ports) if part.is_last else Result.ok() for part in parts]


async def _decide(part: _Part, stored: Collection[str], ports: CorpusPorts) -> Result:
    event, version = part.event, part.version
    missing = {ref.id for ref in version.chunks} - set(stored)
    if missing:
        try:
            await _write_again(version, missing, ports)
        except MillraceError as error:
            return Result.fail(error)
    ports.emitted.remember(NAME, event.tenant, event.document, EmittedVersion(event.meta.id, version, (version,)))
    return Result.ok(version)


async def _write_again(version: DocumentIndexed, missing: Collection[str], ports: CorpusPorts) -> None:
    """Write rows that a version reuses but the store has lost, from the objects that hold them.

    Raises
    ------
    ObjectMissing
        If the objects do not hold them either.
    """
    numbers = sorted({ref.object for ref in version.chunks if ref.id in missing})
    contents = await asyncio.gather(*(ports.objects.get(version.objects[number]) for number in numbers))
    rows = [row for data in contents for row in decode_rows(data) if row.chunk_id in missing]
    if rows:
        await ports.vectors.upsert(rows)
    lost = set(missing) - await ports.vectors.existing(version.tenant, missing)
    if lost:
        message = (
            f"{len(lost)} of {len(version.chunks)} chunks of {version.document!r} version {version.version} are "
            "neither in the index nor in their objects; produce the document again with a higher version"
        )
        raise ObjectMissing(message)
