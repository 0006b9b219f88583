"""Split text into sentences with character spans: pure, no model, no language data beyond a few abbreviations."""

import re

ABBREVIATIONS = frozenset(
    {
        *(
            "mr",
            "mrs",
            "ms",
            "dr",
            "prof",
            "sr",
            "jr",
            "st",
            "vs",
            "etc",
            "inc",
            "ltd",
            "co",
            "corp",
            "dept",
            "est",
            "fig",
        ),
        *(
            "no",
            "nos",
            "vol",
            "pp",
            "ed",
            "eds",
            "al",
            "approx",
            "ca",
            "cf",
            "e.g",
            "i.e",
            "eg",
            "ie",
            "u.s",
            "u.k",
            "a.m",
        ),
        *(
            "p.m",
            "jan",
            "feb",
            "mar",
            "apr",
            "jun",
            "jul",
            "aug",
            "sep",
            "sept",
            "oct",
            "nov",
            "dec",
            "z.b",
            "bzw",
            "d.h",
        ),
    }
)
MAX_CHARS = 1_000

_OPEN = "\"'\u2018\u201c(\\[\u00ab"
_CLOSE = "\"'\u2019\u201d)\\]\u00bb"
_FULL_STOPS = "\u3002\uff01\uff1f"  # of scripts that put no space after them

_FENCED = re.compile(r"^ {0,3}(`{3,}|~{3,})[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"\n(?=[ \t]*(?:[-*+\u2022]|\d{1,3}[.)]|[a-zA-Z][.)]|\|)[ \t])|\n[ \t]*\n|(?<=\|)[ \t]*\n")
_END = re.compile(rf"[.!?\u2026]+[{_CLOSE}*_]*(?=\s)|[{_FULL_STOPS}]+[\u300d\u300f\uff09{_CLOSE}]*")
_LAST_WORD = re.compile(rf"[^\s{_OPEN}]+$")
_NEXT = re.compile(rf"\s+[{_OPEN}*_]*(\S)")


def sentences(text: str) -> tuple[tuple[int, int], ...]:
    """Spans of the sentences of a text.

    List items, table rows and paragraphs end a sentence; a fenced code block is one. Every character that is not
    white space lies in exactly one span.

    Returns
    -------
    tuple of (int, int)
        Start and end, end exclusive, in order.
    """
    found: list[tuple[int, int]] = []
    at = 0
    for fence in _FENCED.finditer(text):
        found += _prose(text, at, fence.start())
        found.append((fence.start(), fence.end()))
        at = fence.end()
    found += _prose(text, at, len(text))
    return tuple(span for piece in found for span in _bounded(text, *piece))


def _prose(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found = []
    at = start
    for item in _ITEM.finditer(text, start, end):
        found += _paragraph(text, at, item.start())
        at = item.end()
    return found + _paragraph(text, at, end)


def _paragraph(text: str, start: int, end: int) -> list[tuple[int, int]]:
    found = []
    at = start
    for stop in _END.finditer(text, start, end):
        if _ends_sentence(text, at, stop, end):
            found.append((at, stop.end()))
            at = stop.end()
    found.append((at, end))
    return found


def _ends_sentence(text: str, start: int, stop: re.Match[str], end: int) -> bool:
    following = _NEXT.match(text, stop.end(), end)
    if stop[0][0] in _FULL_STOPS:
        return True
    if following is None:
        return False
    if following[1].islower():
        return False
    word = _LAST_WORD.search(text, max(start, stop.start() - 40), stop.start())
    last = word[0] if word else ""
    if stop[0][0] != ".":
        return True
    is_initial = len(last) == 1 and last.isupper()
    is_number_of_item = last.isdigit() and text[start : stop.start()].strip() == last
    return not (is_initial or is_number_of_item or last.lower() in ABBREVIATIONS)


def _bounded(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """Trim white space and cut what is longer than MAX_CHARS at white space."""
    found = []
    while start < end:
        while start < end and text[start].isspace():
            start += 1
        while start < end and text[end - 1].isspace():
            end -= 1
        if end - start <= MAX_CHARS:
            break
        cut = max(text.rfind(" ", start + 1, start + MAX_CHARS), text.rfind("\n", start + 1, start + MAX_CHARS))
        cut = cut if cut > start else start + MAX_CHARS
        found += _bounded(text, start, cut)
        start = cut
    return [*found, (start, end)] if start < end else found
