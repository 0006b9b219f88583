"""Compare texts as SQuAD's own scorer does (Rajpurkar et al., 2016): case, punctuation and articles do not count."""

import re
import string
from collections import Counter
from collections.abc import Iterable

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, words separated by one space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def holds(text: str, answers: Iterable[str]) -> bool:
    """Whether one of the answers stands in a text, from word border to word border."""
    padded = f" {normalised(text)} "
    return any(f" {found} " in padded for found in map(normalised, answers) if found)


def exact_match(text: str, answers: Iterable[str]) -> float:
    """1 if the text is one of the answers, otherwise 0."""
    found = normalised(text)
    return float(any(found == normalised(answer) for answer in answers))


def f1(text: str, answers: Iterable[str]) -> float:
    """Harmonic mean of the precision and the recall of words, for the answer that fits best; 0..1."""
    return max((_f1(normalised(text).split(), normalised(answer).split()) for answer in answers), default=0.0)


def _f1(found: list[str], wanted: list[str]) -> float:
    if not found or not wanted:
        return float(found == wanted)
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))
