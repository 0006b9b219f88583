"""Turn the bytes of a document into text with blocks: pure.

The parsed text is what is stored and what every span of a citation points into.
"""

import codecs
import re
from collections.abc import Iterator, Mapping

import msgspec
from millrace.errors import Unreadable
from millrace.parsed import ParsedSource, SourceMap
from millrace.visible_text import VisibleText, visible

MEDIA_TYPES = ("text/markdown", "text/plain")
MAX_CONTROL_SHARE = 0.01

_MARKUP = re.compile(rb"<[a-zA-Z!]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})[ \t]*$")
_FRONT_MATTER_LINES = 60


class Block(msgspec.Struct, frozen=True):
    """A paragraph, list, table or code block.

    Attributes
    ----------
    start, end : int
        Characters of the parsed text, end exclusive, without surrounding blank lines.
    section : int
        Grows with each heading; blocks of one section stand under the same heading.
    heading : str
        Titles from the outermost heading to the nearest, joined by `` > ``; empty before the first.
    kind : str
        ``text``, ``code`` or ``meta`` (front matter).
    """

    start: int
    end: int
    section: int
    heading: str
    kind: str = "text"


class ParsedText(msgspec.Struct, frozen=True):
    """A document as text.

    Attributes
    ----------
    title : str
        Its own title, else its first heading, else empty.
    language : str
        Main language, where the parser says it.
    removed : mapping of str to int
        What was taken out, by kind.
    source : SourceMap or None
        The way back into the source; None if the text is the source, character by character.
    """

    text: str
    title: str
    blocks: tuple[Block, ...]
    language: str = ""
    removed: Mapping[str, int] = {}
    source: SourceMap | None = None


def is_plain(media_type: str) -> bool:
    """Whether a document needs no parser but this module."""
    return _kind(media_type) in MEDIA_TYPES


def has_markup(data: bytes, media_type: str) -> bool:
    """Whether a Markdown document may hold HTML, which can hide text: a parser has to look at it."""
    return _kind(media_type) == "text/markdown" and _MARKUP.search(data) is not None


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def parse(data: bytes, media_type: str) -> ParsedText:
    """Decode and split a document of plain text.

    Parameters
    ----------
    data : bytes
        UTF-8, with or without byte order mark.
    media_type : str
        ``text/markdown`` or ``text/plain``; parameters after ``;`` are ignored.

    Raises
    ------
    Unreadable
        If the media type is unknown, or the bytes are not UTF-8 text.
    """
    kind = _kind(media_type)
    if kind not in MEDIA_TYPES:
        message = f"media type {media_type[:80]!r} cannot be read; supported are {', '.join(MEDIA_TYPES)}"
        raise Unreadable("media_type", message)
    found = decode(data)
    text = found.text
    blocks = _markdown(text) if kind == "text/markdown" else ParsedText(text, "", tuple(_paragraphs(text)))
    same = all(run == (0, len(text), 0, len(text)) for run in found.runs) and not data.startswith(codecs.BOM_UTF8)
    source = None if same else SourceMap(encoding="utf-8-sig", runs=found.runs)
    return msgspec.structs.replace(blocks, removed=found.removed, source=source)


def split(parsed: ParsedSource) -> ParsedText:
    """Split what a parser made of a document."""
    found = _markdown(parsed.text)
    same = parsed.source.encoding == "utf-8" and parsed.source.runs == ((0, len(parsed.text), 0, len(parsed.text)),)
    return ParsedText(
        parsed.text,
        parsed.title or found.title,
        found.blocks,
        language=parsed.language,
        removed=parsed.removed,
        source=None if same and not parsed.removed and not parsed.source.marks else parsed.source,
    )


def decode(data: bytes) -> VisibleText:
    r"""Decode UTF-8 and normalise: newlines become ``\n``, other control characters spaces, invisible ones go.

    Raises
    ------
    Unreadable
        If the bytes are not UTF-8, or more than one character in a hundred is a control character.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"content is not UTF-8: byte {data[error.start]:#04x} at {error.start}; convert it to UTF-8"
        raise Unreadable("encoding", message) from error
    found = visible(text)
    n_control = found.removed.get("control", 0)
    if n_control > max(1.0, MAX_CONTROL_SHARE * len(text)):
        message = f"content looks binary: {n_control} control characters in {len(text)}; send text"
        raise Unreadable("binary", message)
    return found


def _lines(text: str) -> Iterator[tuple[int, int, str]]:
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line), line
        start += len(line) + 1


def _paragraphs(text: str) -> Iterator[Block]:
    start = end = -1
    for at, after, line in _lines(text):
        if line.strip():
            start = at if start < 0 else start
            end = after
        elif start >= 0:
            yield Block(start, end, 0, "")
            start = -1
    if start >= 0:
        yield Block(start, end, 0, "")


class _Markdown:
    """Line by line reading of Markdown: what is open, and what is done."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.title = ""
        self.open: list[tuple[int, int, str]] = []
        self.path: list[tuple[int, str]] = []
        self.section = 0
        self.pending: tuple[int, int, int] | None = None  # start, end and level of a heading without a body so far

    def close(self, kind: str = "text") -> None:
        if self.open:
            self.pending = None
            self._add(self.open[0][0], self.open[-1][1], kind)
            self.open = []

    def heading(self, level: int, title: str, start: int, end: int) -> None:
        self.close()
        self.flush_heading(level)
        while self.path and self.path[-1][0] >= level:
            self.path.pop()
        self.section += 1
        if title:
            self.title = self.title or title
            self.path.append((level, title))
            self.pending = (start, end, level)

    def flush_heading(self, next_level: int) -> None:
        """Keep a heading that nothing follows as a block under its parents; one with subsections lives in paths."""
        if self.pending is not None and next_level <= self.pending[2]:
            self.path.pop()
            self._add(self.pending[0], self.pending[1], "text")
        self.pending = None

    def _add(self, start: int, end: int, kind: str) -> None:
        heading = " > ".join(title for _, title in self.path)
        self.blocks.append(Block(start, end, self.section, heading, kind))


def _markdown(text: str) -> ParsedText:
    state = _Markdown()
    fence = ""
    skip_to = _front_matter(text, state)
    for start, end, line in _lines(text):
        if end < skip_to:
            continue
        marker = _FENCE.match(line)
        if fence:
            state.open.append((start, end, line))
            if marker and marker[1].startswith(fence) and not marker[2].strip():
                state.close("code")
                fence = ""
        elif marker and not (marker[1][0] == "`" and "`" in marker[2]):
            state.close()
            fence = marker[1]
            state.open.append((start, end, line))
        else:
            _read_line(state, start, end, line)
    state.close("code" if fence else "text")
    state.flush_heading(0)
    return ParsedText(text, state.title, tuple(state.blocks))


def _read_line(state: _Markdown, start: int, end: int, line: str) -> None:
    atx = _ATX.match(line)
    underline = _SETEXT.match(line)
    if atx:
        state.heading(len(atx[1]), (atx[2] or "").strip(), start, end)
    elif underline and len(state.open) == 1:
        first, _, title = state.open.pop()
        state.heading(1 if underline[1][0] == "=" else 2, title.strip(), first, end)
    elif line.strip():
        state.open.append((start, end, line))
    else:
        state.close()


def _front_matter(text: str, state: _Markdown) -> int:
    """Read ``---`` front matter as one block; returns the offset where the body starts."""
    if not text.startswith("---\n"):
        return 0
    for number, (start, end, line) in enumerate(_lines(text)):
        if number > _FRONT_MATTER_LINES:
            break
        if line.startswith("title:"):
            state.title = line.removeprefix("title:").strip().strip("\"'")
        if start and line.rstrip() in {"---", "..."}:
            state.blocks.append(Block(0, end, 0, "", "meta"))
            state.section = 1
            return end + 1
    state.title = ""
    return 0
