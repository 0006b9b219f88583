"""Faults that are put into the question path, one stage at a time."""

import random
import string
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from agents.learn.words import FUNCTION_TERMS
from agents.lexical import terms
from millrace.events.learn import Stage
from millrace.events.query import Citation, Hit
from millrace.rows import ChunkRow

Fault = Literal["row removed", "ranker shuffled", "reader broken", "question garbled"]
STAGES: Final[dict[Fault, Stage]] = {
    "row removed": "retrieval",
    "ranker shuffled": "ranking",
    "reader broken": "reading",
    "question garbled": "question",
}
GARBLED_WHERE: Final = ("admitted", "typed", "typed, then rephrased")
_LEAST_CHARS: Final = 4
_SHARE: Final = 0.8


def garbled(question: str, rng: random.Random) -> str:
    """A question whose longer words are mistyped: most lose, change or swap two of their letters."""
    return " ".join(
        _mistyped(word, rng) if len(word) >= _LEAST_CHARS and not _is_function(word) and rng.random() < _SHARE else word
        for word in question.split()
    )


def truncated(question: str, rng: random.Random) -> str:
    """The first words of a question, a third of it or less."""
    words = question.split()
    return " ".join(words[: max(rng.randint(1, max(len(words) // 3, 1)), 1)])


def shuffled(hits: Sequence[Hit], n: int, rng: random.Random, *, scores: bool) -> tuple[Hit, ...]:
    """Hits in an order of chance, the first `n`; with `scores`, as if their scores had been of chance too."""
    mixed = rng.sample(list(hits), len(hits))[:n]
    by_chance = sorted((round(rng.random(), 6) for _ in mixed), reverse=True)
    return tuple(
        msgspec.structs.replace(hit, rank=place, score=score if scores else hit.score, duplicate_of="")
        for place, (hit, score) in enumerate(zip(mixed, by_chance, strict=True), 1)
    )


def misread(rows: Sequence[ChunkRow], right: str, template: Citation, rng: random.Random) -> tuple[Citation, ...]:
    """A sentence of chance from a retrieved chunk that is not the right one."""
    row = rng.choice([row for row in rows if row.chunk_id != right and row.sentences])
    start, end = rng.choice(row.sentences)
    cited = msgspec.structs.replace(
        template, document=row.document, chunk_id=row.chunk_id, start=start, end=end, quote=row.text[start:end]
    )
    return (cited,)


def _is_function(word: str) -> bool:
    return all(term in FUNCTION_TERMS for term in terms(word))


def _mistyped(word: str, rng: random.Random) -> str:
    letters = list(word)
    for _ in range(2):
        at = rng.randrange(len(letters) - 1)
        match rng.randrange(3):
            case 0:
                del letters[at]
            case 1:
                letters[at] = rng.choice(string.ascii_lowercase)
            case _:
                letters[at], letters[at + 1] = letters[at + 1], letters[at]
    return "".join(letters)
