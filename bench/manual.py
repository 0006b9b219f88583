"""A manual to ask about: seeded documents that hold facts, and questions on them of the kinds that people ask."""

import random

from bench.texts import document, paragraphs, sentence

TENANT = "acme"
N_CHAMBERS = 40
_N_PARAGRAPHS = 4
_N_DIFFERENT = 10**9


def manual(n_chambers: int = N_CHAMBERS) -> list[tuple[str, str]]:
    """One document for each chamber: what its valve does, how its keeper is reached, and what nobody asks for."""
    return [(name_of(chamber), _document(chamber)) for chamber in range(n_chambers)]


def name_of(chamber: int) -> str:
    """Document of a chamber."""
    return f"chambers/{chamber}.md"


def questions(seed: str, n: int, n_chambers: int = N_CHAMBERS) -> list[str]:
    """Questions that the manual answers, no two alike, each kind as often.

    A fact; an address, which an answer shows masked; a fact, asked by somebody who gives an address; a fact, asked
    below a passage that was pasted.
    """
    rng = random.Random(seed)
    return [_question(rng, i, rng.randrange(n_chambers)) for i in range(n)]


def _question(rng: random.Random, i: int, chamber: int) -> str:
    number = rng.randrange(_N_DIFFERENT)  # no scan of a question is remembered from an earlier one
    valve = f"At what millibar will safety valve SV{chamber} of chamber {chamber} open?"
    match i % 4:
        case 0:
            return f"{valve} ({number})"
        case 1:
            return f"Under what mail address is the keeper of chamber {chamber} reached? ({number})"
        case 2:
            return f"c{number}@barges.example: {valve}"
        case _:
            return f"{_valve(chamber)} {valve} ({number})"


def _document(chamber: int) -> str:
    other = paragraphs(f"manual/{chamber}", _N_PARAGRAPHS)
    return document([*other[:2], _valve(chamber), *other[2:], _keeper(chamber)])


def _valve(chamber: int) -> str:
    fact = f"At {1000 + chamber} millibar safety valve SV{chamber} of chamber {chamber} will open."
    return f"{fact} {_more(f'valve/{chamber}')}"


def _keeper(chamber: int) -> str:
    fact = (
        f"The keeper of chamber {chamber} is reached under the mail address keeper.{chamber}@locks.example, or by "
        f"telephone under +49 30 90182{700 + chamber}."
    )
    return f"{fact} {_more(f'keeper/{chamber}')}"


def _more(seed: str) -> str:
    rng = random.Random(seed)
    return " ".join(sentence(rng) for _ in range(2))
