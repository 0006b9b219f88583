"""Which characters of a PDF page nobody sees.

Characters that are drawn together, as one text object, share their size and how they are painted, and stand on one
straight line. So the first and the last of them tell of all; only where one of the two is off the page, each is judged.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any, Final

from pypdfium2 import raw

_MIN_POINTS: Final = 1.5
_NOT_PAINTED: Final = frozenset({raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP})


def hidden_characters(page: Any, text_page: Any) -> bytearray:
    """Find what is not painted, off the page or too small.

    Where a page has an image, text that is not painted is most likely the text of a scan, and stays.

    Returns
    -------
    bytearray
        1 for each character that is hidden, else 0.
    """
    width, height = page.get_size()
    has_image = any(page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE,), max_depth=2))
    hidden = bytearray(text_page.count_chars())
    for drawn, start, end in _drawn_together(text_page, len(hidden)):
        size = size_of(text_page, start)
        if 0 < size < _MIN_POINTS or (not has_image and raw.FPDFTextObj_GetTextRenderMode(drawn) in _NOT_PAINTED):
            hidden[start:end] = b"\1" * (end - start)
        elif _is_outside(text_page, start, width, height) or _is_outside(text_page, end - 1, width, height):
            for i in range(start, end):
                hidden[i] = _is_outside(text_page, i, width, height)
    return hidden


def size_of(text_page: Any, index: int) -> float:
    """Size of a character in points, as it is drawn."""
    size = float(raw.FPDFText_GetFontSize(text_page, index))
    matrix = raw.FS_MATRIX()
    if not raw.FPDFText_GetMatrix(text_page, index, ctypes.byref(matrix)):
        return size
    return size * (float((matrix.b**2 + matrix.d**2) ** 0.5) or 1.0)


def _drawn_together(text_page: Any, n_chars: int) -> Iterator[tuple[Any, int, int]]:
    """Text objects with their first and last character, end exclusive; spaces between objects belong to none."""
    current, start, end = None, 0, 0
    for i in range(n_chars):
        drawn = raw.FPDFText_GetTextObject(text_page, i)
        if not drawn:
            continue
        if current is None or ctypes.addressof(drawn.contents) != ctypes.addressof(current.contents):
            if current is not None:
                yield current, start, end
            current, start = drawn, i
        end = i + 1
    if current is not None:
        yield current, start, end


def _is_outside(text_page: Any, index: int, width: float, height: float) -> bool:
    left, bottom, right, top = text_page.get_charbox(index)
    return bool(right < 0 or top < 0 or left > width or bottom > height)
