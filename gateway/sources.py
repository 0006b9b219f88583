"""Sources of answers for interfaces: where a citation can be looked at, and a part of a text as it may be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote


class Quoted(Protocol):
    """A span of a version of a document."""

    @property
    def document(self) -> str:
        """Document."""

    @property
    def version(self) -> int:
        """Version that was read."""

    @property
    def start(self) -> int:
        """First character."""

    @property
    def end(self) -> int:
        """Character after the last one."""


Link = Callable[[Quoted], str]
Mask = Callable[[str], str]
"""Hides personal data in a text; may change its length."""


def source_link(base: str = "") -> Link:
    """Makes addresses of source pages.

    Parameters
    ----------
    base : str
        Address of the gateway as callers know it; empty for addresses without a host.
    """
    root = base.rstrip("/")

    def link(quoted: Quoted) -> str:
        document = quote(quoted.document, safe="")
        return f"{root}/corpus/document?id={document}&version={quoted.version}&start={quoted.start}&end={quoted.end}"

    return link


_MARGIN: Final = 1_000


def masked_span(text: str, start: int, end: int, mask: Mask) -> tuple[str, int, int]:
    """A span of a text without personal data, and where it begins and ends.

    What is masked is found in whole lines, as half a number is no number. Where there is something in them, the lines
    are the span: a masked text has other places than the one that it was made of.
    """
    first = max(text.rfind("\n", max(0, start - _MARGIN), start) + 1, start - _MARGIN, 0)
    found = text.find("\n", end, end + _MARGIN)
    last = found if found >= 0 else min(len(text), end + _MARGIN)
    lines = text[first:last]
    shown = mask(lines)
    return (text[start:end], start, end) if shown == lines else (shown, first, last)
