"""Sources of answers for interfaces: where a citation can be looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
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
