"""Texts without personal data, however they are cut: masked before the cut, or with what stands beside it.

Half a card number is no number to a mask, so nothing here is masked as it was cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.library import DocumentSummary, SourceText

Mask = Callable[[str], str]
"""Hides personal data in a text; may change its length."""

MASKED_AS_ONE: Final = 1_000
"""Characters; longer than what a mask takes for one value."""
_FURTHEST: Final = 64
"""Words, of a text and of what it was changed into together, within which a change is seen to end."""
_SAME: Final = 4
"""Words that have to be the same behind it."""
_ANCHOR_CHARS: Final = 12
_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")
_Titled = TypeVar("_Titled", DocumentSummary, SourceText)


def titled(found: _Titled, mask: Mask) -> _Titled:
    """The same with its title masked."""
    return msgspec.structs.replace(found, title=mask(found.title))


def beginning(text: str, mask: Mask, longest: int) -> str:
    """At most `longest` characters of a masked text, as it begins.

    Masked before it is cut: the half of an address at the end of a cut text is none to the mask.
    """
    window = text[: longest + MASKED_AS_ONE]
    masked = mask(window)
    n_whole = len(masked) if len(window) == len(text) else max(0, len(masked) - MASKED_AS_ONE)
    return masked[: min(longest, n_whole)]


def windowed(text: str, first: int, last: int, mask: Mask) -> str:
    """A window of a text, masked; a value at its edge that goes on outside is masked, and taken in, as a whole."""
    begin = first if first == 0 or text[first - 1] == "\n" else max(0, first - MASKED_AS_ONE)
    end = last if "\n" in text[max(0, last - 1) : last + 1] else min(len(text), last + MASKED_AS_ONE)
    wider = text[begin:end]
    masked = mask(wider)
    low, high = aligned(wider, masked, first - begin, last - begin)
    return masked[low:high]


def masked_span(text: str, start: int, end: int, mask: Mask) -> tuple[str, int, int]:
    """A span of a text without personal data, and where it begins and ends.

    What is masked is found in whole lines, as far as they are no longer than what is masked as one. Where there is
    something in them, the lines are the span: a masked text has other places than the one that it was made of.
    """
    first = max(text.rfind("\n", max(0, start - MASKED_AS_ONE), start) + 1, start - MASKED_AS_ONE, 0)
    found = text.find("\n", end, end + MASKED_AS_ONE)
    last = found if found >= 0 else min(len(text), end + MASKED_AS_ONE)
    shown = windowed(text, first, last, mask)
    return (text[start:end], start, end) if shown == text[first:last] else (shown, first, last)


def aligned(text: str, changed: str, start: int, end: int) -> tuple[int, int]:
    """A span of `text` in what it was changed into; a span that begins or ends inside a change takes all of that in."""
    if len(text) == len(changed):
        return start, end
    found = _moved(text, changed, start, opens=True), _moved(text, changed, end, opens=False)
    return found[0], max(found)


def _moved(text: str, changed: str, at: int, *, opens: bool) -> int:
    """Where an offset went: compared word by word, in time that grows with the length alone.

    Whoever writes a document chooses how much there is to compare, so nothing here looks further than a few words.
    """
    before, after = _WORDS.findall(text), _WORDS.findall(changed)
    i = j = old = new = 0
    while i < len(before):
        n, m = (1, 1) if j < len(after) and before[i] == after[j] else _change(before, after, i, j)
        if not n and not m:
            return _anchored(text, changed, at, opens=opens)
        end, new_end = old + sum(map(len, before[i : i + n])), new + sum(map(len, after[j : j + m]))
        if old <= at < end if opens else old < at <= end:
            same = before[i : i + n] == after[j : j + m]
            return new + at - old if same else new if opens else new_end
        i, j, old, new = i + n, j + m, end, new_end
    return new


def _change(before: Sequence[str], after: Sequence[str], i: int, j: int) -> tuple[int, int]:
    """How many words were changed into how many, from here on; none where that is not seen within a few words."""
    for length in range(1, _FURTHEST):
        for n in range(length + 1):
            m = length - n
            following = before[i + n : i + n + _SAME]
            if i + n <= len(before) and j + m <= len(after) and following == after[j + m : j + m + _SAME]:
                return n, m
    return 0, 0


def _anchored(text: str, changed: str, at: int, *, opens: bool) -> int:
    """Where an offset went in a text that cannot be compared: to the same words, about as far into the text."""
    words = text[at : at + _ANCHOR_CHARS] if opens else text[max(0, at - _ANCHOR_CHARS) : at]
    guess = at * len(changed) // max(1, len(text))
    found = [match.start() for match in re.finditer(re.escape(words), changed)] if words else []
    nearest = min(found, key=lambda place: abs(place - guess), default=None)
    if nearest is None:
        return guess
    return nearest if opens else nearest + len(words)
