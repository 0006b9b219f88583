"""Embed the new chunks of several documents together and put their rows into the object store."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
from millrace.rows import ChunkRow

from agents.corpus.rows_codec import Embedding, decode_embedding, encode_embedding, encode_rows
from agents.corpus.version import NewChunk, PlannedVersion
from agents.ports import CorpusPorts


class Written(msgspec.Struct):
    """What became of one plan: its row objects in order, the object of each new chunk, and what was embedded."""

    parts: list[str]
    objects: dict[str, str]
    n_embedded: int = 0


class _Part(msgspec.Struct, frozen=True):
    plan: int
    tenant: str
    document: str
    chunks: tuple[NewChunk, ...]


async def write_rows(plans: Sequence[PlannedVersion], ports: CorpusPorts) -> list[Written]:
    """Embed what no cache knows, in as few calls as memory allows, and store the rows of all plans.

    Raises
    ------
    Unavailable
        If the model or a store is down.
    """
    written = [Written([], {}) for _ in plans]
    for group in _grouped(_parts(plans, ports.policy.part_chunks), ports.policy.embed_chunks):
        embeddings, n_embedded = await _embed(group, ports)
        for part, count in zip(group, n_embedded, strict=True):
            written[part.plan].n_embedded += count
        refs = await asyncio.gather(*(ports.objects.put(encode_rows(list(_rows(part, embeddings)))) for part in group))
        for part, ref in zip(group, refs, strict=True):
            written[part.plan].parts.append(ref)
            written[part.plan].objects.update((piece.id, ref) for piece in part.chunks)
    return written


def _parts(plans: Sequence[PlannedVersion], size: int) -> Iterator[_Part]:
    for number, planned in enumerate(plans):
        for start in range(0, len(planned.new), size):
            yield _Part(number, planned.change.tenant, planned.change.document, planned.new[start : start + size])


def _grouped(parts: Iterator[_Part], max_chunks: int) -> Iterator[list[_Part]]:
    group: list[_Part] = []
    n_chunks = 0
    for part in parts:
        if group and n_chunks + len(part.chunks) > max_chunks:
            yield group
            group, n_chunks = [], 0
        group.append(part)
        n_chunks += len(part.chunks)
    if group:
        yield group


_Key = tuple[str, str]  # tenant, content hash


async def _embed(group: Sequence[_Part], ports: CorpusPorts) -> tuple[Mapping[_Key, Embedding], list[int]]:
    """Embeddings of all chunks of a group, and how many of each part had to be computed."""
    wanted = {(part.tenant, piece.hash): piece for part in group for piece in part.chunks}
    found = await _from_cache(wanted, ports)
    missing = {key: piece for key, piece in wanted.items() if key not in found}
    counted: set[_Key] = set()
    n_embedded = []
    for part in group:
        fresh = {(part.tenant, piece.hash) for piece in part.chunks} & missing.keys() - counted
        counted |= fresh
        n_embedded.append(len(fresh))
    if missing:
        computed = await _compute(missing, ports)
        for tenant in dict.fromkeys(tenant for tenant, _ in computed):
            values = {key[1]: encode_embedding(value) for key, value in computed.items() if key[0] == tenant}
            await ports.cache.put_many(tenant, _cache_model(ports), values)
        found |= computed
    return found, n_embedded


async def _from_cache(wanted: Mapping[_Key, NewChunk], ports: CorpusPorts) -> dict[_Key, Embedding]:
    found: dict[_Key, Embedding] = {}
    for tenant in dict.fromkeys(tenant for tenant, _ in wanted):
        hashes = [content_hash for owner, content_hash in wanted if owner == tenant]
        for content_hash, data in (await ports.cache.get_many(tenant, _cache_model(ports), hashes)).items():
            n_sentences = len(wanted[tenant, content_hash].sentences)
            embedding = decode_embedding(data, ports.embedder.dim, n_sentences)
            if embedding is not None:
                found[tenant, content_hash] = embedding
    return found


async def _compute(missing: Mapping[_Key, NewChunk], ports: CorpusPorts) -> dict[_Key, Embedding]:
    """One call for all chunk texts and sentences; a text that occurs twice is embedded once."""
    texts: dict[str, int] = {}
    for piece in missing.values():
        texts.setdefault(piece.embedded, len(texts))
        for start, end in piece.sentences:
            texts.setdefault(piece.text[start:end], len(texts))
    vectors = await ports.embedder.embed(list(texts))
    computed = {}
    for key, piece in missing.items():
        rows = [texts[piece.text[start:end]] for start, end in piece.sentences]
        of_sentences = vectors[rows] if rows else np.zeros((0, ports.embedder.dim))
        computed[key] = Embedding(vectors[texts[piece.embedded]].copy(), of_sentences.astype(np.float16))
    return computed


def _cache_model(ports: CorpusPorts) -> str:
    """Sentence vectors depend on the splitter too, so the pipeline's generation is part of the name."""
    return f"{ports.embedder.model}/{ports.policy.pipeline_generation}"


def _rows(part: _Part, embeddings: Mapping[_Key, Embedding]) -> Iterator[ChunkRow]:
    for piece in part.chunks:
        embedding = embeddings[part.tenant, piece.hash]
        yield ChunkRow(
            tenant=part.tenant,
            document=part.document,
            chunk_id=piece.id,
            content_hash=piece.hash,
            text=piece.text,
            vector=embedding.vector,
            sentences=piece.sentences,
            sentence_vectors=embedding.sentence_vectors,
        )
