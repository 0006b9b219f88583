"""Convert a document for a test, and look at where its text stands in the source."""

from __future__ import annotations

from millrace.parsed import ParsedSource
from millrace.visible_text import visible
from streams.parsing.limits import ParserLimits
from streams.parsing.reading import read


def parse(data: bytes | str, media_type: str) -> ParsedSource:
    return read(data if isinstance(data, bytes) else data.encode(), media_type, ParserLimits())


def require_spans(parsed: ParsedSource, source: str) -> None:
    """Every run holds the same characters on both sides, or is a reference or an escape of what the text says."""
    last = 0
    for start, end, left, right in parsed.source.runs:
        assert last <= start < end
        assert left < right
        last = end
        if end - start == right - left:
            assert parsed.text[start:end] == visible(source[left:right]).text
        else:
            assert source[left] in "&\\"


def quoted(parsed: ParsedSource, source: str, text: str) -> str:
    start = parsed.text.index(text)
    span = parsed.source.span(start, start + len(text))
    assert span is not None
    return source[slice(*span)]
