"""The shipped agents over documents of a data set: the real store and visibility table, no broker."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from agents.corpus.emitted import EmittedVersions
from agents.corpus.featurize import featurize
from agents.corpus.index import index
from agents.corpus.policy import CorpusPolicy
from agents.guard.policy import GuardPolicy
from agents.ports import CorpusPorts, QueryPorts, TermStatistics
from agents.query.policy import QueryPolicy
from agents.query.read import Quote, best_sentences, read
from agents.query.retrieve import retrieve
from bench.datasets import Document
from bench.quality.measures import Passage
from inference.embedder import OnnxEmbedder
from inference.embedding_cache import EmbeddingCache
from millrace.agent import Outputs, spec_of
from millrace.codec import Codec
from millrace.event import E, Event
from millrace.events.corpus import AclChanged, DocumentIndexed, SourceChanged
from millrace.events.query import AnswerProduced, CompletionGenerated, ContextRetrieved, Hit, QueryAdmitted
from millrace.ids import derived
from millrace.reader import RawRecord
from millrace.testing import Memory, delivered
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, Topic
from streams.stores.lance import LanceVectorStore
from streams.stores.objects import ContentStore
from streams.visibility.table import VisibilityTable

TENANT = "bench"
TOP_K = 10
_BATCH = 64


class Reading(msgspec.Struct, frozen=True):
    """What one question brought: chunks and sentences, best first, and the signal it is refused by."""

    chunks: tuple[Passage, ...]
    sentences: tuple[Passage, ...]
    signal: float
    found: bool


class _Confirmed:
    """The visibility table as a port; nothing is ever behind here."""

    def __init__(self, table: VisibilityTable) -> None:
        self._table = table

    def confirmed(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)


class _NoStatistics:
    """No record of terms: sets of this size are searched exactly."""

    async def current(self, tenant: str) -> TermStatistics | None:  # noqa: ARG002 - the port's name
        return None


class _PlainText:
    """A parser that is never needed: all documents are plain text, and nobody asks for their language."""

    def language(self, text: str) -> str:  # noqa: ARG002 - the port's name
        return ""


class _Remembering:
    """The embedder, which is asked the same question again without its article."""

    def __init__(self, embedder: OnnxEmbedder) -> None:
        self._embedder = embedder
        self._known: dict[str, npt.NDArray[np.float32]] = {}
        self.model, self.dim, self.max_tokens = embedder.model, embedder.dim, embedder.max_tokens
        self.count_tokens = embedder.count_tokens

    async def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        if len(texts) != 1:
            return await self._embedder.embed(texts)
        if texts[0] not in self._known:
            self._known[texts[0]] = await self._embedder.embed(texts)
        return self._known[texts[0]]


class QualityStack:
    """Documents that were indexed, and questions about them.

    Attributes
    ----------
    documents : list of Document
        What was indexed.
    groups : dict of str to set of str
        Documents of each article or policy, whose name is the group that may read it.
    corpus, query : CorpusPorts, QueryPorts
        What the agents work with.
    table : VisibilityTable
        What is visible.
    """

    def __init__(self, corpus: CorpusPorts, query: QueryPorts, table: VisibilityTable) -> None:
        self.corpus = corpus
        self.query = query
        self.table = table
        self._codec = Codec()
        self._offsets: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)
        self._chunks: dict[str, tuple[Passage, ...]] = {}
        self._places: dict[str, Passage] = {}
        self.documents: list[Document] = []
        self.groups: dict[str, set[str]] = {}

    async def ingest(self, documents: Iterable[Document]) -> None:
        """Index documents as the agents do, and make each readable by the group of its article or policy."""
        memory = Memory([spec_of(featurize), spec_of(index)], ports=self.corpus)
        waiting = list(documents)
        self.documents += waiting
        for document in waiting:
            self.groups.setdefault(document.labels.get("policy") or document.id, set()).add(document.id)
        group_of = {document: group for group, members in self.groups.items() for document in members}
        for start in range(0, len(waiting), _BATCH):
            for event in await memory.feed([_change(each) for each in waiting[start : start + _BATCH]]):
                if isinstance(event, DocumentIndexed):
                    self._fold(event, group_of[event.document])
        if memory.dead_letters:
            raise memory.dead_letters[0].error

    def members(self, group: str) -> frozenset[str]:
        """Documents of a group."""
        return frozenset(self.groups[group])

    def chunks(self, documents: Iterable[str]) -> list[Passage]:
        """All chunks of some documents."""
        return [chunk for document in documents for chunk in self._chunks[document]]

    async def ask(self, question: str, groups: Collection[str], labels: Mapping[str, str]) -> Reading:
        """Retrieve and read as one who is in some groups."""
        context = await self._retrieve(question, groups, labels, TOP_K)
        completion = _only(await read(context, self.query), CompletionGenerated)
        rows = await self.query.vectors.fetch(TENANT, [hit.chunk_id for hit in context.hits])
        found = best_sentences(context, {row.chunk_id: row for row in rows}, self.query.policy)
        return Reading(
            chunks=tuple(self._places[hit.chunk_id] for hit in context.hits),
            sentences=tuple(_sentence(quote, self._places[quote.row.chunk_id]) for quote in found),
            signal=completion.confidence,
            found=completion.found,
        )

    async def answer(self, question: str, groups: Collection[str], labels: Mapping[str, str]) -> AnswerProduced:
        """The record that a question ends with, without the guards, which change no score."""
        context = await self._retrieve(question, groups, labels, TOP_K)
        completion = _only(await read(context, self.query), CompletionGenerated)
        return AnswerProduced(
            tenant=TENANT,
            conversation=context.conversation,
            correlation=derived(question, *labels.values()),
            status="answered" if completion.found else "not_found",
            hits=completion.hits,
            confidence=completion.confidence,
        )

    async def score_all(
        self, question: str, groups: Collection[str], labels: Mapping[str, str]
    ) -> tuple[tuple[Hit, ...], list[Passage]]:
        """All that is visible, scored, with its places."""
        context = await self._retrieve(question, groups, labels, len(self._places))
        return context.hits, [self._places[hit.chunk_id] for hit in context.hits]

    async def _retrieve(
        self, question: str, groups: Collection[str], labels: Mapping[str, str], top_k: int
    ) -> ContextRetrieved:
        asked = QueryAdmitted(
            tenant=TENANT,
            conversation="c",
            question=question,
            groups=tuple(groups),
            labels=dict(labels),
            top_k=top_k,
        )
        return delivered(_only(await retrieve(delivered(asked), self.query), ContextRetrieved))

    def _fold(self, event: DocumentIndexed, group: str) -> None:
        access = AclChanged(tenant=TENANT, document=event.document, version=1, groups=(group,))
        self.table.fold([self._record(ACL_CHANGED, delivered(access)), self._record(DOCUMENT_INDEXED, event)])
        places = {ref.id: Passage(event.document, ref.start, ref.end) for ref in event.chunks}
        self._chunks[event.document] = tuple(places.values())
        self._places |= places

    def _record(self, topic: Topic, event: Event) -> RawRecord:
        record = self._codec.record(topic, event)
        offset = next(self._offsets[topic.name])
        return RawRecord(topic.name, 0, offset, -1, record.key, record.value, record.headers)


@asynccontextmanager
async def open_stack(folder: Path, models: Path, cache: Path, policy: QueryPolicy) -> AsyncIterator[QualityStack]:
    """Open an empty stack.

    Parameters
    ----------
    folder : Path
        For its state; empty.
    models : Path
        Folder of converted models.
    cache : Path
        File of the embedding cache, kept from run to run.
    policy : QueryPolicy
        Configuration to measure.
    """
    embedder = await asyncio.to_thread(OnnxEmbedder.load, models)
    vectors = LanceVectorStore(folder / "vectors", dim=embedder.dim)
    table = VisibilityTable.open(folder / "table.visibility.db", Codec())
    known = EmbeddingCache(cache)
    try:
        view: Any = _Confirmed(table)
        parser: Any = _PlainText()
        unused: Any = None
        objects = ContentStore(folder / "objects", flush=False)
        asked = _Remembering(embedder)
        yield QualityStack(
            CorpusPorts(embedder, known, objects, parser, vectors, view, EmittedVersions(), CorpusPolicy()),
            QueryPorts(
                embedder=asked, vectors=vectors, visibility=view, answers=unused, cancellations=unused,
                statistics=_NoStatistics(), policy=policy, n_reply_partitions=1, scanner=unused, known_scans=unused,
                personal_data=unused, guard=GuardPolicy(questions=False, answers=False),
            ),
            table,
        )  # fmt: skip
    finally:
        known.close()
        table.close()
        await vectors.close()
        embedder.close()


def _change(document: Document) -> SourceChanged:
    return SourceChanged(
        tenant=TENANT, document=document.id, version=1, text=document.text, media_type="text/plain",
        n_bytes=len(document.text.encode()), labels=dict(document.labels),
    )  # fmt: skip


def _only(made: Outputs, kind: type[E]) -> E:
    events = [made] if isinstance(made, Event) else list(made or ())
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def _sentence(quote: Quote, chunk: Passage) -> Passage:
    start, end = quote.span
    return Passage(chunk.document, chunk.start + start, chunk.start + end)
