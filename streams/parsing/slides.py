"""Presentations: a section for each slide that is shown, with its notes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pptx import Presentation
from pptx.exc import PythonPptxError

from streams.parsing.container import opened
from streams.parsing.draft import Draft
from streams.parsing.limits import ParserLimits, Refused

_HIDDEN: Final = ("0", "false")


def read(data: bytes, limits: ParserLimits) -> Draft:
    """Convert a .pptx file.

    Raises
    ------
    Refused
        If it is no intact presentation.
    """
    draft = Draft(limits)
    opened(data, limits).close()
    try:
        presentation = Presentation(io.BytesIO(data))
        for number, slide in enumerate(presentation.slides, start=1):
            if slide._element.get("show") in _HIDDEN:  # noqa: SLF001 - the library has no name for it
                draft.removed["hidden_slide"] += 1
                continue
            draft.paragraph()
            draft.mark("slide", str(number))
            _write_slide(draft, slide, number)
    except (PythonPptxError, KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        raise Refused("broken", f"the presentation cannot be understood: {type(error).__name__}") from error
    return draft


def _write_slide(draft: Draft, slide: Any, number: int) -> None:
    title = slide.shapes.title
    title = None if title is not None and _is_hidden(title) else title
    heading = " ".join(title.text_frame.text.split()) if title is not None and title.has_text_frame else ""
    draft.title = draft.title or heading
    draft.write(f"## {heading or f'Slide {number}'}\n")
    for shape in _shown(slide.shapes, draft):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        draft.paragraph()
        if getattr(shape, "has_table", False):
            _write_table(draft, shape.table)
        elif getattr(shape, "has_chart", False):
            _write_chart(draft, shape.chart)
        elif shape.has_text_frame:
            _write_text(draft, shape.text_frame.paragraphs)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = slide.notes_slide.notes_text_frame.text.strip()
        if notes:
            draft.paragraph()
            draft.write(f"Notes: {notes}\n")


def _shown(shapes: Iterable[Any], draft: Draft) -> Iterator[Any]:
    """Shapes from top to bottom, groups opened, hidden ones left out."""
    for shape in sorted(shapes, key=lambda one: (one.top or 0, one.left or 0)):
        if _is_hidden(shape):
            draft.removed["hidden"] += 1
        elif hasattr(shape, "shapes"):
            yield from _shown(shape.shapes, draft)
        else:
            yield shape


def _is_hidden(shape: Any) -> bool:
    return any(node.get("hidden") in {"1", "true"} for node in shape._element.xpath("./*/p:cNvPr"))  # noqa: SLF001


def _write_text(draft: Draft, paragraphs: Sequence[Any]) -> None:
    filled = [(paragraph.level, " ".join(paragraph.text.split())) for paragraph in paragraphs]
    filled = [(level, text) for level, text in filled if text]
    bullets = len(filled) > 1
    for level, text in filled:
        draft.write(f"{'  ' * level}- {text}\n" if bullets else f"{text}\n")


def _write_table(draft: Draft, table: Any) -> None:
    for number, row in enumerate(table.rows):
        cells = [" ".join(cell.text.split()).replace("|", "\\|") for cell in row.cells]
        draft.write(f"| {' | '.join(cells)} |\n")
        if not number:
            draft.write(f"|{' --- |' * len(cells)}\n")


def _write_chart(draft: Draft, chart: Any) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        draft.write(f"{' '.join(chart.chart_title.text_frame.text.split())}\n\n")
    for plot in chart.plots:
        categories = [str(category) for category in plot.categories]
        for series in plot.series:
            values = [f"{name}: {value}" for name, value in zip(categories, series.values, strict=False)]
            draft.write(f"- {series.name}: {'; '.join(values)}\n")
