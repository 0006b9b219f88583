"""Personal data and secrets are masked, links made inert, as a text goes by in pieces of any size. Pure.

A text is cut into segments where no finding can lie: between plain words, with more plain words on both sides. Where
those places are follows from the text before them and from a few words behind, never from how the text came in pieces.
So what goes out is the same however it was cut, and at most a few words of plain text wait.
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Final

import msgspec
from millrace.findings import Finding
from millrace.parsed import SourceMap
from millrace.visible_text import visible

from agents.guard.links import Edit, edits

Find = Callable[[str], Sequence[Finding]]

MARGIN: Final = 3
"""Plain words on each side of a cut."""
CONTEXT_CHARS: Final = 64
"""Characters before a segment that are looked at with it: words that say what a number is."""
_REACH: Final = 256
_MOST_FINDINGS: Final = 1_000
_WORD: Final = re.compile(r"\s*(\S++)(?=\s)").match
_PLAIN: Final = re.compile(
    r"[\"'(*\u201c\u201e\u2018]{0,3}[^\W\d_]{1,24}(?:['\u2019-][^\W\d_]{1,24}){0,3}[)\"'*.,;:!?\u201d\u2019\u2026]{0,4}"
    r"|[-\u2013\u2014\u2022]"
).fullmatch
_SECRET_WORD: Final = re.compile(r"pass|secret|key|token|pwd|bearer|basic", re.IGNORECASE).search
_ODD_SPACE: Final = re.compile(r"[\x0b-\x1f\x85\u2028\u2029]").search


class Masked(msgspec.Struct, frozen=True):
    """What was changed in a text, and where it stood in the text that was given."""

    kind: str
    rule: str
    start: int
    end: int
    score: float = 1.0


class Masks:
    """Names for what is masked: the same value has the same name within an answer."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._n: dict[str, int] = {}

    def name(self, rule: str, value: str) -> str:
        """Name of a value, such as ``[EMAIL_ADDRESS_1]``; spelling with other spaces, dashes or case is the same."""
        key = (rule, re.sub(r"[\W_]+", "", value).casefold())
        if key not in self._names:
            self._n[rule] = self._n.get(rule, 0) + 1
            self._names[key] = f"[{rule.upper()}_{self._n[rule]}]"
        return self._names[key]


class StreamGuard:
    """A text in pieces goes in, the same text goes out as it may be shown.

    Parameters
    ----------
    find : callable
        Places of what has to be masked, in order and without overlaps.
    masks : Masks
        Names, shared by everything that belongs to one answer.
    hosts : collection of str
        Hosts that links may lead to.
    max_chars : int
        Most characters that are held back.

    Attributes
    ----------
    changes : list of Masked
        What was changed so far.
    """

    def __init__(self, find: Find, masks: Masks, hosts: Collection[str] = (), max_chars: int = 4_096) -> None:
        self.changes: list[Masked] = []
        self._find = find
        self._masks = masks
        self._hosts = hosts
        self._max = max_chars
        self._held = ""
        self._before = ""
        self._starts: list[int] = []
        self._scanned = 0
        self._n_plain = 0
        self._at = 0

    def feed(self, text: str) -> str:
        """Take the next piece; give what can go out."""
        self._held += text
        out: list[str] = []
        while (cut := self._next_cut()) is not None:
            out.append(self._release(cut))
        return "".join(out)

    def flush(self) -> str:
        """Give the rest: the text has ended."""
        return self._release(len(self._held))

    def _next_cut(self) -> int | None:
        """End of the next segment, once it is known."""
        while (word := _WORD(self._held, self._scanned)) is not None and word.end() < self._max:
            self._scanned = word.end()
            self._starts.append(word.start(1))
            self._n_plain = self._n_plain + 1 if _PLAIN(word[1]) else 0
            if self._n_plain == 2 * MARGIN:
                return self._starts[-MARGIN]
        return self._forced() if len(self._held) >= self._max else None

    def _forced(self) -> int:
        """Cut somewhere in a segment that is too long, at a space if there is one, and in no finding."""
        window = self._held[: self._max]
        at = self._max * 3 // 4
        space = max(window.rfind(each, 1, at) for each in " \n\t")
        cut = space if space > 0 else at
        begin = max(cut - _REACH, 0)
        for found in self._find(window[begin : cut + _REACH]):
            if begin + found.start < cut < begin + found.end:
                cut = begin + found.start
        return cut or at

    def _release(self, end: int) -> str:
        segment, self._held = self._held[:end], self._held[end:]
        self._starts = [start - end for start in self._starts if start >= end]
        self._scanned = max(self._scanned - end, 0)
        self._n_plain = min(self._n_plain, len(self._starts))
        out = self._guarded(segment)
        self._at += end
        return out

    def _guarded(self, segment: str) -> str:
        before = self._before
        if not _ODD_SPACE(segment) and all(_PLAIN(word) for word in segment.split()):
            self._before = (before + segment)[-CONTEXT_CHARS:]
            if not _SECRET_WORD(before + segment):
                return segment
        seen = visible(segment)
        text = seen.text
        self._before = (before + text)[-CONTEXT_CHARS:]
        changes = _with(edits(text, self._hosts), text, _after(before, every(self._find, before + text)), self._masks)
        source = SourceMap(runs=seen.runs)
        out: list[str] = []
        at = 0
        for change in changes:
            out += (text[at : change.start], change.text)
            at = change.end
            start, end = source.span(change.start, change.end) or (change.start, change.end)
            self.changes.append(Masked(change.kind, change.rule, self._at + start, self._at + end))
        return "".join([*out, text[at:]])


def every(find: Find, text: str) -> list[Finding]:
    """All findings: what is found is blanked out and the rest looked at again, for neighbours can hide each other."""
    found: list[Finding] = []
    while len(found) < _MOST_FINDINGS and (more := find(text)):
        found += more
        for each in more:
            text = text[: each.start] + "\n" * (each.end - each.start) + text[each.end :]
    return sorted(found, key=lambda finding: finding.start)


def _after(before: str, findings: Sequence[Finding]) -> list[Finding]:
    """Findings in a text that `before` precedes, at their places in it."""
    n = len(before)
    return [
        msgspec.structs.replace(found, start=max(found.start - n, 0), end=found.end - n)
        for found in findings
        if found.end > n
    ]


def masked(
    text: str, find: Find, masks: Masks, hosts: Collection[str] = (), max_chars: int = 4_096
) -> tuple[str, list[Masked]]:
    """Guard a whole text; gives it, and what was changed."""
    guard = StreamGuard(find, masks, hosts, max_chars)
    out = guard.feed(text) + guard.flush()
    return out, guard.changes


def _with(links: Sequence[Edit], text: str, findings: Sequence[Finding], masks: Masks) -> list[Edit]:
    """Edits for findings beside those for links: what lies in a link goes with it, what laps over is masked as well."""
    found = [link for link in links if not any(each.start <= link.start and link.end <= each.end for each in findings)]
    for finding in findings:
        start, end = finding.start, finding.end
        for link in found:
            if link.start <= start < link.end:
                start = link.end
            if link.start < end <= link.end:
                end = link.start
        if start < end:
            name = masks.name(finding.rule, text[finding.start : finding.end])
            found.append(Edit(start, end, name, finding.rule, finding.kind))
    return sorted(found, key=lambda edit: (edit.start, edit.end))
