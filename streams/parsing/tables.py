"""CSV and TSV: every row becomes a line that names its columns, so that it answers a question by itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

from streams.parsing.decoding import decode
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused

_SAMPLE_CHARS: Final = 16_384
_DELIMITERS: Final = ",;\t|"
_MAX_FIELD_CHARS: Final = 2**20
SAMPLE_ROWS: Final = 20
"""Rows by which the header is told."""
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
_STATED: Final = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
_PIECES: Final = re.compile(r'"|[^"]+')


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Read a table.

    Raises
    ------
    Refused
        If it is no text, or no table.
    """
    draft = Draft(limits)
    source, draft.encoding = decode(data)
    csv.field_size_limit(_MAX_FIELD_CHARS)
    at, dialect = _opening(source)
    rows = csv.reader(io.StringIO(source[at:], newline=""), dialect)
    filled = (row for row in rows if any(cell.strip() for cell in row))
    names: Sequence[str] = ()
    try:
        first = list(islice(filled, SAMPLE_ROWS))
        number = header_row(first)
        for i, row in enumerate(chain(first, filled)):
            if i == number:
                names = [cell.strip() for cell in row]
                at = _skip(source, row, at)
            else:
                at = _write_row(draft, source, at, names, row)
    except csv.Error as error:
        message = f"row {rows.line_num} cannot be read as CSV: {error}; check quotes and delimiters"
        raise Refused("broken", message) from error
    return draft


def header_row(rows: Sequence[Sequence[str]]) -> int:
    """Which of the first rows names the columns; -1 if none does.

    Rows of a single cell before it are titles. The first row of several names the columns if most of them have a name,
    most names differ, and numbers among them are years that do not go on below. The last row names nothing.
    """
    for number, row in enumerate(rows):
        if sum(bool(cell.strip()) for cell in row) >= 2:
            below = rows[number + 1 :]
            return number if below and _names_columns([cell.strip() for cell in row], below) else -1
    return -1


def _names_columns(names: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    filled = [name for name in names if name]
    if 2 * len(filled) <= len(names) or 2 * len(set(filled)) <= len(filled) or all(map(_is_number, filled)):
        return False
    for column, name in enumerate(names):
        if _is_number(name):
            cells = [row[column].strip() for row in below if column < len(row)]
            if not _YEAR.fullmatch(name) or all(_YEAR.fullmatch(cell) for cell in cells):
                return False
    return True


def _is_number(cell: str) -> bool:
    return cell.replace(".", "").replace(",", "").lstrip("+-").isdigit()


def _opening(source: str) -> tuple[int, type[csv.Dialect] | csv.Dialect]:
    """Where the rows begin, and how they are written; a first line may name the delimiter, as Excel does."""
    stated = _STATED.match(source)
    if stated is None:
        return 0, _dialect(source[:_SAMPLE_CHARS])
    return stated.end(), type("Stated", (csv.excel,), {"delimiter": stated[1]})


def _dialect(sample: str) -> type[csv.Dialect] | csv.Dialect:
    """Sniffed from the first rows; the delimiter that most of them have where the sniffer is at a loss."""
    try:
        found = csv.Sniffer().sniff(sample, _DELIMITERS)
    except csv.Error:
        found = csv.excel
    lines = [line for line in sample.splitlines()[:20] if line.strip()]
    if not all(found.delimiter in line for line in lines[:2]):
        counts = {delimiter: sum(delimiter in line for line in lines) for delimiter in _DELIMITERS}
        delimiter = max(counts, key=lambda one: (counts[one], -_DELIMITERS.index(one)))
        found = type("Guessed", (csv.excel,), {"delimiter": delimiter})
    # What the sniffer believes of quotes it believes from a few rows; everybody writes them as Excel does.
    return type("Found", (csv.excel,), {"delimiter": found.delimiter, "skipinitialspace": found.skipinitialspace})


def _write_row(draft: Draft, source: str, at: int, names: Sequence[str], row: Sequence[str]) -> int:
    draft.paragraph()
    first = True
    for column, cell in enumerate(row):
        value = cell.strip()
        if not value:
            continue
        draft.write("" if first else "; ")
        if names:
            named = column < len(names) and names[column]
            draft.write(f"{named or f'Column {column + 1}'}: ")
        first = False
        at = _write_value(draft, source, at, value)
    return at


def _write_value(draft: Draft, source: str, at: int, value: str) -> int:
    """Write a cell with its place: cells come in the order of the source, where their quotes are doubled."""
    for number, line in enumerate(value.splitlines()):
        if number:
            draft.write(" ")
        for piece in _PIECES.findall(line.strip()):
            found = source.find(piece, at)
            draft.write(piece, found if found >= 0 else None)
            at = found + len(piece) if found >= 0 else at
    return at


def _skip(source: str, row: Sequence[str], at: int) -> int:
    for cell in row:
        found = source.find(cell.strip(), at)
        at = found + len(cell.strip()) if found >= 0 else at
    return at
