"""Text of others as pages show it: nothing in it acts, on the browser or on the eye, and spans stay where they are.

Templates escape HTML; this is for what is no markup and yet not harmless: terminal escapes, characters that turn the
direction of what follows, tags that nobody sees. Each is replaced by one visible character, so that a span of the text
is the same span of what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

Mask = Callable[[str], str]
"""Hides personal data in a text; may change its length."""

SHOWN_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"
WINDOW_CHARS: Final = 60_000
_MARGIN_CHARS: Final = 1_000
"""Longer than what is masked as one."""
_INERT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_QUOTED: Final = re.compile(r"\[(\d{1,3})\]")
_FURTHEST: Final = 64
"""Words, of a text and of what it was changed into together, within which a change is seen to end."""
_SAME: Final = 4
"""Words that have to be the same behind it."""
_ANCHOR_CHARS: Final = 12
_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")


def inert(text: object) -> str:
    """Text without characters that act; as long as before."""
    return _INERT.sub(SHOWN_INSTEAD, str(text).replace("\r\n", " \n").replace("\r", "\n"))


def beginning(text: str, mask: Mask, longest: int) -> str:
    """At most `longest` characters of a masked text, as it begins.

    Masked before it is cut: the half of an address at the end of a cut text is none to the mask.
    """
    window = text[: longest + _MARGIN_CHARS]
    masked = mask(window)
    n_whole = len(masked) if len(window) == len(text) else max(0, len(masked) - _MARGIN_CHARS)
    return masked[: min(longest, n_whole)]


class Piece(msgspec.Struct, frozen=True):
    """Part of an answer: text, or the number of a citation."""

    text: str
    citation: int = 0


def pieces(text: str, n_citations: int) -> list[Piece]:
    """An answer in pieces; ``[n]`` is a citation where there is an n-th one, text where there is none."""
    found, at = [], 0
    for match in _QUOTED.finditer(text):
        number = int(match[1])
        if 1 <= number <= n_citations:
            found += [Piece(inert(text[at : match.start()])), Piece(match[0], number)]
            at = match.end()
    return [piece for piece in (*found, Piece(inert(text[at:]))) if piece.text]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A window of a source text with a marked span.

    Attributes
    ----------
    before, marked, after : str
        The window; `marked` is empty where no span was asked for.
    first, last : int
        Characters of the text that the window begins and ends at.
    n_chars : int
        Length of the whole text.
    """

    before: str
    marked: str
    after: str
    first: int
    last: int
    n_chars: int


def passage(text: str, start: int | None, end: int | None, mask: Mask, at: int = 0) -> Passage:
    """The part of a text around a span, or from `at` on; personal data are masked before it is cut at the span.

    A span that is not in the text marks nothing.
    """
    n_chars = len(text)
    spanned = start is not None and end is not None and 0 <= start < end <= n_chars
    low, high = (
        (start, min(end, start + WINDOW_CHARS)) if spanned and start is not None and end is not None else (at, at)
    )
    first = _line_start(text, max(0, min(low, n_chars) - (WINDOW_CHARS // 4 if spanned else 0)))
    last = _line_end(text, max(min(n_chars, first + WINDOW_CHARS), high))
    window = text[first:last]
    masked = mask(window)
    low, high = aligned(window, masked, low - first, high - first)
    return Passage(
        before=inert(masked[:low]) if spanned else "",
        marked=inert(masked[low:high]) if spanned else "",
        after=inert(masked[high:] if spanned else masked),
        first=first,
        last=last,
        n_chars=n_chars,
    )


class MarkedPiece(msgspec.Struct, frozen=True):
    """Part of a text; `number` counts the marked ones from 1, 0 is not marked."""

    text: str
    number: int = 0


class MarkedText(msgspec.Struct, frozen=True, kw_only=True):
    """A text in pieces.

    Attributes
    ----------
    pieces : tuple of MarkedPiece
        In their order.
    n : int
        How many of them are marked.
    cut : bool
        Whether there is more of the text before or behind.
    """

    pieces: tuple[MarkedPiece, ...] = ()
    n: int = 0
    cut: bool = False


def marked(text: str, spans: Sequence[tuple[int, int]], mask: Mask) -> MarkedText:
    """A text, or the window of it around the first span, with spans marked; personal data are masked before.

    Spans that are not in the text, or not in the window, mark nothing; those that overlap are one.
    """
    inside = sorted((start, end) for start, end in spans if 0 <= start < end <= len(text))
    low = inside[0][0] if inside and inside[0][0] > WINDOW_CHARS // 2 else 0
    first = _line_start(text, max(0, low - WINDOW_CHARS // 4)) if low else 0
    last = _line_end(text, min(len(text), first + WINDOW_CHARS))  # not within what is to be masked
    window = text[first:last]
    masked = mask(window)
    shown = inert(masked)  # as long: cut afterwards, or a line break would be cut in two
    found: list[MarkedPiece] = []
    at = n = 0
    for start, end in _merged(
        [(start - first, end - first) for start, end in inside if start >= first and end <= last]
    ):
        begin, stop = aligned(window, masked, start, end)
        begin, stop = max(begin, at), max(stop, at)
        if begin == stop:
            continue
        n += 1
        found += [MarkedPiece(shown[at:begin]), MarkedPiece(shown[begin:stop], n)]
        at = stop
    found.append(MarkedPiece(shown[at:]))
    return MarkedText(pieces=tuple(each for each in found if each.text), n=n, cut=len(window) < len(text))


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans, those that touch made one."""
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


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


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", max(0, at - 1000), at) + 1 if at and text.rfind("\n", max(0, at - 1000), at) >= 0 else at


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at, at + 1000)
    return found + 1 if found >= 0 else min(at, len(text))
