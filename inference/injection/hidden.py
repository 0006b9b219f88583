"""Text that is there and that no reader sees: invisible characters, comments and styles in Markdown and HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from inference.injection.normalise import INVISIBLE
from millrace.findings import Finding

_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{4,}")
_OVERRIDES: Final = re.compile("[\u202d\u202e]")
# Inside words of scripts that need no joiners: in others, and in pictographs, they are spelling.
_SPLIT_WORD: Final = re.compile(
    "[A-Za-z\u00c0-\u024f\u0400-\u04ff][\u00ad\u200b-\u200d\u2060\ufeff\u034f]+[A-Za-z\u00c0-\u024f\u0400-\u04ff]"
)
_BITS: Final = re.compile("[\u200b-\u200f\u2060-\u2064\ufeff]{8,}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_MIN_SPLITS: Final = 3

_COMMENT: Final = re.compile(
    r"<!--(?P<text>.{3,4000}?)-->|^\[//\]: # [(\"'](?P<note>.{3,2000}?)[)\"']$", re.DOTALL | re.MULTILINE
)
_STYLED: Final = re.compile(
    r"<(?P<tag>[a-z][a-z0-9]{0,9})\b[^<>]{0,400}?(?:style\s*=\s*[\"']?[^\"'<>]{0,200}?(?:display\s*:\s*none|visibility\s*:\s*hidden"
    r"|font-size\s*:\s*[01](?:px|pt|em|%)?\s*[;\"']|opacity\s*:\s*0(?:\.0+)?\s*[;\"']|color\s*:\s*(?:white|\#fff(?:fff)?|transparent)\b"
    r"|(?:left|top|text-indent)\s*:\s*-\d{3,}px)|\shidden(?:[\s=>])|aria-hidden\s*=\s*[\"']?true)[^<>]{0,400}>(?P<text>[^<>]{3,4000})",
    re.IGNORECASE,
)
_WORDS: Final = re.compile(r"[^\W\d_]{2,}")
_MIN_WORDS: Final = 3
_TOOLS: Final = re.compile(
    r"\s*(?:/?(?:toc|more|markdownlint|prettier|eslint|vale|spellchecker|textlint|omit|start|begin|end|todo|fixme|copyright|SPDX)\b|\[if |\w+:)",
    re.IGNORECASE,
)


def invisible(text: str) -> Iterator[Finding]:
    """Invisible characters where they are no spelling: inside words, in long rows, as copies of letters."""
    if text.isascii() or INVISIBLE.search(text) is None:
        return
    for found in _TAGS.finditer(text):
        yield Finding("hidden_text", "tag_characters", found.start(), found.end(), 0.95)
    for found in _BITS.finditer(text):
        yield Finding("hidden_text", "invisible_row", found.start(), found.end(), 0.8)
    splits = list(_SPLIT_WORD.finditer(text))
    if len([found for found in splits if "\u00ad" not in found.group()]) >= _MIN_SPLITS:
        yield Finding("hidden_text", "split_words", splits[0].start(), splits[-1].end(), 0.7)
    for found in _OVERRIDES.finditer(text):
        yield Finding("hidden_text", "reversed_by_control", found.start(), found.end(), 0.7)


def unseen(text: str) -> list[tuple[str, int, int]]:
    """Texts in comments and in elements that are not shown: rule, and place of the text."""
    if "<" not in text and "[//]" not in text:
        return []
    found = [("comment", *_span(match)) for match in _COMMENT.finditer(text)]
    found += [("hidden_element", *match.span("text")) for match in _STYLED.finditer(text)]
    return [
        (rule, start, end)
        for rule, start, end in found
        if len(_WORDS.findall(text, start, end)) >= _MIN_WORDS and not _TOOLS.match(text, start)
    ]


def _span(match: re.Match[str]) -> tuple[int, int]:
    return match.span("text") if match.group("text") is not None else match.span("note")
