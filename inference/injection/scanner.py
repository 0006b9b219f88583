"""Scans one text: rules over it and over what is hidden in it."""

from __future__ import annotations

import re
from typing import Final

from millrace.findings import Finding, Scan

THRESHOLD: Final = 0.5
_OVERRIDE: Final = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.!?\n]{0,40}\b(?:previous|prior|above|earlier|preceding|all|your|system)\b"
    r"[^.!?\n]{0,40}\b(?:instructions?|rules?|prompts?|directions?|guidelines?|commands?|orders?|context)\b",
    re.IGNORECASE,
)


class Scanner:
    """Scans texts, one window at a time.

    Parameters
    ----------
    full : bool
        Whether all rules are loaded, or the fast ones alone.
    """

    def __init__(self, *, full: bool = True) -> None:
        self._full = full

    def scan(self, text: str) -> Scan:
        """Find what the rules find."""
        findings = tuple(
            Finding(kind="injection", rule="override", start=found.start(), end=found.end(), score=0.95)
            for found in _OVERRIDE.finditer(text)
        )
        score = max((found.score for found in findings), default=0.0)
        return Scan(findings=findings, score=score, flagged=score >= THRESHOLD)
