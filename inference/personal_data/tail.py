"""Which part of a growing text is settled."""

from __future__ import annotations

import re
from typing import Final

from inference.personal_data.credentials import MAX_KEY_CHARS

_MAX_RUN_CHARS: Final = 96
_KEY_BEGINS: Final = "-----BEGIN"
_KEY_ENDS: Final = re.compile(r"-----END [A-Z0-9 ]*-----")


def settled(text: str) -> int:
    """How many characters can be released: whatever follows, findings that begin before do not change.

    Held back are the last word, numbers and groups of capitals before it, and a private key that is still open. At most
    `MAX_FINDING_CHARS` characters are held back.
    """
    start = _last_word(text, len(text))
    open_end = start == len(text) or _may_go_on(text[start:])
    while open_end and start > 0 and len(text) - start < _MAX_RUN_CHARS:
        gap = len(text[:start].rstrip())
        before = _last_word(text, gap)
        if gap == start or not _may_go_on(text[before:gap]):
            break
        start = before
    key = text.rfind(_KEY_BEGINS)
    if key >= 0 and _KEY_ENDS.search(text, key) is None:
        start = min(start, key)
    return max(start, len(text) - MAX_KEY_CHARS)


def _last_word(text: str, end: int) -> int:
    start = end
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    return start


def _may_go_on(word: str) -> bool:
    """Whether a word may be a group of a number: digits in it, short capitals, or signs alone."""
    return (
        any(character.isdigit() for character in word)
        or not any(map(str.isalpha, word))
        or (word.isupper() and len(word) <= 4)
    )
