"""Scans one window of a text: rules over it, what it asks for, and the same over what is hidden in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inference.injection.asking import asked
from inference.injection.decoding import decoded
from inference.injection.hidden import invisible, unseen
from inference.injection.normalise import Normalised, normalised
from inference.injection.obscenity import obscenities
from inference.injection.ruleset import Ruleset, atr_rules, own_rules
from millrace.findings import Finding, Scan

THRESHOLD: Final = 0.5
_LOWEST: Final = 0.2
_SPELLED: Final = frozenset({"leet", "spaced"})


class Scanner:
    """Scans texts, one window at a time.

    Parameters
    ----------
    full : bool
        Whether all rules are loaded, or the fast ones alone, without the score that needs sentences.
    """

    def __init__(self, *, full: bool = True) -> None:
        self._full = full
        self._own = Ruleset(own_rules(quick=not full))
        self._atr = Ruleset(alternatives=atr_rules()) if full else None

    def scan(self, text: str) -> Scan:
        """Find what the rules find, in order of place."""
        plain = normalised(text)
        findings = {*invisible(text), *self._in_plain(plain)}
        for run in decoded(plain.text):
            start, end = plain.place(run.start, run.end)
            findings.update(self._in_run(run.text, run.how, start, end))
        ordered = tuple(sorted(findings, key=lambda found: (found.start, found.end, found.rule)))
        score = max((found.score for found in ordered if found.kind in {"injection", "hidden_text"}), default=0.0)
        return Scan(findings=ordered, score=score, flagged=score >= THRESHOLD)

    def _in_plain(self, plain: Normalised) -> Iterator[Finding]:
        dark = unseen(plain.text)
        for found in self._found(plain.text, dark):
            start, end = plain.place(found.start, found.end)
            yield Finding(found.kind, found.rule, start, end, found.score)
            if found.kind == "injection":
                for rule, first, last in dark:
                    if first <= found.start and found.end <= last:
                        yield Finding("hidden_text", rule, *plain.place(first, last), max(found.score, THRESHOLD))

    def _found(self, text: str, dark: list[tuple[str, int, int]]) -> Iterator[Finding]:
        yield from self._own.find(text)
        yield from obscenities(text)
        if self._atr is None:
            return
        yield from self._atr.find(text)
        for sentence in asked(text, hidden=[(start, end) for _, start, end in dark]):
            if sentence.score >= _LOWEST:
                yield Finding("injection", sentence.rule, sentence.start, sentence.end, round(sentence.score, 3))

    def _in_run(self, text: str, how: str, start: int, end: int) -> Iterator[Finding]:
        """What a decoded text holds, all of it at the place of its run."""
        best = max((found.score for found in self._own.find(text)), default=0.0)
        if self._full and how not in _SPELLED:
            best = max([best, *(sentence.score for sentence in asked(text, alone=True))])
        if best >= _LOWEST:
            yield Finding("hidden_text", f"encoded_{how}", start, end, round(best, 3))
