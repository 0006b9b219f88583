"""Find the top chunks of the visible set for a question.

Delivery: at least once; a redelivery searches again, at the watermark it meets.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.agent import Outputs, agent
from millrace.events.corpus import DocumentIndexed
from millrace.events.query import ContextRetrieved, Dropped, Hit, QueryAdmitted
from millrace.rows import ChunkRow
from millrace.topics import CONTEXT_RETRIEVED, QUERY_ADMITTED

from agents.lexical import CorpusTerms
from agents.ports import Principal, QueryPorts, VisibleSet
from agents.query.duplicates import near_duplicates
from agents.query.policy import QueryPolicy
from agents.query.rank import Scored, capped, chunk_text, rank, rerank

FETCH_ROWS = 1_024


class Found(msgspec.Struct, frozen=True):
    """Candidates of a search: all visible, with what BM25 reads of them; the recorded statistics, if any are used.

    Light rows have no sentence vectors.
    """

    rows: Sequence[tuple[ChunkRow, str]]
    corpus: CorpusTerms | None
    statistics: str
    dropped: Counter[str]
    exact: bool
    light: bool = False


@agent(source=QUERY_ADMITTED, sinks=(CONTEXT_RETRIEVED,))
async def retrieve(question: QueryAdmitted, ports: QueryPorts) -> Outputs:
    """Search the visible set and rank what was found by our own score.

    Raises
    ------
    Unavailable
        If the model or the store is down.
    """
    view = ports.visibility.visible(
        question.tenant, Principal(question.user, frozenset(question.groups)), labels=question.labels or None
    )
    vector = (await ports.embedder.embed([question.question]))[0]  # alone: batch mates would change it
    exact = question.exact or view.n_chunks <= ports.policy.exact_below_chunks
    found = await (_exhaustive(question, view, ports) if exact else _nearest(question, vector, view, ports))
    ranked = await _ranked(question, vector, found, view, ports)
    dropped = found.dropped + Counter({"rank": len(found.rows) - len(ranked)})
    return ContextRetrieved(
        tenant=question.tenant,
        conversation=question.conversation,
        question=question.question,
        user=question.user,
        groups=question.groups,
        mode=question.mode,
        explain=question.explain,
        hits=hits_of(ranked, view),
        dropped=tuple(Dropped(reason, n) for reason, n in sorted(dropped.items())),
        watermark=view.watermark,
        exact=found.exact,
        statistics=found.statistics,
        n_chunks=found.corpus.n_chunks if found.corpus is not None else len(found.rows),
        model=ports.embedder.model,
        vector=vector.astype("<f4").tobytes(),
        labels=question.labels,
    )


async def _ranked(
    question: QueryAdmitted, vector: npt.NDArray[np.float32], found: Found, view: VisibleSet, ports: QueryPorts
) -> list[Scored]:
    """Rank all, look at the sentences of the best, and hold untrusted sources down."""
    policy = ports.policy
    window = max(policy.rerank_chunks, question.top_k)
    first = rank(question.question, vector, found.rows, found.corpus, policy.dense_weight, window)
    if found.light:
        fetched = await ports.vectors.fetch(question.tenant, [scored.row.chunk_id for scored in first])
        whole = {row.chunk_id: row for row in fetched}
        first = [msgspec.structs.replace(scored, row=whole.get(scored.row.chunk_id, scored.row)) for scored in first]
    best = rerank(vector, first, policy.rerank_weight)
    return chosen(best, view, policy, question.top_k)


def chosen(ranked: Sequence[Scored], view: VisibleSet, policy: QueryPolicy, top_k: int) -> list[Scored]:
    """The first `top_k` of what was ranked, with untrusted sources held down."""

    def source_of(document: str) -> str:
        version = view.get(document)
        return version.source if version is not None and version.trust == "untrusted" else ""

    return capped(ranked, source_of, policy.untrusted_source_share, top_k)


def hits_of(ranked: Sequence[Scored], view: VisibleSet) -> tuple[Hit, ...]:
    """What is recorded of chunks, best first."""
    versions = [view.get(scored.row.document) for scored in ranked]
    tiers = [version.trust if version is not None else "" for version in versions]
    repeated = near_duplicates([scored.row for scored in ranked], tiers)
    return tuple(
        _hit(scored, place, version, duplicate_of)
        for place, (scored, version, duplicate_of) in enumerate(zip(ranked, versions, repeated, strict=True), start=1)
    )


def _hit(scored: Scored, place: int, version: DocumentIndexed | None, duplicate_of: str) -> Hit:
    return Hit(
        chunk_id=scored.row.chunk_id,
        document=scored.row.document,
        version=version.version if version is not None else 0,
        rank=place,
        score=scored.score,
        dense=scored.dense,
        lexical=scored.lexical,
        sentence=scored.sentence,
        duplicate_of=duplicate_of,
    )


async def _exhaustive(question: QueryAdmitted, view: VisibleSet, ports: QueryPorts) -> Found:
    """All visible chunks, with statistics of just these: nothing else can influence the result."""
    headings = headings_of(view, view.documents())
    rows: list[tuple[ChunkRow, str]] = []
    wanted = sorted(headings)
    light = len(wanted) > ports.policy.light_above_chunks
    for start in range(0, len(wanted), FETCH_ROWS):
        fetched = await ports.vectors.fetch(question.tenant, wanted[start : start + FETCH_ROWS])
        if light:
            fetched = [_light(row) for row in fetched]
        rows += [(row, chunk_text(headings[row.chunk_id], row.text)) for row in fetched]
    return Found(rows, None, "visible", Counter(), exact=True, light=light)


async def _nearest(
    question: QueryAdmitted, vector: npt.NDArray[np.float32], view: VisibleSet, ports: QueryPorts
) -> Found:
    """Candidates of the store, as many as it takes to have enough visible ones."""
    policy = ports.policy
    few = view.documents() if view.n_documents <= policy.restrict_below_documents else None
    k = max(policy.candidates, question.top_k)
    dropped: Counter[str] = Counter()
    while True:
        visible, hidden, n_found = await _candidates(question, vector, view, ports, k=k, documents=few)
        dropped |= hidden  # a restricted search meets few hidden chunks: the counts of the open one stay
        enough = len(visible) >= question.top_k or few is not None
        if enough:
            break
        if n_found < k or 2 * k > policy.max_candidates:
            few = view.documents()
        else:
            k *= 2
    headings = headings_of(view, {row.document for row in visible})
    rows = [(row, chunk_text(headings.get(row.chunk_id, ""), row.text)) for row in visible]
    recorded = await ports.statistics.current(question.tenant)
    if recorded is None:
        return Found(rows, None, "candidates", dropped, exact=False)
    corpus = CorpusTerms(recorded.n_chunks, recorded.mean_tokens, recorded.frequencies)
    return Found(rows, corpus, f"epoch:{recorded.epoch}", dropped, exact=False)


async def _candidates(
    question: QueryAdmitted,
    vector: npt.NDArray[np.float32],
    view: VisibleSet,
    ports: QueryPorts,
    *,
    k: int,
    documents: Collection[str] | None,
) -> tuple[list[ChunkRow], Counter[str], int]:
    """Rows of the visible candidates, why others were dropped, and how many there were."""
    found = await ports.vectors.candidates(
        question.tenant, vector=vector, text=question.question, k=k, documents=documents
    )
    dropped: Counter[str] = Counter()
    visible: dict[str, ChunkRow | None] = {}
    for candidate in found:
        reason = view.why_not(candidate.document, candidate.chunk_id)
        if reason is None:
            visible[candidate.chunk_id] = candidate.row
        else:
            dropped[reason] += 1
    rows = {chunk_id: row for chunk_id, row in visible.items() if row is not None}
    missing = [chunk_id for chunk_id in visible if chunk_id not in rows]
    if missing:
        rows |= {row.chunk_id: row for row in await ports.vectors.fetch(question.tenant, missing)}
    return list(rows.values()), dropped, len(found)


def _light(row: ChunkRow) -> ChunkRow:
    """Row without its sentence vectors, which the first ranking does not need: they are most of its memory."""
    return msgspec.structs.replace(row, sentences=(), sentence_vectors=row.sentence_vectors[:0].copy())


def headings_of(view: VisibleSet, documents: Iterable[str]) -> dict[str, str]:
    """Heading path of every chunk of some visible documents."""
    headings: dict[str, str] = {}
    for document in documents:
        version = view.get(document)
        if version is not None:
            headings |= {ref.id: version.headings[ref.heading] for ref in version.chunks}
    return headings
