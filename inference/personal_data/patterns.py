"""Patterns over whole texts, in RE2: no text makes them slow."""

from __future__ import annotations

from typing import Any, Final

import re2


def compiled(pattern: str, *, any_case: bool = False) -> Any:
    """Compile a pattern; it must have no look-around, which RE2 does not know."""
    options = re2.Options()
    options.case_sensitive = not any_case
    options.log_errors = False
    return re2.compile(pattern, options)


_FULL_WIDTH: Final = {0xFF10 + digit: ord("0") + digit for digit in range(10)}
# One character for one, so that places stay what they are.
_ALIKE: Final = _FULL_WIDTH | {
    0x00A0: 0x20, 0x2007: 0x20, 0x2009: 0x20, 0x202F: 0x20, 0x3000: 0x20, 0x2010: 0x2D, 0x2011: 0x2D, 0x2012: 0x2D,
    0x2013: 0x2D, 0x2212: 0x2D, 0xFF0D: 0x2D, 0xFF0B: 0x2B, 0xFF20: 0x40, 0xFF0E: 0x2E,
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # lone surrogates, which RE2 cannot read
}  # fmt: skip


def plain(text: str) -> str:
    """Text of the same length, with digits, spaces and hyphens of other sorts as the usual ones."""
    return text if text.isascii() else text.translate(_ALIKE)
