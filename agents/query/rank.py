"""Order chunks by a score made of recorded ingredients: pure and repeatable.

Cosine and BM25 are each brought to 0..1 over the candidates (relative-score fusion) and added with weights. Scores are
rounded before they are compared and ties are broken by chunk id, so that the same chunks get the same order whatever
store or batch they came from.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
from millrace.rows import ChunkRow

from agents.lexical import CorpusTerms, bm25, count

DECIMALS = 6


class Scored(msgspec.Struct, frozen=True):
    """A chunk with its ingredients and its final score."""

    row: ChunkRow
    score: float
    dense: float
    lexical: float


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


def relative(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bring scores to 0..1; equal scores all become 1 where they are positive, else 0."""
    low, high = float(scores.min()), float(scores.max())
    if high > low:
        return (scores - low) / (high - low)
    return np.full_like(scores, 1.0 if high > 0 else 0.0)
