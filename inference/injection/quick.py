"""The fast subset of the rules, for questions and quotes: about a millisecond for 500 characters, in any process."""

from __future__ import annotations

from functools import cache

from inference.injection.scanner import Scanner
from millrace.findings import Finding


@cache
def _scanner() -> Scanner:
    return Scanner(full=False)


def quick(text: str) -> tuple[Finding, ...]:
    """Find what the fast subset of the rules finds, in order of place."""
    return _scanner().scan(text).findings
