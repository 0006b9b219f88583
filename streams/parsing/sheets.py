"""Workbooks: a section for each sheet that is shown, a line for each row, with the names of its columns."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterator
from itertools import chain, groupby, islice
from typing import Any, Final

from openpyxl import load_workbook
from openpyxl.utils import column_index_from_string, get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from streams.parsing.container import opened
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.tables import SAMPLE_ROWS, header_row

Row = dict[int, str]
"""Filled cells of a row by column number, from 1."""

_MAX_COLUMN: Final = 16_384
_PERCENT: Final = re.compile(r"^[^;\"]*%")


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Convert an .xlsx file; formulas count with the values that were saved.

    Raises
    ------
    Refused
        If it is no intact workbook.
    """
    draft = Draft(limits)
    opened(data, limits).close()
    try:
        book = load_workbook(io.BytesIO(data), data_only=True, keep_links=False)
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                draft.removed["hidden_sheet"] += 1
                continue
            draft.paragraph()
            draft.mark("sheet", sheet.title)
            draft.write(f"## {' '.join(sheet.title.split())}\n")
            _write_rows(draft, sheet)
    except (
        InvalidFileException,
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
        IndexError,
    ) as error:
        raise Refused("broken", f"the workbook cannot be understood: {type(error).__name__}") from error
    return draft


def _write_rows(draft: Draft, sheet: Any) -> None:
    rows = _rows(sheet, draft)
    first = list(islice(rows, SAMPLE_ROWS))
    columns = sorted(set().union(*first))
    number = header_row([[row.get(column, "") for column in columns] for row in first])
    names: Row = {}
    for i, row in enumerate(chain(first, rows)):
        if i == number:
            names = row
            continue
        cells = [
            f"{names.get(column) or f'Column {get_column_letter(column)}'}: {text}" for column, text in row.items()
        ]
        draft.paragraph()
        draft.write("; ".join(cells if names else row.values()))


def _rows(sheet: Any, draft: Draft) -> Iterator[Row]:
    """Rows with something in them. Only cells that exist are looked at: a sheet may claim any size."""
    hidden_columns = _hidden_columns(sheet)
    hidden_rows = {number for number, one in sheet.row_dimensions.items() if one.hidden}
    draft.removed["hidden_column"] += len(hidden_columns)
    cells = sorted(sheet._cells.items())  # noqa: SLF001 - the public iterators walk through all that is claimed
    for number, group in groupby(cells, key=lambda cell: cell[0][0]):
        row = {column: text for (_, column), cell in group if column not in hidden_columns and (text := _text(cell))}
        if row and number in hidden_rows:
            draft.removed["hidden_row"] += 1
        elif row:
            yield row


def _hidden_columns(sheet: Any) -> set[int]:
    hidden: set[int] = set()
    for letter, one in sheet.column_dimensions.items():
        if one.hidden:
            first = one.min or column_index_from_string(letter)
            hidden.update(range(first, min(one.max or first, _MAX_COLUMN, first + 256) + 1))
    return hidden


def _text(cell: Any) -> str:
    value = cell.value
    if isinstance(value, int | float) and not isinstance(value, bool) and _PERCENT.search(cell.number_format or ""):
        return f"{100 * value:.10g}%"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "minutes")
    return "" if value is None else " ".join(str(value).split())
