"""What a document may cost, and how it is refused. Imported on both sides of the pipe."""

from __future__ import annotations

from typing import Final

import msgspec

MIB: Final = 2**20


class ParserLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on parsing one document.

    Attributes
    ----------
    processes, slow_processes : int
        Documents parsed at a time, each in a child process: quick ones, and those that took longer than a slice.
    slice_s : float
        Time after which a document is slow.
    wall_s, cpu_s : float, int
        Time for one document.
    memory_bytes : int
        Address space of a child process.
    max_bytes : int
        Size of a document.
    max_text_chars : int
        Characters of the text made of it.
    max_inflated_bytes, max_inflation, max_parts : int
        What the parts of an Office file may hold together, how many times its packed size a part may hold, and how
        many parts there may be.
    max_depth : int
        Nesting of elements, arrays and objects.
    documents_per_process : int
        Documents after which a child process is replaced.
    """

    processes: int = 2
    slow_processes: int = 2
    slice_s: float = 0.25
    wall_s: float = 30.0
    cpu_s: int = 20
    memory_bytes: int = 1024 * MIB
    max_bytes: int = 32 * MIB
    max_text_chars: int = 16 * MIB
    max_inflated_bytes: int = 256 * MIB
    max_inflation: int = 200
    max_parts: int = 10_000
    max_depth: int = 200
    documents_per_process: int = 200


class Refused(Exception):
    """A document that cannot be read, with a bounded reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
