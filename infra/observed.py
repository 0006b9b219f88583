"""Ports that are watched: each call is counted and timed, and has a span where its caller's trace is exported.

The adapters stay as they are; these stand between them and the agents. Nothing of what is embedded, searched or parsed
is told to anyone, only how much it was.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from agents.ports import CorpusTexts, Embedder, EmbeddingCache, Parser, Rank, TextScanner, VectorStore
from infra.metrics import Metrics
from millrace.errors import error_type
from millrace.findings import Finding, Scan
from millrace.parsed import ParsedSource
from millrace.rows import Candidate, ChunkRow, ScannedChunk
from millrace.telemetry import Span, Tracer, names
from millrace.telemetry import metrics as m
from millrace.telemetry.metrics import Metric
from millrace.telemetry.tracing import Kind, Value, ended

Rows = TypeVar("Rows", bound=Collection[object])


class Store(VectorStore, CorpusTexts, Protocol):
    """Chunk rows, as all agents together need them."""

    async def maintain(self, tenant: str) -> bool:
        """Tidy up where there is need; says whether there was."""


class Watch:
    """Counts, times and traces calls of ports.

    Parameters
    ----------
    metrics : Metrics
        Takes the numbers.
    tracer : Tracer, optional
        Makes a span of each call below the span of its caller.
    """

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self._tracer = tracer

    @contextmanager
    def call(
        self,
        name: str,
        seconds: Metric,
        failed: Callable[[str], None],
        *labels: str,
        kind: Kind = "client",
        attributes: Mapping[str, Value] = {},
    ) -> Iterator[Span | None]:
        """Watch one call; `failed` is given the type of its error."""
        span = self._tracer.below(name, kind, attributes) if self._tracer is not None else None
        began_s = time.perf_counter()
        try:
            if span is None:
                yield None
            else:
                with ended(span):
                    yield span
        except Exception as error:
            failed(error_type(error))
            raise
        finally:
            self.metrics.observe(seconds, time.perf_counter() - began_s, *labels)


class ObservedEmbedder:
    """An embedder that is watched.

    Parameters
    ----------
    inner : Embedder
        The embedder.
    watch : Watch
        Watches it.
    provider : str
        Who computes, for spans: ``onnxruntime``, ``triton``, ``hashing``.
    """

    def __init__(self, inner: Embedder, watch: Watch, provider: str) -> None:
        self._inner = inner
        self._watch = watch
        self._attributes: dict[str, Value] = {
            names.GEN_AI_OPERATION: "embeddings",
            names.GEN_AI_PROVIDER: provider,
            names.GEN_AI_MODEL: inner.model,
            names.GEN_AI_DIMENSIONS: inner.dim,
        }
        self.model = inner.model
        self.dim = inner.dim
        self.max_tokens = inner.max_tokens

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """See `agents.ports.Embedder`."""
        metrics, attributes = self._watch.metrics, {**self._attributes, names.TEXTS: len(texts)}
        name = f"embeddings {self.model}"
        with self._watch.call(name, m.EMBEDDING_SECONDS, self._failed, attributes=attributes):
            vectors = await self._inner.embed(texts)
        metrics.add(m.EMBEDDING_CALLS, "ok")
        metrics.add(m.EMBEDDING_TEXTS, n=len(texts))
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `agents.ports.Embedder`."""
        return self._inner.count_tokens(texts)

    def _failed(self, kind: str) -> None:
        self._watch.metrics.add(m.EMBEDDING_CALLS, kind)


class ObservedCache:
    """An embedding cache whose hits are counted."""

    def __init__(self, inner: EmbeddingCache, watch: Watch) -> None:
        self._inner = inner
        self._metrics = watch.metrics

    async def get_many(self, tenant: str, model: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        """See `agents.ports.EmbeddingCache`."""
        found = await self._inner.get_many(tenant, model, hashes)
        asked = len(set(hashes))
        self._metrics.add(m.CACHE_LOOKUPS, "hit", n=len(found))
        self._metrics.add(m.CACHE_LOOKUPS, "miss", n=asked - len(found))
        return found

    async def put_many(self, tenant: str, model: str, values: Mapping[str, bytes]) -> None:
        """See `agents.ports.EmbeddingCache`."""
        await self._inner.put_many(tenant, model, values)


class ObservedParser:
    """A parser that is watched."""

    def __init__(self, inner: Parser, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    async def parse(self, content: Callable[[], Awaitable[bytes]], media_type: str) -> ParsedSource:
        """See `agents.ports.Parser`."""
        with self._watch.call("parse", m.PARSE_SECONDS, self._failed, kind="internal"):
            parsed = await self._inner.parse(content, media_type)
        self._watch.metrics.add(m.PARSED, "ok")
        return parsed

    def language(self, text: str) -> str:
        """See `agents.ports.Parser`."""
        return self._inner.language(text)

    def _failed(self, kind: str) -> None:
        self._watch.metrics.add(m.PARSED, kind)


class ObservedScanner:
    """A scanner of texts that is watched."""

    def __init__(self, inner: TextScanner, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    def quick(self, text: str) -> Sequence[Finding]:
        """See `agents.ports.TextScanner`."""
        return self._inner.quick(text)

    def begin(self, text: str, rank: Rank) -> None:
        """See `agents.ports.TextScanner`."""
        self._inner.begin(text, rank)

    async def scan(self, text: str, rank: Rank) -> Scan:
        """See `agents.ports.TextScanner`."""
        with self._watch.call("scan", m.SCAN_SECONDS, self._failed, kind="internal"):
            found = await self._inner.scan(text, rank)
        self._watch.metrics.add(
            m.SCANS, "incomplete" if not found.complete else "flagged" if found.flagged else "clean"
        )
        return found

    def _failed(self, kind: str) -> None:
        self._watch.metrics.add(m.SCANS, kind)


class ObservedStore:
    """A vector store that is watched.

    Parameters
    ----------
    inner : Store
        The store.
    watch : Watch
        Watches it.
    system : str
        Which one, for spans: ``lancedb``, ``weaviate``.
    """

    def __init__(self, inner: Store, watch: Watch, system: str) -> None:
        self._inner = inner
        self._watch = watch
        self._system = system

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        """See `agents.ports.VectorStore`."""
        with self._call("upsert", len(rows)):
            await self._inner.upsert(rows)

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        """See `agents.ports.VectorStore`."""
        with self._call("existing", len(chunk_ids)) as span:
            return _counted(span, await self._inner.existing(tenant, chunk_ids))

    async def of_document(self, tenant: str, document: str) -> set[str]:
        """See `agents.ports.VectorStore`."""
        with self._call("of_document") as span:
            return _counted(span, await self._inner.of_document(tenant, document))

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        """See `agents.ports.VectorStore`."""
        with self._call("fetch", len(chunk_ids)) as span:
            return _counted(span, await self._inner.fetch(tenant, chunk_ids))

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
    ) -> list[Candidate]:
        """See `agents.ports.VectorStore`."""
        with self._call("search") as span:
            return _counted(
                span, await self._inner.candidates(tenant, vector=vector, text=text, k=k, documents=documents)
            )

    async def archive(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """See `agents.ports.VectorStore`."""
        with self._call("archive", len(chunk_ids)):
            await self._inner.archive(tenant, chunk_ids)

    async def restore(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """See `agents.ports.VectorStore`."""
        with self._call("restore", len(chunk_ids)):
            await self._inner.restore(tenant, chunk_ids)

    async def delete(self, tenant: str, chunk_ids: Collection[str]) -> None:
        """See `agents.ports.VectorStore`."""
        with self._call("delete", len(chunk_ids)):
            await self._inner.delete(tenant, chunk_ids)

    async def count(self, tenant: str) -> int:
        """See `agents.ports.CorpusTexts`."""
        return await self._inner.count(tenant)

    def scan(self, tenant: str, *, texts: bool = False) -> AsyncIterator[ScannedChunk]:
        """See `agents.ports.CorpusTexts`."""
        return self._inner.scan(tenant, texts=texts)

    async def maintain(self, tenant: str) -> bool:
        """See `Store`."""
        with self._call("maintain"):
            return await self._inner.maintain(tenant)

    @contextmanager
    def _call(self, operation: str, n: int | None = None) -> Iterator[Span | None]:
        attributes: dict[str, Value] = {names.DB_SYSTEM: self._system, names.DB_OPERATION: operation}
        if n is not None:
            attributes[names.DB_BATCH] = n

        def failed(kind: str) -> None:
            self._watch.metrics.add(m.STORE_FAILURES, operation, kind)

        name = f"{operation} {self._system}"
        with self._watch.call(name, m.STORE_SECONDS, failed, operation, attributes=attributes) as span:
            yield span


def _counted(span: Span | None, rows: Rows) -> Rows:
    if span is not None:
        span.set(names.DB_ROWS, len(rows))
    return rows
