"""What a scan may cost. Imported on both sides of the pipe."""

from __future__ import annotations

from typing import Final

import msgspec

MIB: Final = 2**20


class ScannerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on scanning one text.

    Attributes
    ----------
    processes : int
        Windows scanned at a time, each in a child process.
    cpu_s, wall_s : float
        Computing time and time for one window; the first ends even a search that is deep in C.
    text_s : float
        Time for all windows of a text, waits for others left out.
    window_chars, overlap_chars : int
        A longer text is read in windows, each of which begins this much before the end of the last.
    max_chars : int
        Characters that are read of a text; beyond them a scan is incomplete.
    max_findings : int
        Findings kept of a text, the surest first.
    memory_bytes : int
        Address space of a child process.
    windows_per_process : int
        Windows after which a child process is replaced.
    cached_texts : int
        Outcomes remembered, by the digest of the text.
    """

    processes: int = 1
    cpu_s: float = 3.0
    wall_s: float = 30.0
    text_s: float = 120.0
    window_chars: int = 8_000
    overlap_chars: int = 800
    max_chars: int = 4 * MIB
    max_findings: int = 200
    memory_bytes: int = 1024 * MIB
    windows_per_process: int = 5_000
    cached_texts: int = 20_000
