"""Long texts, read in overlapping windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inference.injection.limits import ScannerLimits
from millrace.findings import Finding, Scan


def windows(text: str, limits: ScannerLimits) -> Iterator[tuple[int, str]]:
    """Windows of a text, each with the position of its first character; at least one."""
    n_chars = min(len(text), limits.max_chars)
    start = 0
    while True:
        end = min(start + limits.window_chars, n_chars)
        yield start, text[start:end]
        if end >= n_chars:
            return
        start = end - min(limits.overlap_chars, limits.window_chars // 2)


def joined(scans: Iterable[tuple[int, Scan]], limits: ScannerLimits, *, complete: bool) -> Scan:
    """One outcome of what was found in windows; what two of them found is told once."""
    findings: set[Finding] = set()
    score, flagged = 0.0, False
    for offset, scan in scans:
        score, flagged, complete = max(score, scan.score), flagged or scan.flagged, complete and scan.complete
        findings.update(
            Finding(
                kind=found.kind, rule=found.rule, start=found.start + offset, end=found.end + offset, score=found.score
            )
            for found in scan.findings
        )
    kept = sorted(findings, key=lambda found: (-found.score, found.start, found.end, found.rule))[: limits.max_findings]
    ordered = sorted(kept, key=lambda found: (found.start, found.end, found.rule))
    return Scan(findings=tuple(ordered), complete=complete, score=score, flagged=flagged)
