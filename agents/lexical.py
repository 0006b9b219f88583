"""Words of a text, and BM25 from statistics that are given: pure.

BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), eq. 3.15, with the
idf that never turns negative, ln(1 + (N - n + 0.5) / (n + 0.5)).
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec
import numpy as np
import numpy.typing as npt

K1 = 1.2
B = 0.75

# Scripts written without spaces: one character is one term.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERM = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_HASH_BYTES = 8
_MARKS = re.compile(r"[\u0300-\u036f]")


class CorpusTerms(msgspec.Struct, frozen=True):
    """Statistics that BM25 needs of a corpus; a term without a document frequency counts as in one chunk."""

    n_chunks: int
    mean_terms: float
    frequencies: Mapping[str, int]

    def idf(self, term: str) -> float:
        """Inverse document frequency of a term, never negative."""
        n = min(self.frequencies.get(term, 1), self.n_chunks)
        return math.log(1 + (self.n_chunks - n + 0.5) / (n + 0.5))


def terms(text: str) -> list[str]:
    """Terms of a text in order: lower case, without accents, English plurals as singulars."""
    plain = text if text.isascii() else _MARKS.sub("", unicodedata.normalize("NFKD", text))
    return [_singular(term) for term in _TERM.findall(plain.casefold())]


def _singular(term: str) -> str:
    """Harman's S-stemmer ("How effective is suffixing?", 1991), and -sses as -ss."""
    if len(term) < 4 or term[-1] != "s" or not term.isascii():
        return term
    if term.endswith("ies") and term[-4] not in "ae":
        return term[:-3] + "y"
    if term.endswith("sses"):
        return term[:-2]
    if term.endswith("es") and term[-3] not in "aeo":
        return term[:-1]
    return term if term[-2] in "us" else term[:-1]


@lru_cache(maxsize=32_768)
def _hashes(text: str) -> bytes:
    """Python's hash of each term of a text, int64; some 2 kB with the text, of about 120 terms.

    Remembered, because a chunk's text never changes and is scored for many questions.
    """
    found = terms(text)
    return np.fromiter(map(hash, found), np.int64, len(found)).tobytes()


class Counts(msgspec.Struct, frozen=True, eq=False):
    """How often a question's terms occur in each of several texts.

    Attributes
    ----------
    terms : tuple of str
        Distinct terms of the question.
    frequencies : numpy.ndarray
        Shape (n_texts, n_terms), float64.
    lengths : numpy.ndarray
        Shape (n_texts,), float64: terms of each text.
    """

    terms: tuple[str, ...]
    frequencies: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]

    def statistics(self) -> CorpusTerms:
        """Statistics of exactly these texts, for the terms of the question."""
        n_texts = len(self.lengths)
        n_holding = np.count_nonzero(self.frequencies, axis=0)
        return CorpusTerms(
            n_chunks=n_texts,
            mean_terms=float(self.lengths.mean()) if n_texts else 0.0,
            frequencies={term: int(n) for term, n in zip(self.terms, n_holding, strict=True)},
        )


def count(question: str, texts: Sequence[str]) -> Counts:
    """Count a question's terms in texts; two terms are taken for one only if all 64 bits of their hashes agree."""
    wanted = tuple(dict.fromkeys(terms(question)))
    packed = [_hashes(text) for text in texts]
    lengths = np.array([len(each) // _HASH_BYTES for each in packed], dtype=np.int64)
    hashes, ends = np.frombuffer(b"".join(packed), np.int64), lengths.cumsum()
    frequencies = np.zeros((len(texts), len(wanted)))
    for column, term in enumerate(wanted):
        places = np.flatnonzero(hashes == hash(term))
        frequencies[:, column] = np.bincount(np.searchsorted(ends, places, "right"), minlength=len(texts))
    return Counts(wanted, frequencies, lengths.astype(np.float64))


def bm25(counts: Counts, corpus: CorpusTerms) -> npt.NDArray[np.float64]:
    """Score of each text; repeated terms of the question count once.

    Returns
    -------
    numpy.ndarray
        Shape (n_texts,), float64, never negative.
    """
    idf = np.array([corpus.idf(term) for term in counts.terms])
    norm = K1 * (1 - B + B * counts.lengths / (corpus.mean_terms or 1.0))
    saturated = counts.frequencies * (K1 + 1) / (counts.frequencies + norm[:, np.newaxis])
    scores: npt.NDArray[np.float64] = saturated @ idf
    return scores
