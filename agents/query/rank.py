"""Order chunks by a score made of recorded ingredients: pure and repeatable.

Cosine and BM25 are each brought to 0..1 over the candidates (relative-score fusion) and added with weights. The best
by that sum are ordered anew with the cosine of their best sentence added, brought to 0..1 over themselves: a chunk that
says much besides the answer is not behind one that is all about the topic. Sentences that differ little stay near each
other: those from one template differ by a number alone, which vectors hardly see and BM25 does. Scores are rounded
before they are compared and ties are broken by chunk id, so that the same chunks get the same order whatever store or
batch they came from.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.rows import ChunkRow

from agents.lexical import CorpusTerms, bm25, count

DECIMALS = 6
MIN_SPREAD = 0.15
"""Cosines of best sentences that lie closer together than this, all of them, are not spread over all of 0..1."""


class Scored(msgspec.Struct, frozen=True):
    """A chunk with its ingredients and its final score."""

    row: ChunkRow
    score: float
    dense: float
    lexical: float
    sentence: float = 0.0


def chunk_text(heading: str, text: str) -> str:
    """What BM25 reads of a chunk."""
    return f"{heading}\n{text}" if heading else text


def rank(
    question: str,
    vector: npt.NDArray[np.float32],
    rows: Sequence[tuple[ChunkRow, str]],
    corpus: CorpusTerms | None,
    dense_weight: float,
    limit: int,
) -> list[Scored]:
    """Score and sort candidates.

    Parameters
    ----------
    question : str
        The question.
    vector : numpy.ndarray
        Its vector, shape (dim,), float32, L2 norm 1.
    rows : sequence of (ChunkRow, str)
        Candidates, each once, with what BM25 reads of them.
    corpus : CorpusTerms, optional
        Statistics for BM25; those of the candidates themselves where there is no record.
    dense_weight : float
        Weight of the cosine, 0..1.
    limit : int
        How many to return.

    Returns
    -------
    list of Scored
        Best first.
    """
    if not rows:
        return []
    canonical = sorted(rows, key=lambda pair: pair[0].chunk_id)
    matrix = np.stack([row.vector for row, _ in canonical]).astype(np.float64)
    dense = np.round(matrix @ vector.astype(np.float64), DECIMALS)
    counts = count(question, [text for _, text in canonical])
    lexical = np.round(bm25(counts, corpus or counts.statistics()), DECIMALS)
    final = np.round(dense_weight * relative(dense) + (1 - dense_weight) * relative(lexical), DECIMALS)
    best_first = np.lexsort((-dense, -final))[:limit]  # stable: equal ones stay in order of chunk id
    return [Scored(canonical[i][0], float(final[i]), float(dense[i]), float(lexical[i])) for i in best_first]


def rerank(vector: npt.NDArray[np.float32], scored: Sequence[Scored], weight: float) -> list[Scored]:
    """Order ranked chunks anew by their score and the cosine of their best sentence.

    Parameters
    ----------
    vector : numpy.ndarray
        The question's vector, shape (dim,), float32, L2 norm 1.
    scored : sequence of Scored
        What `rank` found, with rows that hold their sentence vectors.
    weight : float
        Weight of the sentence, 0..1; the rest is the score's.

    Returns
    -------
    list of Scored
        All of them, best first; a chunk without sentences counts as one sentence.
    """
    if not scored:
        return []
    wide = vector.astype(np.float64)
    best = [float(np.max(each.row.sentence_vectors @ wide, initial=-1.0)) for each in scored]
    has = [len(each.row.sentence_vectors) > 0 for each in scored]
    found = np.array([cosine if there else each.dense for cosine, there, each in zip(best, has, scored, strict=True)])
    sentence = np.round(found, DECIMALS)
    first = np.array([each.score for each in scored])
    final = np.round((1 - weight) * first + weight * relative(sentence, MIN_SPREAD), DECIMALS)
    return [
        msgspec.structs.replace(scored[i], score=float(final[i]), sentence=float(sentence[i]))
        for i in np.argsort(-final, kind="stable")
    ]


def capped(scored: Sequence[Scored], source_of: Callable[[str], str], share: float, limit: int) -> list[Scored]:
    """Choose the first chunks, but of each source that is to be held down no more than a share.

    Places that nothing else can fill go to held down sources after all.

    Parameters
    ----------
    scored : sequence of Scored
        Best first.
    source_of : callable
        Source of a document; empty where it is not held down.
    share : float
        Share of `limit`, 0..1; one chunk is always allowed.
    limit : int
        How many to choose.

    Returns
    -------
    list of Scored
        At most `limit`, best first.
    """
    most = max(int(share * limit), 1)
    taken: Counter[str] = Counter()
    chosen: list[int] = []
    over: list[int] = []
    for place, each in enumerate(scored):
        source = source_of(each.row.document)
        if source and taken[source] >= most:
            over.append(place)
        else:
            taken[source] += 1
            chosen.append(place)
    chosen = [*chosen[:limit], *over[: max(limit - len(chosen), 0)]]
    return [scored[place] for place in sorted(chosen)]


def relative(scores: npt.NDArray[np.float64], min_spread: float = 0.0) -> npt.NDArray[np.float64]:
    """Bring scores to 0..1, the best to 1; equal scores all become 1 where they are positive, else 0.

    Parameters
    ----------
    scores : numpy.ndarray
        Shape (n,), float64, n at least 1.
    min_spread : float
        A difference of so much counts as all of 0..1 where the scores lie closer together.
    """
    low, high = float(scores.min()), float(scores.max())
    if high > low:
        return 1.0 - (high - scores) / max(high - low, min_spread)
    return np.full_like(scores, 1.0 if high > 0 else 0.0)
