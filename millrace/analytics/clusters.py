"""Group question vectors. Deterministic: nothing is drawn.

Vectors are to differ; how many questions have one is told apart from them, for a question that all ask is no denser
than one that few do. Average linkage on cosine distance, cut where the mean silhouette (Rousseeuw 1987) is largest; of
cuts that are about as good, the coarsest. A group that would hold a large part of all questions is divided once more by
Ward's method, again by silhouette, for a corpus about one thing has topics too. What is in no group of `LEAST`
questions stays apart.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import silhouette_score

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

LEAST: Final = 3
MOST: Final = 2_000
"""More vectors are not grouped at once: distances take 32 MB then."""
APART: Final = -1
_CUTS: Final = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
USUAL: Final = 0.85
"""Cut where silhouettes say nothing: questions too few or too much alike."""
_AS_GOOD: Final = 0.95
_LARGE: Final = 0.25
_LARGE_N: Final = 30
_PARTS: Final = range(3, 13)
_ALIKE: Final = 0.2
"""Where the mean distance to the centre is below, a large group is one question in many words."""


def cluster(vectors: Vectors, counts: Labels) -> tuple[Labels, float]:
    """Group vectors.

    Parameters
    ----------
    vectors : float32 array of shape (n, d)
        L2-normalised, all different, n at most `MOST`.
    counts : int64 array of shape (n,)
        How many questions have each of them.

    Returns
    -------
    int64 array of shape (n,)
        Group of each from 0, largest first; `APART` for those in none.
    float
        Mean cosine distance up to which groups were joined.
    """
    if len(vectors) < LEAST:
        return _numbered(np.arange(len(vectors), dtype=np.int64), counts), USUAL
    distances = _distances(vectors)
    labels, cut = _linked(distances)
    for group, n in zip(*np.unique(labels, return_counts=True), strict=True):
        members = np.flatnonzero(labels == group)
        if n >= max(_LARGE_N, _LARGE * len(vectors)) and _spread(vectors[members]) >= _ALIKE:
            labels[members] = labels.max() + 1 + _divided(vectors[members], distances[np.ix_(members, members)])
    return _numbered(labels, counts), cut


def centre(vectors: Vectors) -> Vectors:
    """Mean direction of some vectors, L2-normalised."""
    mean = vectors.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def _distances(vectors: Vectors) -> npt.NDArray[np.float64]:
    found = 1.0 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    np.fill_diagonal(found, 0.0)
    return np.clip(found, 0.0, 2.0)


def _linked(distances: npt.NDArray[np.float64]) -> tuple[Labels, float]:
    cuts = []
    for height in _CUTS:
        linkage = AgglomerativeClustering(
            n_clusters=None, distance_threshold=height, metric="precomputed", linkage="average"
        )
        labels = linkage.fit_predict(distances).astype(np.int64)
        cuts.append((_silhouette(distances, labels), height, labels))
    best = max(score for score, _, _ in cuts)
    if best <= 0:
        return next((labels, height) for _, height, labels in cuts if height == USUAL)
    return next((labels, height) for score, height, labels in reversed(cuts) if score >= best * _AS_GOOD)


def _divided(vectors: Vectors, distances: npt.NDArray[np.float64]) -> Labels:
    best, chosen = 0.0, np.zeros(len(vectors), dtype=np.int64)
    for parts in _PARTS:
        if parts * LEAST > len(vectors):
            break
        labels = AgglomerativeClustering(n_clusters=parts, linkage="ward").fit_predict(vectors).astype(np.int64)
        score = _silhouette(distances, labels)
        if score > best:
            best, chosen = score, labels
    return chosen


def _silhouette(distances: npt.NDArray[np.float64], labels: Labels) -> float:
    """Mean silhouette; that of vectors alone in their group is 0, and so is that of one group or of none."""
    n = len(np.unique(labels))
    return float(silhouette_score(distances, labels, metric="precomputed")) if 1 < n < len(labels) else 0.0


def _spread(vectors: Vectors) -> float:
    return float(1.0 - (vectors @ centre(vectors)).mean())


def _numbered(labels: Labels, weights: Labels) -> Labels:
    """Groups by size, and of equal size by their first member; those that are too small stay apart."""
    groups, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    sizes = np.bincount(inverse, weights, len(groups)).astype(np.int64)
    order = sorted(range(len(groups)), key=lambda at: (-sizes[at], first[at]))
    found = np.full(len(labels), APART, dtype=np.int64)
    for number, at in enumerate(at for at in order if sizes[at] >= LEAST):
        found[labels == groups[at]] = number
    return found
