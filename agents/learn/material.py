"""What an attribution is concluded from: the chunks that were visible, and what they give for a question.

Rows come from the objects that their version names, not from the vector store, which may be what is broken; they are
ranked and read by the functions that ranked and read for the asker.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.concurrency import map_at_once
from millrace.errors import ContractError, LogTruncated, ObjectError
from millrace.events.learn import QualityScored
from millrace.events.query import Citation, ContextRetrieved, Hit
from millrace.rows import ChunkRow

from agents.corpus.rows_codec import decode_rows
from agents.learn.ports import AttributionPorts
from agents.learn.words import FUNCTION_TERMS, content_terms, share_held
from agents.lexical import terms
from agents.ports import Principal, VisibleSet
from agents.query.policy import QueryPolicy
from agents.query.rank import chunk_text, rank, rerank
from agents.query.read import answerable, cite, quotes, threshold
from agents.query.retrieve import chosen, headings_of, hits_of

AT_WATERMARK: Final = "watermark"
_READS: Final = 16
_SIMILAR: Final = 0.65
_NEAR_CHARS: Final = 2
_MAX_RESPELLED: Final = 8
"""Words that are looked for in a question: each is held against all words of all chunks."""


@lru_cache(maxsize=4_096)
def _words(text: str) -> frozenset[str]:
    """Words of a chunk; remembered, because several things are asked of the same chunks."""
    return frozenset(terms(text))


class Shelf(msgspec.Struct, frozen=True):
    """Chunks of a visible set.

    Attributes
    ----------
    rows : list of (ChunkRow, str)
        Each with what BM25 reads of it.
    n_unreadable : int
        Visible chunks that neither an object nor the store holds.
    """

    rows: list[tuple[ChunkRow, str]]
    n_unreadable: int

    def document_of(self, chunk_id: str) -> str:
        """Document of a chunk; empty for one that is not there."""
        return next((row.document for row, _ in self.rows if row.chunk_id == chunk_id), "")

    def searchable(self, expected: str) -> bool:
        """Whether a text has words that chunks can be told apart by."""
        return bool(content_terms(expected))

    def holding(self, expected: str, least_share: float) -> dict[str, float]:
        """Chunks that hold a text, each with the share of its words.

        Those that hold it as it stands, or else those with the largest share, if that is `least_share` or more.
        """
        wanted = set(content_terms(expected))
        if not wanted:
            return {}
        shares = {row.chunk_id: share_held(wanted, _words(text)) for row, text in self.rows}
        whole = [(row.chunk_id, text) for row, text in self.rows if shares[row.chunk_id] == 1.0]
        exact = {name: 1.0 for name, text in whole if _contains(text, terms(expected))}
        best = max(shares.values(), default=0.0)
        return exact or {name: share for name, share in shares.items() if share == best >= least_share}

    def unknown_share(self, question: str) -> float:
        """Share of the content words of a question that no chunk has, 0 to 1."""
        wanted = set(content_terms(question))
        known: set[str] = set()
        for _, text in self.rows:
            known |= wanted & _words(text)
        return 1.0 - share_held(wanted, known)

    def respelled(self, question: str) -> str:
        """The question with each word that no chunk has replaced by the most similar one that a chunk has.

        Empty where none is replaced, or where so many words are unknown that it is no slip of the pen. A word that
        nothing is similar to stays: it is not misspelt, but of something that is not there.
        """
        vocabulary = {term for _, text in self.rows for term in _words(text)}
        if len(set(content_terms(question)) - vocabulary) > _MAX_RESPELLED:
            return ""
        words = []
        looked_up: dict[str, list[str]] = {}
        n_replaced = 0
        for word in question.split():
            found = terms(word)
            if len(found) != 1 or found[0] in vocabulary or found[0] in FUNCTION_TERMS:
                words.append(word)
                continue
            if found[0] not in looked_up:
                near = [known for known in vocabulary if abs(len(known) - len(found[0])) <= _NEAR_CHARS]
                looked_up[found[0]] = difflib.get_close_matches(found[0], sorted(near), 1, _SIMILAR)
            similar = looked_up[found[0]]
            words.append(similar[0] if similar else word)
            n_replaced += len(similar)
        return " ".join(words) if n_replaced else ""


class Outcome(msgspec.Struct, frozen=True):
    """What a question should have brought, all stages working.

    Attributes
    ----------
    places : dict of str to int
        Place of every visible chunk, from 1.
    """

    question: str
    hits: tuple[Hit, ...]
    places: dict[str, int]
    citations: tuple[Citation, ...]


def says(quotes: Iterable[str], expected: str, least_share: float) -> bool:
    """Whether quotes hold a text, as it stands or by its words."""
    said = " ".join(quotes)
    wanted = content_terms(expected)
    return bool(wanted) and (_contains(said, terms(expected)) or share_held(wanted, terms(said)) >= least_share)


def views(scored: QualityScored, ports: AttributionPorts) -> tuple[VisibleSet, VisibleSet, str]:
    """What the asker may see now and could see then, and as of when the latter is: watermark, or now."""
    now = visible_now(scored, ports)
    if not scored.watermark:
        return now, now, "now"
    if scored.watermark == now.watermark:
        return now, now, AT_WATERMARK
    try:
        then = ports.visibility.visible(
            scored.tenant, _asker(scored), at=scored.watermark, labels=scored.labels or None
        )
    except (LogTruncated, ContractError):
        return now, now, "now"
    return now, then, AT_WATERMARK


def visible_now(scored: QualityScored, ports: AttributionPorts) -> VisibleSet:
    """What the asker may see now."""
    return ports.visibility.visible(scored.tenant, _asker(scored), labels=scored.labels or None)


def _asker(scored: QualityScored) -> Principal:
    return Principal(scored.user, frozenset(scored.groups))


async def shelf_of(tenant: str, view: VisibleSet, ports: AttributionPorts) -> Shelf:
    """Rows of all chunks of a visible set, from the objects that their versions name.

    Raises
    ------
    Unavailable
        If a store is down.
    """
    headings = headings_of(view, view.documents())
    found: dict[str, ChunkRow] = {}
    wanted = _objects(view)

    async def read(ref: str) -> None:
        try:
            rows = decode_rows(await ports.objects.get(ref))
        except (ObjectError, ContractError):
            return  # erased, or of another format: the store may still have the rows
        found.update({row.chunk_id: row for row in rows if row.chunk_id in wanted[ref]})

    await map_at_once(read, wanted, _READS)
    missing = [chunk_id for chunk_id in headings if chunk_id not in found]
    if missing:
        found |= {row.chunk_id: row for row in await ports.vectors.fetch(tenant, missing)}
    rows = [(found[name], chunk_text(heading, found[name].text)) for name, heading in headings.items() if name in found]
    return Shelf(rows, len(headings) - len(rows))


def _objects(view: VisibleSet) -> Mapping[str, set[str]]:
    """Chunks by the object that holds them."""
    wanted: dict[str, set[str]] = {}
    for document in view.documents():
        version = view.get(document)
        for ref in version.chunks if version is not None else ():
            wanted.setdefault(version.objects[ref.object], set()).add(ref.id)  # type: ignore[union-attr]  # it has chunks
    return wanted


def outcome_of(
    question: str,
    vector: npt.NDArray[np.float32],
    shelf: Shelf,
    view: VisibleSet,
    labels: Mapping[str, str],
    policy: QueryPolicy,
    top_k: int,
) -> Outcome:
    """Rank and read all visible chunks as `retrieve` and `read` do in exact mode."""
    first = rank(question, vector, shelf.rows, None, policy.dense_weight, len(shelf.rows))
    best = rerank(vector, first[: max(policy.rerank_chunks, top_k)], policy.rerank_weight)
    top = chosen(best, view, policy, top_k)
    hits = hits_of(top, view)
    order = dict.fromkeys(scored.row.chunk_id for scored in (*top, *best, *first))
    context = ContextRetrieved(
        tenant="", conversation="", question=question, hits=hits, n_chunks=len(shelf.rows),
        vector=vector.astype("<f4").tobytes(), labels=dict(labels),
    )  # fmt: skip
    citations: tuple[Citation, ...] = ()
    if answerable(question, hits, context.n_chunks) >= threshold(labels, policy):
        citations = cite(quotes(context, {scored.row.chunk_id: scored.row for scored in top}, policy), view)
    return Outcome(question, hits, {name: place for place, name in enumerate(order, 1)}, citations)


def agreement(recorded: Sequence[Hit], places: Mapping[str, int]) -> float:
    """Kendall's tau of the recorded order and another, -1 to 1; 1 where fewer than three hits are in both."""
    order = np.array(
        [places[hit.chunk_id] for hit in sorted(recorded, key=lambda hit: hit.rank) if hit.chunk_id in places]
    )
    if len(order) < 3:
        return 1.0
    later = np.triu(np.sign(order[np.newaxis, :] - order[:, np.newaxis]), 1)
    return float(later.sum() / (len(order) * (len(order) - 1) / 2))


def _contains(text: str, sequence: Sequence[str]) -> bool:
    return f" {' '.join(sequence)} " in f" {' '.join(terms(text))} "
