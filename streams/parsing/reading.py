"""Choose a reader by media type and finish what it wrote. Runs in a child process, since readers may do anything."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from millrace.parsed import ParsedSource, SourceMap, SourceMark, compose
from millrace.visible_text import visible
from streams.parsing.draft import Draft
from streams.parsing.language import language
from streams.parsing.limits import ParserLimits, Refused

Reader = Callable[[bytes, ParserLimits], Draft]

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
READERS: Final[dict[str, str]] = {
    "text/html": "html",
    "text/markdown": "markdown",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
    f"{_OFFICE}.wordprocessingml.document": "word",
    f"{_OFFICE}.presentationml.presentation": "slides",
    f"{_OFFICE}.spreadsheetml.sheet": "sheets",
    "text/csv": "tables",
    "text/tab-separated-values": "tables",
    "application/json": "records",
    "application/x-ndjson": "records",
    "application/jsonl": "records",
}
"""Module of this package that reads a media type; its libraries are loaded with the first document of the kind."""


def require_known(media_type: str) -> str:
    """Media type without parameters, in lower case.

    Raises
    ------
    Refused
        If nothing reads it.
    """
    kind = media_type.partition(";")[0].strip().lower()
    if kind not in READERS:
        message = f"media type {media_type[:80]!r} cannot be read; text/plain can, and {', '.join(READERS)}"
        raise Refused("media_type", message)
    return kind


def read(data: bytes, media_type: str, limits: ParserLimits) -> ParsedSource:
    """Parse a document.

    Raises
    ------
    Refused
        If it cannot be read.
    """
    return finish(load(media_type)(data, limits))


def load(media_type: str) -> Reader:
    """Reader of a media type, with its libraries.

    Raises
    ------
    Refused
        If there is none.
    """
    module: Any = import_module(f"streams.parsing.{READERS[require_known(media_type)]}")
    reader: Reader = module.read
    return reader


def finish(draft: Draft) -> ParsedSource:
    """Take out invisible characters and name the language."""
    seen = visible(draft.text)
    runs = compose(seen.runs, draft.runs) if draft.encoding else ()
    marks = tuple(SourceMark(_after(seen.runs, mark.start), mark.kind, mark.label) for mark in draft.marks)
    removed = draft.removed + type(draft.removed)(seen.removed)
    return ParsedSource(
        text=seen.text,
        title=visible(draft.title).text,
        language=language(seen.text),
        removed={kind: n for kind, n in sorted(removed.items()) if n},
        source=SourceMap(encoding=draft.encoding, runs=runs, marks=marks),
    )


def _after(runs: Any, at: int) -> int:
    """Place in the finished text of a place in the draft."""
    before = [run for run in runs if run[2] <= at]
    return min(before[-1][0] + at - before[-1][2], before[-1][1]) if before else 0
