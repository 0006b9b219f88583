"""Text of others as pages show it: nothing in it acts, on the browser or on the eye, and spans stay where they are.

Templates escape HTML; this is for what is no markup and yet not harmless: terminal escapes, characters that turn the
direction of what follows, tags that nobody sees. Each is replaced by one visible character, so that a span of the text
is the same span of what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.masking import MASKED_AS_ONE, Mask, aligned, windowed

SHOWN_INSTEAD: Final = "\N{REPLACEMENT CHARACTER}"
WINDOW_CHARS: Final = 60_000
_INERT: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e0fff\ud800-\udfff]"
)
_QUOTED: Final = re.compile(r"\[(\d{1,3})\]")


def inert(text: object) -> str:
    """Text without characters that act; as long as before."""
    return _INERT.sub(SHOWN_INSTEAD, str(text).replace("\r\n", " \n").replace("\r", "\n"))


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
    window, masked = text[first:last], windowed(text, first, last, mask)
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
    last = _line_end(text, min(len(text), first + WINDOW_CHARS))
    window, masked = text[first:last], windowed(text, first, last, mask)
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


def _line_start(text: str, at: int) -> int:
    found = text.rfind("\n", max(0, at - MASKED_AS_ONE), at)
    return found + 1 if found >= 0 else at


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at, at + MASKED_AS_ONE)
    return found + 1 if found >= 0 else min(at, len(text))
