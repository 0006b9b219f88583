"""CSV and TSV: every row becomes a line that names its columns, so that it answers a question by itself."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Final

from streams.parsing.decoding import decode
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused

_SAMPLE_CHARS: Final = 16_384
_DELIMITERS: Final = ",;\t|"
_MAX_FIELD_CHARS: Final = 2**20
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
    rows = csv.reader(io.StringIO(source, newline=""), _dialect(source[:_SAMPLE_CHARS]))
    names: Sequence[str] | None = None
    at = 0
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if names is None and is_header(row):
                names = [cell.strip() for cell in row]
                at = _skip(source, row, at)
            else:
                names = names or ()
                at = _write_row(draft, source, at, names, row)
    except csv.Error as error:
        message = f"row {rows.line_num} cannot be read as CSV: {error}; check quotes and delimiters"
        raise Refused("broken", message) from error
    return draft


def is_header(cells: Sequence[str]) -> bool:
    """Whether a first row names columns: all filled, all different, none a number."""
    names = [cell.strip() for cell in cells]
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        return False
    return not any(name.replace(".", "").replace(",", "").lstrip("+-").isdigit() for name in names)


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
            draft.write(f"{names[column] if column < len(names) else f'Column {column + 1}'}: ")
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
