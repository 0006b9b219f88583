"""Split a changed document and embed what is new.

Delivery: at least once. Chunk ids come from content and from the version that first held it, and what was emitted for
an input is repeated when the input comes again, so a redelivery overwrites itself and embeds nothing.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

import msgspec
from millrace.agent import Batch, Result, agent
from millrace.errors import InputRejected, MillraceError, ObjectMissing, ObjectTampered, Unreadable
from millrace.event import Event
from millrace.events.corpus import ChunksEmbedded, DocumentIndexed, DocumentSettled, Order, SourceChanged
from millrace.parsed import encode_map
from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, SOURCE_CHANGED

from agents.corpus.background import beside_the_loop
from agents.corpus.chunk import chunk
from agents.corpus.embedding import Written, write_rows
from agents.corpus.parse import ParsedText, has_markup, is_plain, parse, split
from agents.corpus.policy import CorpusPolicy
from agents.corpus.rows_codec import encode_manifest
from agents.corpus.version import PlannedVersion, deletion, effective_order, manifest, plan, settled, sha256
from agents.ports import CorpusPorts, EmittedVersion, Parser

NAME = "featurize"


def fail_change(change: SourceChanged, error_type: str, message: str) -> Sequence[Event]:
    """Tell who waits for a change that it could not be processed."""
    order = (change.source_epoch, change.version, change.pipeline_generation)
    return [settled(change, order, "failed", error_type, message)]


def needs_parser(change: SourceChanged) -> bool:
    """Whether a change may take long, because a parser reads the document."""
    return change.op == "upsert" and not is_plain(change.media_type)


@agent(
    source=SOURCE_CHANGED,
    sinks=(CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED),
    batch=Batch(max_items=16, max_bytes=8 * 2**20, linger_ms=20, apart=needs_parser),
    on_failure=fail_change,
    timeout_s=1_800.0,
)
async def featurize(changes: Sequence[SourceChanged], ports: CorpusPorts) -> Sequence[Result]:
    """Turn changes into parts of new versions, deletions or outcomes; everything new is embedded in one call.

    Raises
    ------
    Unavailable
        If the model or the cache is down: the whole batch is tried again.
    """
    results: list[Result] = []
    for group in _grouped(changes, ports.policy.batch_bytes):
        prepared = await asyncio.gather(*(_prepare(change, ports) for change in group))
        plans = [found for found in prepared if isinstance(found, PlannedVersion)]
        written = iter(await write_rows(plans, ports))
        results += await asyncio.gather(
            *(
                _finish(found, next(written), ports) if isinstance(found, PlannedVersion) else _as_is(found)
                for found in prepared
            )
        )
    return results


def _grouped(changes: Sequence[SourceChanged], max_bytes: int) -> Iterator[list[SourceChanged]]:
    """Cut a batch where the documents it refers to would take too much memory together."""
    group: list[SourceChanged] = []
    n_bytes = 0
    for change in changes:
        if group and n_bytes + change.n_bytes > max_bytes:
            yield group
            group, n_bytes = [], 0
        group.append(change)
        n_bytes += change.n_bytes
    if group:
        yield group


async def _as_is(result: Result) -> Result:
    return result


async def _prepare(change: SourceChanged, ports: CorpusPorts) -> PlannedVersion | Result:
    order = effective_order(change, ports.policy.pipeline_generation)
    try:
        return await _compare(change, order, ports)
    except (InputRejected, ObjectMissing, ObjectTampered) as error:
        reason = error.reason if isinstance(error, Unreadable) else error.error_type
        reason = "erased" if isinstance(error, ObjectMissing) else reason
        return Result.ok(settled(change, order, "rejected", reason, str(error)))
    except MillraceError as error:
        return Result.fail(error)


async def _compare(change: SourceChanged, order: Order, ports: CorpusPorts) -> PlannedVersion | Result:
    """Decide by order first; content is read only for a change that may become the newest version."""
    current = ports.visibility.current(change.tenant, change.document)
    emitted = ports.emitted.newest(NAME, change.tenant, change.document)
    if current is not None and current.order >= order:
        same = current.order == order
        return Result.ok(
            settled(change, order, "unchanged" if same else "superseded", "already_indexed" if same else "order")
        )
    if emitted is not None and emitted.event_id == change.meta.id and emitted.order == order:
        return Result.ok(*emitted.outputs)
    if (emitted is not None and emitted.order >= order) or _confirmed_later(change, order, ports):
        return Result.ok(settled(change, order, "superseded", "order"))
    in_flight = emitted if emitted is not None and (current is None or emitted.order > current.order) else None
    before = in_flight.version if in_flight is not None else current
    if change.op == "delete":
        gone = deletion(change, order, before)
        return _emit(change, gone, (gone,), ports)
    # What is in flight may still fail, so only what is folded, or known to equal it, makes a change void.
    certain = in_flight is None or isinstance(in_flight.outputs[0], DocumentSettled)
    return await _read(change, order, before, ports, certain=certain)


def _confirmed_later(change: SourceChanged, order: Order, ports: CorpusPorts) -> bool:
    """Whether a later change said that the version before this one is still right."""
    outcome = ports.visibility.outcome(change.tenant, change.document)
    return outcome is not None and outcome.outcome == "unchanged" and outcome.order > order


async def _read(
    change: SourceChanged, order: Order, before: DocumentIndexed | None, ports: CorpusPorts, *, certain: bool
) -> PlannedVersion | Result:
    digest, n_bytes, parsed = await _parsed(change, ports)
    if before is not None and (before.deleted or not _same_pipeline(before, order, ports)):
        before = None
    text_before = await _text_of(before, ports)
    arguments = (change, order, digest, parsed, before, text_before, ports)
    if n_bytes < ports.policy.background_bytes:
        found = _build(*arguments)
    else:
        found = await beside_the_loop(_build, *arguments)
    if before is None or not certain or not _same_version(before, found):
        return found
    epoch, version, generation = order
    named = before.replace(source_epoch=epoch, version=version, pipeline_generation=generation)
    return _emit(change, named, (settled(change, order, "unchanged", "same_content"),), ports)


async def _parsed(change: SourceChanged, ports: CorpusPorts) -> tuple[str, int, Callable[[], ParsedText]]:
    """Digest and size of the content, and how to get its text: plain text is parsed here, all else by the parser."""
    if not needs_parser(change):
        data = await _content(change, ports)
        if has_markup(data, change.media_type):
            shown = await ports.parser.parse(lambda: _given(data), change.media_type)
            return sha256(data), len(data), lambda: split(shown)
        return sha256(data), len(data), lambda: _plain(data, change.media_type, ports.parser)
    digest = ""

    async def content() -> bytes:
        nonlocal digest
        data = await _content(change, ports)
        digest = sha256(data)
        return data

    found = await ports.parser.parse(content, change.media_type)
    return digest, len(found.text), lambda: split(found)


async def _given(data: bytes) -> bytes:
    return data


def _plain(data: bytes, media_type: str, parser: Parser) -> ParsedText:
    found = parse(data, media_type)
    return msgspec.structs.replace(found, language=parser.language(found.text))


async def _content(change: SourceChanged, ports: CorpusPorts) -> bytes:
    limit = ports.policy.max_document_bytes
    n_bytes = change.n_bytes
    if n_bytes <= limit:
        if change.content is not None:
            data = await ports.objects.get(change.content)
        elif change.text is not None:
            data = change.text.encode("utf-8", "surrogatepass")
        else:
            raise Unreadable(
                "no_content", "an upsert carries neither text nor a reference to content; send one of them"
            )
        n_bytes = len(data)
    if n_bytes > limit:
        raise Unreadable("too_large", f"content has {n_bytes} bytes, at most {limit} are indexed; split the document")
    return data


def _build(
    change: SourceChanged,
    order: Order,
    digest: str,
    text_of: Callable[[], ParsedText],
    before: DocumentIndexed | None,
    text_before: str | None,
    ports: CorpusPorts,
) -> PlannedVersion:
    """Parse, cut and compare: all that costs processor time."""
    policy: CorpusPolicy = ports.policy
    parsed = text_of()
    limit = min(policy.max_tokens, ports.embedder.max_tokens)
    chunks = chunk(parsed, msgspec.structs.replace(policy, max_tokens=limit), ports.embedder.count_tokens)
    if len(chunks) > policy.max_chunks:
        message = f"document has {len(chunks)} chunks, at most {policy.max_chunks} are indexed; split the document"
        raise Unreadable("too_many_chunks", message)
    return plan(
        change,
        order,
        title=change.title or parsed.title or change.document.rsplit("/", 1)[-1],
        digest=digest,
        parsed=parsed,
        chunks=chunks,
        before=before,
        text_before=text_before,
    )


def _same_pipeline(before: DocumentIndexed, order: Order, ports: CorpusPorts) -> bool:
    """Whether ids and vectors of a version may be used again."""
    return before.pipeline_generation == order[2] and before.model == ports.embedder.model


def _same_version(before: DocumentIndexed, found: PlannedVersion) -> bool:
    change = found.change
    return (before.content_sha256, before.title, before.labels, before.trust, before.acl_version) == (
        found.digest,
        found.title,
        change.labels,
        change.trust,
        change.acl_version,
    )


async def _text_of(before: DocumentIndexed | None, ports: CorpusPorts) -> str | None:
    """Parsed text of the version before; None where it has been erased, so that nothing of it is reused."""
    if before is None or before.text is None:
        return None
    try:
        return (await ports.objects.get(before.text)).decode()
    except (ObjectMissing, ObjectTampered):
        return None


async def _finish(planned: PlannedVersion, written: Written, ports: CorpusPorts) -> Result:
    """Store text and manifest, and hand the parts on."""
    change = planned.change
    parsed = planned.parsed
    try:
        version = manifest(
            planned,
            text_ref=await ports.objects.put(parsed.text.encode()),
            map_ref=None if parsed.source is None else await ports.objects.put(encode_map(parsed.source)),
            objects=written.objects,
            model=ports.embedder.model,
            n_embedded=written.n_embedded,
        )
        ref = await ports.objects.put(encode_manifest(version))
    except MillraceError as error:
        return Result.fail(error)
    rows: list[str | None] = [*written.parts] or [None]
    outputs = tuple(
        ChunksEmbedded(
            tenant=change.tenant,
            document=change.document,
            source_epoch=version.source_epoch,
            version=version.version,
            pipeline_generation=version.pipeline_generation,
            part=part,
            n_parts=len(rows),
            model=version.model,
            rows=rows_ref,
            manifest=ref,
            trust=change.trust,
        )
        for part, rows_ref in enumerate(rows)
    )
    return _emit(change, version, outputs, ports)


def _emit(change: SourceChanged, version: DocumentIndexed, outputs: tuple[Event, ...], ports: CorpusPorts) -> Result:
    emitted = EmittedVersion(change.meta.id, version, outputs)
    ports.emitted.remember(NAME, change.tenant, change.document, emitted)
    return Result.ok(*outputs)
