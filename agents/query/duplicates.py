"""Note which chunks of a result say what a better one says already: pure.

Two rows of a price list are not copies: texts that hold other numbers never repeat each other. Only the chunks that one
principal sees in one result are compared, and only within one trust tier: nothing is learnt about the corpora of
others, and no untrusted copy can take the place of a trusted original.
"""

from collections.abc import Sequence

import numpy as np
from millrace.rows import ChunkRow

from agents.lexical import terms

SHINGLE = 3
MIN_JACCARD = 0.8
MIN_COSINE = 0.9
"""Below it no two texts are compared by their words; copies with a few words changed lie well above."""


def near_duplicates(rows: Sequence[ChunkRow], tiers: Sequence[str]) -> list[str]:
    """Find near-duplicates by the Jaccard index of their three-word shingles (Broder, 1997).

    Parameters
    ----------
    rows : sequence of ChunkRow
        Best first.
    tiers : sequence of str
        Trust tier of each; chunks of different tiers are never duplicates of each other.

    Returns
    -------
    list of str
        For each row the id of the first better one that it repeats, or an empty text.
    """
    if len(rows) < 2:
        return [""] * len(rows)
    matrix = np.stack([row.vector for row in rows]).astype(np.float64)
    near = matrix @ matrix.T >= MIN_COSINE
    shingles: dict[int, frozenset[tuple[str, ...]]] = {}
    found = [""] * len(rows)
    for later in range(1, len(rows)):
        for earlier in np.flatnonzero(near[later, :later]).tolist():
            if found[earlier] or tiers[earlier] != tiers[later]:
                continue
            for i in (earlier, later):
                if i not in shingles:
                    shingles[i] = _shingles(rows[i].text)
            left, right = shingles[earlier], shingles[later]
            if _jaccard(left, right) >= MIN_JACCARD and _figures(left) == _figures(right):
                found[later] = rows[earlier].chunk_id
                break
    return found


def _shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = terms(text)
    n = min(SHINGLE, max(len(words), 1))
    return frozenset(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _figures(shingles: frozenset[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(word for shingle in shingles for word in shingle if any(map(str.isdigit, word)))


def _jaccard(left: frozenset[tuple[str, ...]], right: frozenset[tuple[str, ...]]) -> float:
    both = len(left | right)
    return len(left & right) / both if both else 1.0
