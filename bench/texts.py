"""Documents to ingest, edit and ask about: seeded, so that every run has the same ones."""

import random

_WORDS = """
the lock keeper opens upper gate when water level in chamber reaches mark and barge waits at northern pier until
signal turns green before every passage crew checks both sluices reports pressure of each valve to station notes
time weather wind visibility in log inspector reads once a week during winter ice is broken early morning because
pumps must not run dry after heavy rain drains are cleaned gravel removed from basin electric winch tested under
full load spare parts stored east shed beside workshop keys kept office visitors need badge guided tours start
noon tickets sold bridge school groups pay half price bicycles left behind fence dogs stay on lead fishing allowed
south bank only with permit swimming forbidden throughout canal
""".split()  # noqa: SIM905 - a list of a hundred literals reads worse


def sentence(rng: random.Random, n_words: int = 12) -> str:
    """A sentence of so many words."""
    return " ".join(rng.choices(_WORDS, k=n_words)).capitalize() + "."


def paragraph(rng: random.Random, n_sentences: int = 3) -> str:
    """A paragraph long enough to be a chunk of its own (200 characters or more)."""
    sentences = [sentence(rng) for _ in range(n_sentences)]
    while sum(map(len, sentences)) < 200:
        sentences.append(sentence(rng))
    return " ".join(sentences)


def paragraphs(seed: str, n: int) -> list[str]:
    """Paragraphs of one document."""
    rng = random.Random(seed)
    return [paragraph(rng) for _ in range(n)]


def document(parts: list[str]) -> str:
    """Markdown of paragraphs, without headings."""
    return "\n\n".join(parts) + "\n"
