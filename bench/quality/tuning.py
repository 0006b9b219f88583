"""Weights of the ranking, chosen for both data sets at once and judged on articles that they were not chosen on."""

from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from agents.query.rank import MIN_SPREAD, relative
from bench.datasets import DataSet
from bench.quality.measures import DEPTH, NAMES, folds_of, group_of, measure
from bench.quality.stack import QualityStack
from millrace.evaluation.questions import KnownQuestion

DENSE_WEIGHTS = (0.5, 0.6, 0.7, 0.8)
RERANK_WEIGHTS = (0.0, 0.15, 0.3, 0.45, 0.6)
N_FOLDS = 5
RETRIEVAL = NAMES[:5]
Floats = npt.NDArray[np.float64]


class Held(msgspec.Struct, frozen=True):
    """Findings of a cross-validation.

    Attributes
    ----------
    chosen : list of (float, float)
        Weights of the cosine and of the best sentence that each fold's other articles chose.
    values : dict of str to dict of str to float
        Means of the measures of retrieval over all questions, each at the weights chosen without its article, by set.
    """

    chosen: list[tuple[float, float]]
    values: dict[str, dict[str, float]]


async def tune(sets: Mapping[str, DataSet], stack: QualityStack, rerank_chunks: int) -> Held:
    """Measure all pairs of weights on all questions and cross-validate the choice."""
    values, folds = {}, {}
    for name, data in sets.items():
        values[name] = np.array([await _grid(stack, each, rerank_chunks) for each in data.questions])
        folds[name] = folds_of(group_of(data), N_FOLDS)
    return cross_validated(values, folds)


def cross_validated(values: Mapping[str, Floats], folds: Mapping[str, npt.NDArray[np.intp]]) -> Held:
    """Choose a pair of weights for each fold by the other folds of all sets, and judge it on the fold.

    A pair's merit is the mean over sets and measures of its value, each relative to the mean over all pairs.

    Parameters
    ----------
    values : mapping of str to numpy.ndarray
        By set: shape (n_questions, n_pairs, len(RETRIEVAL)), float64.
    folds : mapping of str to numpy.ndarray
        By set: fold of each question, shape (n_questions,).
    """
    pairs = [(dense, late) for dense in DENSE_WEIGHTS for late in RERANK_WEIGHTS]
    held = {name: np.zeros((len(found), len(RETRIEVAL))) for name, found in values.items()}
    chosen = []
    for fold in range(N_FOLDS):
        merit = np.zeros(len(pairs))
        for name, found in values.items():
            means = found[folds[name] != fold].mean(axis=0)
            merit += (means / means.mean(axis=0)).mean(axis=1)
        best = int(np.argmax(merit))
        chosen.append(pairs[best])
        for name, found in values.items():
            here = folds[name] == fold
            held[name][here] = found[here, best]
    means_of = {name: dict(zip(RETRIEVAL, found.mean(axis=0).tolist(), strict=True)) for name, found in held.items()}
    return Held(chosen, means_of)


async def _grid(stack: QualityStack, question: KnownQuestion, rerank_chunks: int) -> list[list[float]]:
    """Measures of retrieval for each pair of weights, from the ingredients that all chunks were scored by."""
    hits, places = await stack.score_all(question.question, sorted(stack.groups), question.labels)
    dense = np.array([hit.dense for hit in hits])
    lexical = np.array([hit.lexical for hit in hits])
    sentence = np.array([hit.sentence for hit in hits])
    everything = stack.chunks(question.documents)
    found = []
    for weight in DENSE_WEIGHTS:
        first = weight * relative(dense) + (1 - weight) * relative(lexical)
        window = np.argsort(-first, kind="stable")[:rerank_chunks]
        for late in RERANK_WEIGHTS:
            final = (1 - late) * first[window] + late * relative(sentence[window], MIN_SPREAD)
            best = [places[i] for i in window[np.argsort(-final, kind="stable")[:DEPTH]]]
            found.append(measure(question, best, everything, ())[: len(RETRIEVAL)])
    return found


def markdown(found: Held) -> str:
    """Tables of what was chosen and what it is worth."""
    rows = [
        f"| {name} | " + " | ".join(f"{values[each]:.1%}" for each in RETRIEVAL) + " |"
        for name, values in found.values.items()
    ]
    weights = ", ".join(f"{dense:g} and {late:g}" for dense, late in found.chosen)
    head = ["| held back | " + " | ".join(RETRIEVAL) + " |", "|---|" + "---|" * len(RETRIEVAL)]
    return "\n".join([f"Weights of the cosine and of the best sentence, by fold: {weights}.", "", *head, *rows, ""])
