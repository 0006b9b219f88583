"""What a new version of a document consists of, compared with the version before: pure."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec
from millrace import ids
from millrace.events.corpus import ChunkRef, ChunksEmbedded, DocumentIndexed, DocumentSettled, Order, SourceChanged

from agents.corpus.chunk import Chunk, embedded_text
from agents.corpus.parse import ParsedText
from agents.corpus.sentences import sentences


class NewChunk(msgspec.Struct, frozen=True):
    """A chunk that the version before does not hold."""

    id: str
    hash: str
    embedded: str
    text: str
    sentences: tuple[tuple[int, int], ...]


class PlannedVersion(msgspec.Struct, frozen=True):
    """A version before its new chunks are embedded.

    Attributes
    ----------
    parsed : ParsedText
        Its text, which spans point into.
    chunks : tuple of Chunk
        In reading order.
    ids : tuple of str
        Their ids.
    kept : mapping of str to str
        Object that holds the row of each chunk that is reused, by chunk id.
    new : tuple of NewChunk
        Chunks to embed, in reading order.
    n_retired : int
        Chunks of the version before that this one does not list.
    """

    change: SourceChanged
    order: Order
    title: str
    digest: str
    parsed: ParsedText
    chunks: tuple[Chunk, ...]
    ids: tuple[str, ...]
    kept: Mapping[str, str]
    new: tuple[NewChunk, ...]
    n_retired: int


def effective_order(change: SourceChanged, pipeline_generation: int) -> Order:
    """Order of a change as this pipeline handles it."""
    return (change.source_epoch, change.version, max(change.pipeline_generation, pipeline_generation))


def sha256(data: bytes) -> str:
    """Digest of a document's content, hex."""
    return hashlib.sha256(data).hexdigest()


def plan(
    change: SourceChanged,
    order: Order,
    *,
    title: str,
    digest: str,
    parsed: ParsedText,
    chunks: Sequence[Chunk],
    before: DocumentIndexed | None,
    text_before: str | None,
) -> PlannedVersion:
    """Give every chunk its id: the one it had in the version before, or a new one born with this order.

    Parameters
    ----------
    before, text_before : DocumentIndexed and str, optional
        Version to take ids and rows from, with its parsed text; None where nothing may be reused.
    """
    known = _known(before, text_before)
    birth = ".".join(map(str, order))
    seen: Counter[str] = Counter()
    chunk_ids: list[str] = []
    kept: dict[str, str] = {}
    new: list[NewChunk] = []
    for piece in chunks:
        digest_of_piece = piece.hash
        occurrence = seen[digest_of_piece]
        seen[digest_of_piece] += 1
        reusable = known.get(digest_of_piece, ())
        if occurrence < len(reusable):
            chunk_id, kept_in = reusable[occurrence]
            kept[chunk_id] = kept_in
        else:
            chunk_id = ids.chunk_id(change.tenant, change.document, digest_of_piece, occurrence, birth)
            new.append(NewChunk(chunk_id, digest_of_piece, piece.embedded, piece.text, sentences(piece.text)))
        chunk_ids.append(chunk_id)
    n_before = len(before.chunks) if before is not None else 0
    return PlannedVersion(
        change, order, title, digest, parsed, tuple(chunks), tuple(chunk_ids), kept, tuple(new), n_before - len(kept)
    )


def manifest(
    planned: PlannedVersion,
    *,
    text_ref: str,
    map_ref: str | None,
    objects: Mapping[str, str],
    model: str,
    n_embedded: int,
) -> DocumentIndexed:
    """Write the version down as it is to be indexed.

    Parameters
    ----------
    map_ref : str or None
        Object with the way from the text back into the source; None where they are the same.
    objects : mapping of str to str
        Object that holds the row of each new chunk, by chunk id.
    """
    change = planned.change
    where = {**planned.kept, **objects}
    headings = {heading: i for i, heading in enumerate(dict.fromkeys(piece.heading for piece in planned.chunks))}
    numbers = {ref: i for i, ref in enumerate(dict.fromkeys(where[chunk_id] for chunk_id in planned.ids))}
    return DocumentIndexed(
        tenant=change.tenant,
        document=change.document,
        source_epoch=planned.order[0],
        version=planned.order[1],
        pipeline_generation=planned.order[2],
        title=planned.title,
        labels=dict(sorted(change.labels.items())),
        trust=change.trust,
        acl_version=change.acl_version,
        content_sha256=planned.digest,
        text=text_ref,
        model=model,
        headings=tuple(headings),
        objects=tuple(numbers),
        chunks=tuple(
            ChunkRef(chunk_id, piece.start, piece.end, headings[piece.heading], numbers[where[chunk_id]])
            for chunk_id, piece in zip(planned.ids, planned.chunks, strict=True)
        ),
        n_embedded=n_embedded,
        n_reused=len(planned.chunks) - n_embedded,
        n_retired=planned.n_retired,
        source=change.source,
        source_event=change.meta.id,
        source_position=str(change.meta.origin or ""),
        language=planned.parsed.language,
        removed=dict(planned.parsed.removed),
        source_map=map_ref,
    )


def deletion(change: SourceChanged, order: Order, before: DocumentIndexed | None) -> DocumentIndexed:
    """Write a deletion down."""
    return DocumentIndexed(
        tenant=change.tenant,
        document=change.document,
        source_epoch=order[0],
        version=order[1],
        pipeline_generation=order[2],
        deleted=True,
        n_retired=len(before.chunks) if before is not None else 0,
        source=change.source,
        source_event=change.meta.id,
        source_position=str(change.meta.origin or ""),
    )


def settled(change: SourceChanged, order: Order, outcome: str, reason: str, message: str = "") -> DocumentSettled:
    """Write down that a change made no visible version."""
    origin = (change.source, change.meta.id, str(change.meta.origin or ""))
    return _settled(change, order, origin, outcome, reason, message)


def settled_part(
    part: ChunksEmbedded, version: DocumentIndexed | None, outcome: str, reason: str, message: str
) -> DocumentSettled:
    """Write down that what was embedded becomes no visible version, of which `version` says the source."""
    order = (part.source_epoch, part.version, part.pipeline_generation)
    origin = (version.source, version.source_event, version.source_position) if version is not None else ("", "", "")
    return _settled(part, order, origin, outcome, reason, message)


def _settled(
    of: SourceChanged | ChunksEmbedded,
    order: Order,
    origin: tuple[str, str, str],
    outcome: str,
    reason: str,
    message: str,
) -> DocumentSettled:
    return msgspec.convert(
        {
            "tenant": of.tenant,
            "document": of.document,
            "source_epoch": order[0],
            "version": order[1],
            "pipeline_generation": order[2],
            "outcome": outcome,
            "reason": reason,
            "message": message,
            "source": origin[0],
            "source_event": origin[1],
            "source_position": origin[2],
        },
        DocumentSettled,
    )


def _known(before: DocumentIndexed | None, text: str | None) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Chunk id and object by content hash: what was embedded follows from heading, span and text."""
    known: dict[str, list[tuple[str, str]]] = defaultdict(list)
    if before is not None and text is not None:
        for ref in before.chunks:
            embedded = embedded_text(before.headings[ref.heading], text[ref.start : ref.end])
            known[ids.content_hash(embedded)].append((ref.id, before.objects[ref.object]))
    return known
