"""A source document as text, and the way back: which characters of the text stand where in the source.

Parsers return these shapes and the corpus path stores them, so they stand in the SDK, where both sides may look.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

Run = tuple[int, int, int, int]
"""Start and end in the text, start and end in the source; characters, end exclusive."""


class SourceMark(msgspec.Struct, frozen=True, array_like=True):
    """Where a page, slide or sheet begins.

    Attributes
    ----------
    start : int
        First character of the text that belongs to it.
    kind : str
        ``page``, ``slide`` or ``sheet``.
    label : str
        Its number from 1, or its name.
    """

    start: int
    kind: str
    label: str


class SourceMap(msgspec.Struct, frozen=True, kw_only=True):
    """From a parsed text back into its source.

    Attributes
    ----------
    encoding : str
        How the source was decoded; empty for formats without text positions.
    runs : tuple of (int, int, int, int)
        Start and end in the text, start and end in the decoded source, rising and without overlap. A run of equal
        lengths on both sides holds the same characters one by one; any other (a character reference) belongs together.
    marks : tuple of SourceMark
        Pages, slides or sheets, rising.
    """

    encoding: str = ""
    runs: tuple[Run, ...] = ()
    marks: tuple[SourceMark, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """Smallest span of the source that holds what is known of ``text[start:end]``; None if nothing is."""
        found: tuple[int, int] | None = None
        first = max(bisect_right(self.runs, start, key=lambda run: run[0]) - 1, 0)
        for text_start, text_end, source_start, source_end in self.runs[first:]:
            if text_start >= end:
                break
            if text_end <= start:
                continue
            left, right = source_start, source_end
            if text_end - text_start == source_end - source_start:
                left += max(start - text_start, 0)
                right -= max(text_end - end, 0)
            found = (left, right) if found is None else (found[0], right)
        return found

    def mark(self, at: int) -> SourceMark | None:
        """Page, slide or sheet that a character of the text belongs to."""
        n_before = bisect_right(self.marks, at, key=lambda mark: mark.start)
        return self.marks[n_before - 1] if n_before else None


class ParsedSource(msgspec.Struct, frozen=True, kw_only=True):
    """What a parser makes of a document.

    Attributes
    ----------
    text : str
        Structured Markdown.
    title : str
        Title of the document; empty if it has none of its own.
    language : str
        BCP 47 code of the main language; empty where the text is too short or mixed to say.
    removed : mapping of str to int
        What was taken out, by kind: see docs/how-to/read-documents.md.
    source : SourceMap
        The way back.
    """

    text: str
    title: str = ""
    language: str = ""
    removed: Mapping[str, int] = {}
    source: SourceMap = SourceMap()


def encode_map(source: SourceMap) -> bytes:
    """Bytes of a map, to be kept beside the text."""
    return msgspec.msgpack.encode(source)


def decode_map(data: bytes) -> SourceMap:
    """Undo `encode_map`."""
    return msgspec.msgpack.decode(data, type=SourceMap)


def compose(outer: Sequence[Run], inner: Sequence[Run]) -> tuple[Run, ...]:
    """Runs from a final text to its source, from those to a text in between and those from there on."""
    return tuple(joined(_composed(outer, inner)))


def _composed(outer: Sequence[Run], inner: Sequence[Run]) -> Iterator[Run]:
    at = 0
    for start, end, mid_start, mid_end in outer:
        while at and inner[at - 1][1] > mid_start:
            at -= 1
        while at < len(inner) and inner[at][1] <= mid_start:
            at += 1
        for run in inner[at:]:
            left, right = max(run[0], mid_start), min(run[1], mid_end)
            if left >= right:
                break
            linear = run[1] - run[0] == run[3] - run[2]
            source = (run[2] + left - run[0], run[2] + right - run[0]) if linear else (run[2], run[3])
            if end - start == mid_end - mid_start:
                yield start + left - mid_start, start + right - mid_start, *source
            else:
                yield start, end, *source


def joined(runs: Iterable[Run]) -> Iterator[Run]:
    """Join runs that continue each other character by character."""
    last: Run | None = None
    for run in runs:
        if last is None:
            last = run
        elif _linear(last) and _linear(run) and (last[1], last[3]) == (run[0], run[2]):
            last = (last[0], run[1], last[2], run[3])
        else:
            yield last
            last = run
    if last is not None:
        yield last


def _linear(run: Run) -> bool:
    return run[1] - run[0] == run[3] - run[2]
