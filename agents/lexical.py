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

K1 = 1.2
B = 0.75

# Scripts written without spaces: one character is one term.
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TERM = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_MARKS = re.compile(r"[\u0300-\u036f]")


class Bag(msgspec.Struct, frozen=True):
    """Terms of one text, ready to be counted.

    Attributes
    ----------
    n_terms : int
        Length in terms.
    joined : str
        All terms, each between two spaces, so that ``joined.count(" term ")`` is its frequency.
    """

    n_terms: int
    joined: str

    def frequency(self, term: str) -> int:
        """How often a term occurs."""
        return self.joined.count(f" {term} ")


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
    plain = _MARKS.sub("", unicodedata.normalize("NFKD", text)).casefold()
    return [_singular(term) for term in _TERM.findall(plain)]


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


@lru_cache(maxsize=16_384)
def bag(text: str) -> Bag:
    """Terms of a text; remembered, because a chunk's text never changes and is scored for many questions."""
    found = terms(text)
    return Bag(len(found), f" {'  '.join(found)} ")


def visible_statistics(question: Sequence[str], bags: Sequence[Bag]) -> CorpusTerms:
    """Statistics of exactly these chunks, for the terms of a question."""
    n_terms = sum(found.n_terms for found in bags)
    return CorpusTerms(
        n_chunks=len(bags),
        mean_terms=n_terms / len(bags) if bags else 0.0,
        frequencies={term: sum(f" {term} " in found.joined for found in bags) for term in set(question)},
    )


def bm25(question: Sequence[str], document: Bag, corpus: CorpusTerms) -> float:
    """Score of a chunk for a question's terms; repeated terms count once."""
    norm = K1 * (1 - B + B * document.n_terms / (corpus.mean_terms or 1.0))
    score = 0.0
    for term in dict.fromkeys(question):
        frequency = document.frequency(term)
        if frequency:
            score += corpus.idf(term) * frequency * (K1 + 1) / (frequency + norm)
    return score
