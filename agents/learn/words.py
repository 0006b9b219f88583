"""Words that carry what a text says: pure."""

from collections.abc import Iterable
from typing import Final

from agents.lexical import terms

_FUNCTION_WORDS: Final = """
a an the this that these those some any each every no none both either neither such
i me my we us our you your he him his she her it its they them their one who whom whose which what
is are was were be been being am do does did done doing have has had having
can could may might must shall should will would
of in on at by to from for with without about into onto over under between among through during before after
above below against within upon off out up down as than per
and or but nor if then else so because while when where why how whether although though unless until
not also just only very too more most much many few less least other another own same
there here yes please tell say says said
"""
FUNCTION_TERMS: Final = frozenset(terms(_FUNCTION_WORDS))
"""English function words, in the form that `agents.lexical.terms` gives them."""


def content_terms(text: str) -> list[str]:
    """Terms of a text in order, without function words."""
    return [term for term in terms(text) if term not in FUNCTION_TERMS]


def share_held(wanted: Iterable[str], held: Iterable[str]) -> float:
    """Share of distinct terms that are among others, 0 to 1; of no terms, 1."""
    asked, known = set(wanted), set(held)
    return len(asked & known) / len(asked) if asked else 1.0
