"""What is measured of one question, and how sure a comparison is: pure."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from bench.datasets import DataSet
from millrace.evaluation.questions import KnownQuestion
from millrace.evaluation.ranking import ndcg, reciprocal_rank, success

NAMES = ("R@1", "R@5", "R@10", "MRR@10", "nDCG@10", "sentence first", "sentence in top 3")
DEPTH = 10
REPLICATES = 2_000
Floats = npt.NDArray[np.float64]


class Passage(msgspec.Struct, frozen=True):
    """Characters of a document, end exclusive: a chunk or a sentence."""

    document: str
    start: int
    end: int


class Ratio(msgspec.Struct, frozen=True):
    """Two means, their ratio, and its 95 % interval when questions are drawn anew."""

    ours: float
    reference: float
    ratio: float
    low: float
    high: float


class Refusals(msgspec.Struct, frozen=True):
    """Shares refused at a threshold: of questions that the corpus answers, and of those whose article is not there."""

    threshold: float
    answerable: float
    removed: float


def right_places(question: KnownQuestion, passages: Sequence[Passage]) -> list[int]:
    """Places, from 1, of passages that overlap a span of the answer."""
    gold = question.gold
    return [
        place
        for place, found in enumerate(passages, 1)
        if any(found.start < end and start < found.end for start, end in gold.get(found.document, ()))
    ]


def measure(
    question: KnownQuestion, chunks: Sequence[Passage], everything: Sequence[Passage], sentences: Sequence[Passage]
) -> list[float]:
    """Values of `NAMES` for one question.

    Parameters
    ----------
    chunks : sequence of Passage
        What was retrieved, best first.
    everything : sequence of Passage
        All chunks that could have been.
    sentences : sequence of Passage
        What was read, best first.
    """
    right = right_places(question, chunks[:DEPTH])
    read = right_places(question, sentences)
    n_right = len(right_places(question, everything))
    return [
        success(right, 1),
        success(right, 5),
        success(right, DEPTH),
        reciprocal_rank(right),
        ndcg(right, n_right, DEPTH),
        success(read, 1),
        success(read, 3),
    ]


def compare(ours: Floats, reference: Floats, seed: int = 0) -> Ratio:
    """Ratio of two means over the same questions, which are drawn together: a paired bootstrap.

    Parameters
    ----------
    ours, reference : numpy.ndarray
        Shape (n_questions,), float64, in the same order.
    """
    rows = np.random.default_rng(seed).integers(0, len(ours), (REPLICATES, len(ours)))
    ratios = ours[rows].mean(axis=1) / np.maximum(reference[rows].mean(axis=1), 1e-9)
    low, high = np.percentile(ratios, (2.5, 97.5))
    means = float(ours.mean()), float(reference.mean())
    return Ratio(*means, means[0] / max(means[1], 1e-9), float(low), float(high))


def refusals(answerable: Floats, removed: Floats, threshold: float) -> Refusals:
    """Shares below a threshold, which are those that are refused."""
    gone = float((removed < threshold).mean()) if len(removed) else float("nan")
    return Refusals(threshold, float((answerable < threshold).mean()), gone)


def cross_fitted(
    answerable: Floats, groups: Sequence[str], removed: Floats, target: float, n_folds: int = 5
) -> tuple[list[float], Refusals]:
    """Rates at thresholds that were chosen without the questions they are applied to.

    For each fold of groups the threshold is the one that refuses the share `target` of the other folds' answerable
    questions.

    Parameters
    ----------
    answerable : numpy.ndarray
        Shape (n,), float64: signals of questions that the corpus answers.
    groups : sequence of str
        Article or policy of each; one group is never in two folds.
    removed : numpy.ndarray
        Shape (n,) or (0,), float64: signals of the same questions without their article.
    target : float
        Share, 0..1.

    Returns
    -------
    list of float
        The threshold of each fold.
    Refusals
        Rates over all questions; `threshold` is the mean.
    """
    folds = folds_of(groups, n_folds)
    thresholds = []
    refused = np.zeros(len(answerable), dtype=bool)
    refused_removed = np.zeros(len(removed), dtype=bool)
    for fold in range(n_folds):
        here = folds == fold
        thresholds.append(float(np.quantile(answerable[~here], target)))
        refused[here] = answerable[here] < thresholds[-1]
        if len(removed):
            refused_removed[here] = removed[here] < thresholds[-1]
    share = float(refused_removed.mean()) if len(removed) else float("nan")
    return thresholds, Refusals(float(np.mean(thresholds)), float(refused.mean()), share)


def folds_of(groups: Sequence[str], n_folds: int) -> npt.NDArray[np.intp]:
    """Fold of each question, shape (n,): one group is never in two folds."""
    fold_of = {name: i % n_folds for i, name in enumerate(sorted(set(groups)))}
    return np.array([fold_of[name] for name in groups])


def group_of(data: DataSet) -> list[str]:
    """Article or policy of each question."""
    return [question.labels.get("policy") or question.documents[0] for question in data.questions]
