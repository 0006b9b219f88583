"""Rules of the ATR set that are left out, because they are found in honest text.

Each was found in privacy policies, encyclopaedia articles, e-mails, or manuals and descriptions of software. Most look
for words of administration (password, reauthorize), for code, or for what a shell is told; they are meant for the
arguments of tools, where such words are rare.
"""

from __future__ import annotations

from typing import Final

NOISY: Final = frozenset(
    f"ATR-2026-{number}"
    for number in (
        "00001", "00003", "00050", "00051", "00060", "00061", "00065", "00075", "00111", "00113", "00202", "00237", "00242", "00264",
        "00282", "00398", "00454", "00480", "00501", "00510", "00521", "00522", "00526", "01454", "01603",
    )
)  # fmt: skip
