"""Seeded prose of different shapes, made of a few hundred words."""

import random

WORDS = tuple(
    """
    river basin valve pressure turbine gauge operator shift report signal cable harbour crane ledger invoice tenant
    policy retention audit token bucket queue offset broker replica leader follower vector index chunk passage answer
    question reader writer window season harvest orchard cellar barrel vintage archive museum painter gallery winter
    """.split()  # noqa: SIM905 - as words they can be read
)


def sentence(rng: random.Random, n_words: int) -> str:
    """A sentence of about so many words."""
    words = [rng.choice(WORDS) for _ in range(max(3, n_words + rng.randint(-3, 3)))]
    return " ".join([words[0].capitalize(), *words[1:], str(rng.randint(1, 10_000))]) + "."


def paragraph(rng: random.Random, n_words: int) -> str:
    """Sentences of a dozen words that add up to about `n_words`."""
    return " ".join(sentence(rng, 12) for _ in range(max(1, n_words // 12)))


def document(rng: random.Random, n_paragraphs: int, shape: str) -> list[str]:
    """Paragraphs: ``long``, ``short``, ``mixed``, or ``huge`` ones over the token limit."""
    lengths = {"long": [60, 150], "short": [8, 30], "mixed": [8, 140], "huge": [250, 700]}[shape]
    return [paragraph(rng, rng.randint(*lengths)) for _ in range(n_paragraphs)]
