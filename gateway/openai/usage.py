"""What a request used. Millrace counts words, as the events of a question do: its reader has no tokens of a model."""

from __future__ import annotations

import re
from typing import Any, Final

_WORD: Final = re.compile(r"\S+")


def words(text: str) -> int:
    """Number of words."""
    return len(text.split())


def first_words(text: str, n: int) -> tuple[str, bool]:
    """The text up to the end of its n-th word, and whether it has more words; without an n-th one the whole text."""
    found = list(_WORD.finditer(text))
    return (text[: found[n - 1].end()], len(found) > n) if len(found) >= n else (text, False)


def usage_of(prompt: str, answer: str) -> dict[str, Any]:
    """Words of the question and of the answer that was sent."""
    n_in, n_out = words(prompt), words(answer)
    return {"prompt_tokens": n_in, "completion_tokens": n_out, "total_tokens": n_in + n_out}
