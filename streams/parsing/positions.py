"""Where the words of a converted HTML document stand in its source.

The source is cut into tags and text before it is parsed, and every piece of text gets one marker character in front.
Parsers and converters carry the markers along with the text. Afterwards each marker says which piece follows, and piece
and output are compared character by character, so a run is never wrong about what stands where: at worst it is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

import msgspec

from millrace.parsed import Run, joined

# Private use characters: a document's own are taken out first.
_FIRST: Final = 0xF0000
_N_MARKERS: Final = 0xFFFE
PRIVATE: Final = re.compile("[\U000f0000-\U0010ffff]")
_QUOTED: Final = r"\"[^\"]*+\"|'[^']*+'"
DOCTYPE: Final = re.compile(
    rf"<!doctype(?:[^>\[\"']|{_QUOTED})*+\[(?:[^\]\"'<]|<!--.*?-->|<(?:[^>\"']|{_QUOTED})*+>|{_QUOTED})*+\]\s*+>",
    re.DOTALL | re.IGNORECASE,
)
"""Document type with declarations of its own."""
_TOKEN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)"
    rf"|{DOCTYPE.pattern}"
    r"|<(script|style|xmp|iframe|noembed|noframes|template|title|textarea|noscript)\b[^>]*+>.*?(?:</\1\s*+>|\Z)"
    r"|<[a-zA-Z/!?](?:[^>\"']|\"[^\"]*+\"|'[^']*+')*+>",
    re.DOTALL | re.IGNORECASE,
)
_REFERENCE: Final = re.compile(r"&(?:#\d{1,8}|#[xX][0-9a-fA-F]{1,7}|[a-zA-Z][a-zA-Z0-9]{1,31});?")


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """Text between two tags: where it begins, after white space, and ends in the source."""

    start: int
    end: int


def marked(source: str) -> tuple[str, list[Piece]]:
    """Put a marker in front of every piece of text.

    Parameters
    ----------
    source : str
        HTML without private use characters of planes 15 and 16.

    Returns
    -------
    str
        The same with markers.
    list of Piece
        What each marker, in their order, stands for.
    """
    pieces: list[Piece] = []
    parts: list[str] = []
    at = 0
    for start, end in _between_tags(source):
        text = source[start:end]
        inside = len(text) - len(text.lstrip())
        if inside == len(text):
            continue
        parts += (source[at : start + inside], chr(_FIRST + len(pieces) % _N_MARKERS))
        pieces.append(Piece(start + inside, end))
        at = start + inside
    parts.append(source[at:])
    return "".join(parts), pieces


def _between_tags(source: str) -> Iterator[tuple[int, int]]:
    at = 0
    for tag in _TOKEN.finditer(source):
        yield at, tag.start()
        at = tag.end()
    yield at, len(source)


def unmark(text: str, source: str, pieces: list[Piece]) -> tuple[str, list[Run]]:
    """Take the markers out again.

    Returns
    -------
    str
        The text without markers.
    list of Run
        Where it stands in `source`.
    """
    markers = list(PRIVATE.finditer(text))
    parts = [text[: markers[0].start()] if markers else text]
    n_chars = len(parts[0])
    runs: list[Run] = []
    number = -1
    for i, marker in enumerate(markers):
        output = text[marker.end() : markers[i + 1].start() if i + 1 < len(markers) else len(text)]
        step = (ord(marker[0]) - _FIRST - number - 1) % _N_MARKERS
        number += step + 1
        if number < len(pieces):
            piece = pieces[number]
            found = _compared(output, source[piece.start : piece.end])
            runs += ((a + n_chars, b + n_chars, c + piece.start, d + piece.start) for a, b, c, d in found)
        parts.append(output)
        n_chars += len(output)
    return "".join(parts), list(joined(runs))


def _compared(output: str, source: str) -> Iterator[Run]:
    """Walk through both: the output may have collapsed white space and inserted markup."""
    at = 0
    for start, end, characters in _unescaped(source):
        whole = len(characters) == end - start
        if whole and output.startswith(characters, at):
            yield at, at + len(characters), start, end
            at += len(characters)
            continue
        for offset, character in enumerate(characters):
            found = output.find(character, at, at + 3)
            if found >= 0 and (found == at or not character.isspace()):
                yield (
                    (found, found + 1, start + offset, start + offset + 1) if whole else (found, found + 1, start, end)
                )
                at = found + 1


def _unescaped(source: str) -> Iterator[tuple[int, int, str]]:
    """Characters of a piece with their place: references one by one, all else as it stands."""
    at = 0
    for reference in _REFERENCE.finditer(source):
        if reference.start() > at:
            yield at, reference.start(), source[at : reference.start()]
        yield reference.start(), reference.end(), unescape(reference[0])
        at = reference.end()
    if at < len(source):
        yield at, len(source), source[at:]
