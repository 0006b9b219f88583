"""Main language of a text, by CLD3: a small network inside the package, no file and no connection."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Final

MAX_CHARS: Final = 4_000
MIN_LETTERS: Final = 20
MIN_PROBABILITY: Final = 0.9
_NO_LETTER: Final = re.compile(r"[\W\d_]+")


def language(text: str) -> str:
    """BCP 47 code, or empty where the beginning of the text is too short or too mixed to say."""
    letters = _NO_LETTER.sub(" ", text[:MAX_CHARS]).strip()
    if len(letters) < MIN_LETTERS:
        return ""
    found = _identifier().FindLanguage(letters)
    return str(found.language) if found.is_reliable and found.probability >= MIN_PROBABILITY else ""


@cache
def _identifier() -> Any:
    from gcld3 import NNetLanguageIdentifier  # noqa: PLC0415 - loaded with the first text, not with every worker

    return NNetLanguageIdentifier(0, MAX_CHARS)
