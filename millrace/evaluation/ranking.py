"""Measures of a ranking and of a separating signal; pure numpy."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def success(right: Sequence[int], k: int) -> float:
    """1 if something right stands among the first `k` places, otherwise 0.

    Parameters
    ----------
    right : sequence of int
        Places of what is right, from 1, rising.
    k : int
        How many places count.
    """
    return float(bool(right) and right[0] <= k)


def reciprocal_rank(right: Sequence[int]) -> float:
    """One divided by the first right place; 0 if there is none."""
    return 1.0 / right[0] if right else 0.0


def ndcg(right: Sequence[int], n_right: int, k: int) -> float:
    """Normalised discounted cumulative gain with gains of 0 and 1 (Järvelin and Kekäläinen, 2002).

    Parameters
    ----------
    right : sequence of int
        Places of what is right, from 1.
    n_right : int
        How many right ones there are to be found.
    k : int
        How many places count.

    Returns
    -------
    float
        The sum of ``1 / log2(place + 1)`` over the right ones among the first `k` places, divided by that of the best
        possible ranking; 0 if there is nothing to find.
    """
    found = sum(float(1 / np.log2(place + 1)) for place in right if place <= k)
    best = sum(float(1 / np.log2(place + 1)) for place in range(1, min(max(n_right, len(right)), k) + 1))
    return found / best if best else 0.0


def auroc(signal: npt.NDArray[np.float64], positive: npt.NDArray[np.bool_]) -> float:
    """Probability that a positive has a larger signal than a negative, ties counted half: the area under the ROC curve.

    Parameters
    ----------
    signal : numpy.ndarray
        Shape (n,), float64, without NaN.
    positive : numpy.ndarray
        Shape (n,), bool.

    Returns
    -------
    float
        NaN if all are positive or all negative.
    """
    above, below = signal[positive], np.sort(signal[~positive])
    if not len(above) or not len(below):
        return float("nan")
    wins = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
    return float(wins.mean()) / 2 / len(below)
