"""Read an answer from the retrieved chunks: their best sentences, quoted word for word, or an honest no.

Delivery: at least once; a redelivery reads again.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from millrace.agent import Outputs, agent
from millrace.events.query import Citation, CompletionGenerated, ContextRetrieved, Hit
from millrace.rows import ChunkRow
from millrace.topics import COMPLETION_GENERATED, CONTEXT_RETRIEVED

from agents.guard.answer import SEPARATOR
from agents.lexical import CorpusTerms, bm25, count, terms
from agents.ports import Principal, QueryPorts, VisibleSet
from agents.query.policy import QueryPolicy

TOLD = frozenset({"superseded", "deleted", "filtered", "rank"})
"""Reasons for which a drop is told to the asker: those of documents that they may, or could, read."""
READER = "sentences@2"
SCORE_DECIMALS = 6


class Quote(msgspec.Struct, frozen=True):
    """Neighbouring sentences of one chunk, `first` to `last`, with the best of their scores."""

    hit: Hit
    row: ChunkRow
    first: int
    last: int
    score: float

    @property
    def span(self) -> tuple[int, int]:
        """Characters within the chunk's text."""
        return self.row.sentences[self.first][0], self.row.sentences[self.last][1]


@agent(source=CONTEXT_RETRIEVED, sinks=(COMPLETION_GENERATED,))
async def read(context: ContextRetrieved, ports: QueryPorts) -> Outputs:
    """Quote the sentences nearest to the question, or say that the corpus does not hold the answer."""
    confidence = answerable(context.question, context.hits, context.n_chunks)
    citations: tuple[Citation, ...] = ()
    n_words = 0
    policy = ports.policy
    if context.mode == "answer" and confidence >= threshold(context.labels, policy):
        rows = {
            row.chunk_id: row
            for row in await ports.vectors.fetch(context.tenant, [hit.chunk_id for hit in context.hits])
        }
        n_words = sum(len(row.text.split()) for row in rows.values())
        view = ports.visibility.visible(context.tenant, Principal(context.user, frozenset(context.groups)))
        citations = cite(quotes(context, rows, policy), view)
    text = SEPARATOR.join(citation.quote for citation in citations)
    return CompletionGenerated(
        tenant=context.tenant,
        conversation=context.conversation,
        text=text,
        found=bool(citations) if context.mode == "answer" else bool(context.hits),
        citations=citations,
        groups=context.groups,
        user=context.user,
        mode=context.mode,
        explain=context.explain,
        hits=context.hits,
        dropped=tuple(drop for drop in context.dropped if drop.reason in TOLD) if context.explain else (),
        watermark=context.watermark,
        model=READER if context.mode == "answer" else "",
        confidence=confidence,
        n_tokens_in=n_words,
        n_tokens_out=len(text.split()),
        question=context.question,
    )


def threshold(labels: Mapping[str, str], policy: QueryPolicy) -> float:
    """Signal below which the corpus is said to hold no answer, for a question restricted by `labels`."""
    return policy.restricted_threshold if labels else policy.answer_threshold


def answerable(question: str, hits: Sequence[Hit], n_chunks: int) -> float:
    """Signal that the corpus holds an answer: that of the best hit; larger is surer, 0 without hits."""
    return max(signals(question, hits, n_chunks), default=0.0)


def signals(question: str, hits: Sequence[Hit], n_chunks: int) -> list[float]:
    """How well each hit fits the question, comparable between questions as scores within one result are not.

    Cosine + BM25 / (words of the question x idf of a term that one chunk holds). The division by the largest idf makes
    one threshold fit corpora of every size, which plain BM25 does not.
    """
    most = _most(question, n_chunks)
    return [round(hit.dense + hit.lexical / most, 6) for hit in hits]


def _most(question: str, n_texts: int) -> float:
    """What BM25 is divided by: a bound of the sum of idf over the question's words."""
    return max(len(terms(question)), 1) * CorpusTerms(max(n_texts, 1), 0.0, {}).idf("")


def quotes(context: ContextRetrieved, rows: Mapping[str, ChunkRow], policy: QueryPolicy) -> list[Quote]:
    """Best sentences, best first; those next to each other are one quote."""
    merged: list[Quote] = []
    for quote in sorted(best_sentences(context, rows, policy), key=lambda quote: (quote.hit.rank, quote.first)):
        before = merged[-1] if merged else None
        if before is not None and before.row.chunk_id == quote.row.chunk_id and before.last + 1 == quote.first:
            joined = msgspec.structs.replace(before, last=quote.last, score=max(before.score, quote.score))
            merged[-1] = joined
        else:
            merged.append(quote)
    return sorted(merged, key=lambda quote: (-quote.score, quote.hit.rank, quote.first))


def best_sentences(context: ContextRetrieved, rows: Mapping[str, ChunkRow], policy: QueryPolicy) -> list[Quote]:
    """The sentences that are quoted, one by one, best first.

    A sentence counts by its own signal and by that of its chunk. Its own is made in the same way, with BM25 over the
    sentences at hand. Near-duplicates of better chunks are not read, so that no answer says the same twice.
    """
    vector = np.frombuffer(context.vector, dtype="<f4")
    found: list[tuple[Quote, float]] = []
    texts: list[str] = []
    for hit, signal in zip(context.hits, signals(context.question, context.hits, context.n_chunks), strict=True):
        row = rows.get(hit.chunk_id)
        if row is None or not row.sentences or hit.duplicate_of:
            continue
        cosines = row.sentence_vectors.astype(np.float32) @ vector
        for i, (start, end) in enumerate(row.sentences):
            found.append((Quote(hit, row, i, i, signal), float(cosines[i])))
            texts.append(row.text[start:end])
    if not found:
        return []
    counts = count(context.question, texts)
    lexical = bm25(counts, counts.statistics()) / _most(context.question, len(texts))
    weight = policy.sentence_weight
    scored = [
        msgspec.structs.replace(
            quote, score=round(weight * (cosine + float(words)) + (1 - weight) * quote.score, SCORE_DECIMALS)
        )
        for (quote, cosine), words in zip(found, lexical, strict=True)
    ]
    scored.sort(key=lambda quote: (-quote.score, quote.hit.rank, quote.first))
    return [quote for quote in scored[: policy.max_quotes] if quote.score >= scored[0].score - policy.quote_margin]


def cite(found: Sequence[Quote], view: VisibleSet) -> tuple[Citation, ...]:
    """Point each quote into the parsed text of its document's visible version; what is not visible is left out."""
    citations = []
    for quote in found:
        version = view.get(quote.row.document)
        ref = next((ref for ref in version.chunks if ref.id == quote.row.chunk_id), None) if version else None
        if version is None or ref is None:
            continue
        start, end = quote.span
        citations.append(
            Citation(
                document=version.document,
                version=version.version,
                chunk_id=ref.id,
                title=version.title,
                heading=version.headings[ref.heading],
                start=ref.start + start,
                end=ref.start + end,
                quote=quote.row.text[start:end],
            )
        )
    return tuple(citations)
