"""Ports in memory: small, exact and deterministic."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agents.corpus.emitted import EmittedVersions
from agents.corpus.policy import CorpusPolicy
from agents.guard.policy import GuardPolicy
from agents.learn.policy import LearnPolicy
from agents.learn.ports import AttributionPorts
from agents.ports import CorpusPorts, GuardPorts, QueryPorts, ReviewPorts, StatisticsPorts, TermStatistics
from agents.query.policy import QueryPolicy
from inference.hashing import HashingEmbedder
from millrace.errors import ObjectMissing, Unreadable
from millrace.event import Event
from millrace.events.query import AnswerProduced
from millrace.objects import check_content, reference
from millrace.parsed import ParsedSource
from millrace.rows import Candidate, ChunkRow, ScannedChunk
from tests.guard_fakes import MemoryPersonalData, MemoryReviewed, MemoryScanner, MemoryScans
from tests.visibility_fakes import MemoryAccess, MemoryVisibility


class CountingEmbedder(HashingEmbedder):
    """Hashes words, and remembers what it was asked."""

    def __init__(self, dim: int = 256) -> None:
        super().__init__(dim)
        self.calls: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.calls.append(list(texts))
        return await super().embed(texts)


@dataclass
class MemoryCache:
    """Embedding cache in a dict."""

    known: dict[tuple[str, str, str], bytes] = field(default_factory=dict)

    async def get_many(self, tenant: str, model: str, hashes: Sequence[str]) -> Mapping[str, bytes]:
        return {key: self.known[tenant, model, key] for key in hashes if (tenant, model, key) in self.known}

    async def put_many(self, tenant: str, model: str, values: Mapping[str, bytes]) -> None:
        self.known |= {(tenant, model, key): value for key, value in values.items()}


@dataclass
class MemoryObjects:
    """Object store in a dict."""

    objects: dict[str, bytes] = field(default_factory=dict)

    async def put(self, data: bytes) -> str:
        self.objects[reference(data)] = data
        return reference(data)

    async def get(self, ref: str) -> bytes:
        if ref not in self.objects:
            raise ObjectMissing(f"object {ref} is not there")
        return check_content(ref, self.objects[ref])


@dataclass
class MemoryParser:
    """Knows the documents it was told of, by their content."""

    known: dict[bytes, ParsedSource] = field(default_factory=dict)

    async def parse(self, content: Callable[[], Awaitable[bytes]], media_type: str) -> ParsedSource:
        data = await content()
        if data not in self.known:
            raise Unreadable("media_type", f"media type {media_type!r} cannot be read")
        return self.known[data]

    def language(self, text: str) -> str:
        return "en" if text else ""


@dataclass
class MemoryVectors:
    """Vector store in dicts: cosine over all rows, and words in common."""

    live: dict[str, dict[str, ChunkRow]] = field(default_factory=lambda: defaultdict(dict))
    archived: dict[str, dict[str, ChunkRow]] = field(default_factory=lambda: defaultdict(dict))
    searches: list[tuple[int, Collection[str] | None]] = field(default_factory=list)
    upserts: int = 0

    async def upsert(self, rows: Sequence[ChunkRow]) -> None:
        self.upserts += 1
        for row in rows:
            self.live[row.tenant].setdefault(row.chunk_id, row)

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        return set(chunk_ids) & (self.live[tenant].keys() | self.archived[tenant].keys())

    async def of_document(self, tenant: str, document: str) -> set[str]:
        both = self.live[tenant] | self.archived[tenant]
        return {row.chunk_id for row in both.values() if row.document == document}

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        both = self.live[tenant] | self.archived[tenant]
        return [both[chunk_id] for chunk_id in chunk_ids if chunk_id in both]

    async def candidates(
        self,
        tenant: str,
        *,
        vector: npt.NDArray[np.float32],
        text: str,
        k: int,
        documents: Collection[str] | None = None,
    ) -> list[Candidate]:
        self.searches.append((k, documents))
        rows = list(self.live[tenant].values())
        if documents is not None:
            allowed = set(documents)
            rows = [row for row in rows if row.document in allowed]
        words = set(text.lower().split())
        dense = sorted(rows, key=lambda row: (-float(row.vector @ vector), row.chunk_id))[:k]
        lexical = sorted(rows, key=lambda row: (-len(words & set(row.text.lower().split())), row.chunk_id))[:k]
        unique = {row.chunk_id: row for row in (*dense, *lexical)}
        return [Candidate(chunk_id=row.chunk_id, document=row.document) for row in unique.values()]

    async def archive(self, tenant: str, chunk_ids: Collection[str]) -> None:
        _move(self.live[tenant], self.archived[tenant], chunk_ids)

    async def restore(self, tenant: str, chunk_ids: Collection[str]) -> None:
        _move(self.archived[tenant], self.live[tenant], chunk_ids)

    async def delete(self, tenant: str, chunk_ids: Collection[str]) -> None:
        for chunk_id in chunk_ids:
            self.live[tenant].pop(chunk_id, None)
            self.archived[tenant].pop(chunk_id, None)

    async def count(self, tenant: str) -> int:
        return len(self.live[tenant])

    async def scan(self, tenant: str, *, texts: bool = False) -> AsyncIterator[ScannedChunk]:
        for row in self.live[tenant].values():
            text = row.text if texts else None
            yield ScannedChunk(chunk_id=row.chunk_id, document=row.document, archived=False, text=text)


def _move(source: dict[str, ChunkRow], target: dict[str, ChunkRow], chunk_ids: Collection[str]) -> None:
    for chunk_id in chunk_ids:
        if chunk_id in source:
            target[chunk_id] = source.pop(chunk_id)


@dataclass
class MemoryAnswers:
    """Terminal records by tenant and correlation id; the first one stays."""

    records: dict[tuple[str, str], AnswerProduced] = field(default_factory=dict)

    def find(self, tenant: str, correlation: str) -> AnswerProduced | None:
        return self.records.get((tenant, correlation))

    def fold(self, record: AnswerProduced) -> None:
        self.records.setdefault((record.tenant, record.correlation), record)


@dataclass
class MemoryCancellations:
    """Cancelled questions, in a set; a question that is not among them is never cancelled."""

    known: set[tuple[str, str]] = field(default_factory=set)

    def watch(self, tenant: str, correlation: str) -> Awaitable[None]:
        watcher: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if (tenant, correlation) in self.known:
            watcher.set_result(None)
        return watcher


@dataclass
class MemoryStatistics:
    """Term statistics in a dict."""

    records: dict[str, TermStatistics] = field(default_factory=dict)

    async def current(self, tenant: str) -> TermStatistics | None:
        return self.records.get(tenant)


@dataclass
class Stack:
    """All ports of one in-memory stack."""

    embedder: CountingEmbedder = field(default_factory=CountingEmbedder)
    cache: MemoryCache = field(default_factory=MemoryCache)
    objects: MemoryObjects = field(default_factory=MemoryObjects)
    parser: MemoryParser = field(default_factory=MemoryParser)
    vectors: MemoryVectors = field(default_factory=MemoryVectors)
    visibility: MemoryVisibility = field(default_factory=MemoryVisibility)
    answers: MemoryAnswers = field(default_factory=MemoryAnswers)
    cancellations: MemoryCancellations = field(default_factory=MemoryCancellations)
    statistics: MemoryStatistics = field(default_factory=MemoryStatistics)
    emitted: EmittedVersions = field(default_factory=EmittedVersions)
    scanner: MemoryScanner = field(default_factory=MemoryScanner)
    known_scans: MemoryScans = field(default_factory=MemoryScans)
    reviewed: MemoryReviewed = field(default_factory=MemoryReviewed)
    personal_data: MemoryPersonalData = field(default_factory=MemoryPersonalData)
    guard_policy: GuardPolicy = field(default_factory=GuardPolicy)
    corpus_policy: CorpusPolicy = field(default_factory=CorpusPolicy)
    learn_policy: LearnPolicy = field(default_factory=LearnPolicy)
    query_policy: QueryPolicy = field(default_factory=QueryPolicy)

    @property
    def corpus(self) -> CorpusPorts:
        return CorpusPorts(
            embedder=self.embedder,
            cache=self.cache,
            objects=self.objects,
            parser=self.parser,
            vectors=self.vectors,
            visibility=self.visibility,
            emitted=self.emitted,
            policy=self.corpus_policy,
        )

    @property
    def query(self) -> QueryPorts:
        return QueryPorts(
            embedder=self.embedder,
            vectors=self.vectors,
            visibility=self.visibility,
            answers=self.answers,
            cancellations=self.cancellations,
            statistics=self.statistics,
            policy=self.query_policy,
            n_reply_partitions=4,
            scanner=self.scanner,
            known_scans=self.known_scans,
            personal_data=self.personal_data,
            guard=self.guard_policy,
        )

    @property
    def guard(self) -> GuardPorts:
        return GuardPorts(
            scanner=self.scanner,
            known_scans=self.known_scans,
            objects=self.objects,
            guard=self.guard_policy,
            reviewed=self.reviewed,
        )

    @property
    def reviewing(self) -> ReviewPorts:
        return ReviewPorts(reviewed=self.reviewed, access=MemoryAccess(self.visibility), objects=self.objects)

    @property
    def attribution(self) -> AttributionPorts:
        return AttributionPorts(
            embedder=self.embedder,
            objects=self.objects,
            vectors=self.vectors,
            visibility=self.visibility,
            query=self.query_policy,
            policy=self.learn_policy,
        )

    @property
    def counting(self) -> StatisticsPorts:
        return StatisticsPorts(
            texts=self.vectors, statistics=self.statistics, objects=self.objects, policy=self.corpus_policy
        )

    def restarted(self) -> "Stack":
        """The same stores, with a process's memory gone."""
        return Stack(**{**self.__dict__, "emitted": EmittedVersions()})

    def fold(self, events: Iterable[Event]) -> None:
        for event in events:
            self.visibility.fold(event)
            self.reviewed.fold(event)
            if isinstance(event, AnswerProduced):
                self.answers.fold(event)
