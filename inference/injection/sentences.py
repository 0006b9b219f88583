"""Sentences of a text, as an order would begin one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from inference.injection.words import EXPLAIN, NOUNS_TOO, SAY, TRANSFORM, WRITE

_FENCE: Final = re.compile(r"```[^\n]*\n.*?(?:```|\Z)|~~~[^\n]*\n.*?(?:~~~|\Z)", re.DOTALL)
_TOLD: Final = WRITE | EXPLAIN | TRANSFORM | SAY
_ORDERS: Final = "|".join(sorted(verb.capitalize() for verb in _TOLD - NOUNS_TOO))
_ORDERS_TOO: Final = "|".join(sorted(verb.capitalize() for verb in _TOLD & NOUNS_TOO))
# An end of a sentence, an empty line, a line that begins a new thing, or an order in the middle of a line.
_BREAK: Final = re.compile(
    r"(?<=[.!?;:…。！？])[\"')\]*_]*\s+|(?<=[.!?])(?=[A-Z][a-z])|\s*\n\s*\n\s*|\s*\n\s*(?![a-z(\s])|\s+[|•·>–—]\s+|[。！？]|[ \t]{3,}|\s*</?[a-zA-Z][^<>]{0,400}>\s*|\s*<!--\s*|\s*-->\s*"
    rf"|(?<=[^\s.!?:;,\"'(]) +(?=(?:(?:{_ORDERS})|(?:What|Who|Why|How|Where|When|Which) (?:is|are|was|were|do|does|did|can)) [a-z\"']|"
    rf"(?:{_ORDERS_TOO}) (?:a|an|the|your|this|these|all|each|every|down|up|how|what|why|me)\b)",
)
_TOO_LONG: Final = 600
_ITEM: Final = re.compile(r"^[\s>#]*(?:[-*+•]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
_LEAD: Final = re.compile(r"^[\s>#*_`\"'(\[-]*")


class Sentence(msgspec.Struct, frozen=True):
    """One sentence.

    Attributes
    ----------
    text : str
        The sentence without marks before it.
    start, end : int
        Its place.
    item : bool
        Whether it is an item of a list.
    code : bool
        Whether it is a block of code.
    """

    text: str
    start: int
    end: int
    item: bool = False
    code: bool = False


def sentences(text: str) -> Iterator[Sentence]:
    """Sentences and blocks of code, in order."""
    at = 0
    for fence in _FENCE.finditer(text):
        yield from _prose(text, at, fence.start())
        yield Sentence(fence.group(), fence.start(), fence.end(), code=True)
        at = fence.end()
    yield from _prose(text, at, len(text))


def _prose(text: str, start: int, end: int) -> Iterator[Sentence]:
    at = start
    for found in _BREAK.finditer(text, start, end):
        yield from _one(text, at, found.start())
        at = found.end()
    yield from _one(text, at, end)


def _one(text: str, start: int, end: int) -> Iterator[Sentence]:
    for first in range(start, end, _TOO_LONG):
        last = min(first + _TOO_LONG, end)
        raw = text[first:last]
        item = _ITEM.match(raw)
        lead = item.end() if item else 0
        mark = _LEAD.match(raw, lead)
        lead = mark.end() if mark else lead
        stripped = raw[lead:].rstrip()
        if stripped:
            yield Sentence(stripped, first + lead, first + lead + len(stripped), item=item is not None)
