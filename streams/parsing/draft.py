"""What a reader writes: text piece by piece, with the place in the source of each piece that has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from millrace.parsed import Run, SourceMark
from streams.parsing.limits import ParserLimits, Refused


class Draft:
    """Text under construction.

    Attributes
    ----------
    title : str
        The document's own title.
    encoding : str
        How the source was decoded; empty for formats without text positions.
    removed : Counter
        What was left out, by kind.
    """

    def __init__(self, limits: ParserLimits) -> None:
        self.title = ""
        self.encoding = ""
        self.removed: Counter[str] = Counter()
        self.runs: list[Run] = []
        self.marks: list[SourceMark] = []
        self._parts: list[str] = []
        self._n_chars = 0
        self._end = ""
        self._max_chars = limits.max_text_chars

    @property
    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)

    def write(self, text: str, source: int | None = None) -> None:
        """Append a piece; `source` is where it begins in the source, if it stands there character by character."""
        self.place(text, () if source is None else ((0, len(text), source, source + len(text)),))

    def place(self, text: str, runs: Sequence[Run]) -> None:
        """Append a piece with its runs, counted from its start.

        Raises
        ------
        Refused
            If the text becomes too long.
        """
        at = self._n_chars
        self._n_chars += len(text)
        if self._n_chars > self._max_chars:
            message = f"the text of the document is over {self._max_chars} characters long; split the document"
            raise Refused("too_large", message)
        self._parts.append(text)
        self._end = (self._end + text)[-2:]
        self.runs += ((start + at, end + at, left, right) for start, end, left, right in runs if end > start)

    def paragraph(self) -> None:
        """Leave a blank line, unless nothing was written."""
        if self._n_chars and not self._end.endswith("\n\n"):
            self.write("\n" if self._end.endswith("\n") else "\n\n")

    def mark(self, kind: str, label: str) -> None:
        """Say that a page, slide or sheet begins here."""
        self.marks.append(SourceMark(self._n_chars, kind, label))
