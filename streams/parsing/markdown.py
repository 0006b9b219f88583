"""Markdown with markup in it: comments and elements that hide their text go, all else stays as it is written.

A parser for Markdown tells which lines are code or a block of HTML; within a line, code and escapes are told here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby, pairwise
from typing import Final

import msgspec
from markdown_it import MarkdownIt

from streams.parsing.decoding import require_text
from streams.parsing.draft import Draft
from streams.parsing.html import INERT, hidden_element
from streams.parsing.limits import ParserLimits, Refused

_NEWLINE: Final = re.compile(r"\r\n?|\n")
_MARKUP: Final = (
    r"(?P<comment><!--.*?(?:-->|\Z))|<(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9-]*)(?:[^<>\"']|\"[^\"]*+\"|'[^']*+')*+>"
)
_IN_HTML: Final = re.compile(_MARKUP, re.DOTALL)
_IN_TEXT: Final = re.compile(rf"\\.|(?P<ticks>`++).*?[^`](?P=ticks)(?!`)|`++|{_MARKUP}", re.DOTALL)
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_NEVER_NESTED: Final = frozenset({"p", "li", "dt", "dd", "tr", "td", "th", "option"})


class _Hidden(msgspec.Struct):
    """An element whose text is left out: where it begins, and how many of its name are open."""

    name: str
    start: int
    kind: str
    n_open: int = 1


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Read Markdown.

    Raises
    ------
    Refused
        If it is not UTF-8 text.
    """
    draft = Draft(limits)
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"content is not UTF-8: byte {data[error.start]:#04x} at {error.start}; convert it to UTF-8"
        raise Refused("encoding", message) from error
    require_text(source)
    draft.encoding = "utf-8" if len(data) == len(source.encode()) else "utf-8-sig"
    at = 0
    for start, end, kind in _hidden(source):
        draft.write(source[at:start], at)
        draft.removed[kind] += 1
        at = end
    draft.write(source[at:], at)
    return draft


def _hidden(source: str) -> Iterator[tuple[int, int, str]]:
    """Spans that are not shown, and what they count as."""
    inside: _Hidden | None = None
    for start, end, pattern in _regions(source):
        for found in pattern.finditer(source, start, end):
            name = (found["name"] or "").lower()
            if inside is None:
                if found["comment"]:
                    yield *found.span(), "comment"
                elif name and not found["close"] and name not in _VOID:
                    kind = "script" if name in INERT else "hidden" if hidden_element(found[0]) else ""
                    inside = _Hidden(name, found.start(), kind) if kind else None
            elif name == inside.name:
                again = not found["close"] and name in _NEVER_NESTED
                inside.n_open += -1 if found["close"] else 1
                if again or not inside.n_open:
                    yield inside.start, found.start() if again else found.end(), inside.kind
                    inside = None
        if inside is not None and inside.name in _NEVER_NESTED:
            yield inside.start, end, inside.kind
            inside = None
    if inside is not None:  # as a browser does: what is never closed holds all that follows
        yield inside.start, len(source), inside.kind


def _regions(source: str) -> Iterator[tuple[int, int, re.Pattern[str]]]:
    """Blocks of HTML and of text, without code, and what is looked for in them."""
    starts = [0, *(newline.end() for newline in _NEWLINE.finditer(source))]
    kinds = ["text"] * len(starts)
    for token in _blocks().parse(source):
        if token.type in {"fence", "code_block", "html_block"} and token.map is not None:
            first, last = token.map
            kinds[first:last] = [token.type] * (last - first)
    starts.append(len(source))
    blank = [not source[start:end].strip() for start, end in pairwise(starts)]
    lines = groupby(range(len(kinds)), key=lambda i: "" if kinds[i] == "text" and blank[i] else kinds[i])
    for kind, group in lines:
        numbers = list(group)
        if kind in {"text", "html_block"}:
            yield starts[numbers[0]], starts[numbers[-1] + 1], _IN_HTML if kind == "html_block" else _IN_TEXT


@cache
def _blocks() -> MarkdownIt:
    parser = MarkdownIt("commonmark")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser
