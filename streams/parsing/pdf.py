"""PDF: text by page in reading order of the file; size and distance of lines tell headings and paragraphs."""

from __future__ import annotations

import re
import sys
from collections import Counter
from itertools import pairwise
from statistics import median
from typing import Any, Final

import msgspec
import pypdfium2
from pypdfium2 import raw

from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.pdf_hidden import hidden_characters, size_of

_HYPHEN: Final = re.compile(r"(?<=[^\W\d_]{2})[-\u00ad\ufffe\x02]$")
_BLOCK_START: Final = re.compile(r"(#{1,6}(?:\s|$)|```|~~~|={3,}$|-{3,}$)")
_NUMBER: Final = re.compile(r"\d+")
_EDGE: Final = 0.09
_HEADING_RATIO: Final = 1.15
_GAP_RATIO: Final = 1.5
_MAX_HEADING_CHARS: Final = 120


class _Line(msgspec.Struct):
    """A line of a page.

    Attributes
    ----------
    size, bottom : float
        Font size, and place of the base from the bottom of the page, in points.
    at_edge : bool
        Whether it stands where running titles and page numbers do.
    """

    text: str
    size: float
    bottom: float
    at_edge: bool

    def pattern(self, body: float) -> str:
        """What running lines have in common: all but their numbers, or all if it is set like a heading."""
        return self.text if self.size >= _HEADING_RATIO * body else _NUMBER.sub("0", self.text)


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Convert a PDF file.

    Raises
    ------
    Refused
        ``encrypted`` or ``broken``.
    """
    draft = Draft(limits)
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == raw.FPDF_ERR_PASSWORD:
            raise Refused("encrypted", "the document needs a password; save it without one") from error
        raise Refused("broken", "the file is no intact PDF; write it anew") from error
    pages: list[list[_Line]] = []
    n_chars = 0
    for number in range(len(document)):
        pages.append(_lines(document, number, draft.removed))
        n_chars += sum(len(line.text) for line in pages[-1])
        if n_chars > limits.max_text_chars:
            raise Refused("too_large", f"the text of the document is over {limits.max_text_chars} characters; split it")
    body = _body_size(pages)
    _drop_repeated(pages, body, draft.removed)
    draft.title = " ".join((document.get_metadata_value("Title") or "").split())[:300]
    for number, lines in enumerate(pages, start=1):
        draft.paragraph()
        draft.mark("page", str(number))
        _write_page(draft, lines, body)
    return draft


def _lines(document: Any, number: int, removed: Counter[str]) -> list[_Line]:
    try:
        page = document[number]
    except pypdfium2.PdfiumError as error:
        raise Refused("broken", f"page {number + 1} cannot be read; write the file anew") from error
    height = page.get_height()
    text_page = page.get_textpage()
    text, hidden = _text(text_page), hidden_characters(page, text_page)
    found: list[_Line] = []
    end = -1
    for line in text.split("\n"):
        start, end = end + 1, end + 1 + len(line)
        shown = line
        if 1 in hidden[start:end]:
            removed["hidden"] += 1
            shown = "".join(one for one, gone in zip(line, hidden[start:end], strict=True) if not gone)
        if not shown.strip():
            continue
        first = next(i for i in range(start, end) if not hidden[i] and not text[i].isspace())
        _, bottom, _, _ = text_page.get_charbox(first)
        at_edge = not _EDGE <= bottom / height <= 1 - _EDGE
        found.append(_Line(shown.strip().replace("\r", ""), round(size_of(text_page, first), 1), bottom, at_edge))
    text_page.close()
    page.close()
    return found


def _text(text_page: Any) -> str:
    """Text of a page, a character for each that the library counts."""
    text: str = text_page.get_text_range()
    n_chars = text_page.count_chars()
    if len(text) != n_chars:
        codes = (raw.FPDFText_GetUnicode(text_page, i) for i in range(n_chars))
        text = "".join(
            chr(code) if code <= sys.maxunicode and not 0xD800 <= code < 0xE000 else "\ufffd" for code in codes
        )
    return text


def _drop_repeated(pages: list[list[_Line]], body: float, removed: Counter[str]) -> None:
    """Leave out first and last lines in the margin that most pages share, page numbers among them."""
    if len(pages) < 3:
        return
    for end in (0, -1):
        edges = Counter(lines[end].pattern(body) for lines in pages if lines and lines[end].at_edge)
        common = {text for text, n in edges.items() if n > len(pages) / 2 and n > 2}
        for lines in pages:
            if lines and lines[end].at_edge and lines[end].pattern(body) in common:
                del lines[end]
                removed["boilerplate"] += 1


def _body_size(pages: list[list[_Line]]) -> float:
    sizes: Counter[float] = Counter()
    for line in (line for lines in pages for line in lines):
        sizes[line.size] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 0.0


def _write_page(draft: Draft, lines: list[_Line], body: float) -> None:
    distances = [above.bottom - line.bottom for above, line in pairwise(lines)]
    usual = median([one for one in distances if one > 0] or [body * 1.2])
    for i, line in enumerate(lines):
        heading = _is_heading(line, body)
        if heading:
            draft.paragraph()
            level = 1 if line.size >= 1.6 * body else 2 if line.size >= 1.3 * body else 3
            draft.write(f"{'#' * level} {line.text}\n\n")
            continue
        if i and not (0 <= distances[i - 1] <= _GAP_RATIO * usual):
            draft.paragraph()
        joins = _HYPHEN.search(line.text) and i + 1 < len(lines) and lines[i + 1].text[0].islower()
        text = _BLOCK_START.sub(r"\\\1", line.text) if _BLOCK_START.match(line.text) else line.text
        draft.write(_HYPHEN.sub("", text) if joins else f"{text}\n")


def _is_heading(line: _Line, body: float) -> bool:
    return line.size >= _HEADING_RATIO * body and len(line.text) <= _MAX_HEADING_CHARS and line.text[-1] not in ".,;"
