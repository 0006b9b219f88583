"""Build the handbook's Word, PDF, PowerPoint and Excel files from the Markdown under ``sources/``.

Needs ``pip install python-docx python-pptx openpyxl fpdf2``; run it after a change in ``sources/`` and commit both. The
same text gives the same bytes with the same versions of these packages.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import docx
import openpyxl
import pptx
from fpdf import FPDF
from fpdf.fonts import FontFace
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from pptx.util import Inches, Pt

HERE = Path(__file__).parent
SOURCES = HERE / "sources"
AUTHOR = "Alder & Finch"
WRITTEN = datetime(2025, 9, 1, 9, 0, tzinfo=UTC)
_STAMP = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*")
_NUMBER = re.compile(r"\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; level 1 is the title of the document."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Running text."""

    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list without numbers."""

    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first row is the header."""

    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Bullets | Table


def parse(markdown: str) -> Iterator[Block]:
    """Read the little Markdown that ``sources/`` uses: headings, paragraphs, lists and tables, a blank line between."""
    for part in re.split(r"\n{2,}", markdown.strip()):
        if part.startswith("#"):
            marks, text = part.split(" ", 1)
            yield Heading(len(marks), text)
        elif part.startswith("- "):
            yield Bullets(tuple(" ".join(item.split()) for item in re.split(r"(?:^|\n)- ", part) if item))
        elif part.startswith("|"):
            header, _, *rows = part.splitlines()
            yield Table(tuple(_cells(line) for line in (header, *rows)))
        else:
            yield Paragraph(" ".join(part.split()))


def write_docx(blocks: list[Block], path: Path) -> None:
    """Write a Word file with heading styles, real lists and tables."""
    document = docx.Document()
    properties = document.core_properties
    properties.title, properties.author, properties.comments = _title(blocks), AUTHOR, ""
    for block in blocks:
        match block:
            case Heading(level, text):
                document.add_heading(text, level - 1)
            case Paragraph(text):
                document.add_paragraph(text)
            case Bullets(items):
                for item in items:
                    document.add_paragraph(item, style="List Bullet")
            case Table(rows):
                table = document.add_table(len(rows), len(rows[0]), style="Table Grid")
                for row, cells in zip(rows, table.rows, strict=True):
                    for text, cell in zip(row, cells.cells, strict=True):
                        cell.text = text
                document.add_paragraph()
    document.save(str(path))
    _settle(path)


def write_pptx(blocks: list[Block], path: Path) -> None:
    """Write a deck: the title on its own slide, then a slide for each heading with its list or table."""
    deck = pptx.Presentation()
    deck.core_properties.title, deck.core_properties.author = _title(blocks), AUTHOR
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    for block in blocks:
        match block:
            case Heading(1, text):
                slide.shapes.title.text = text
            case Heading(_, text):
                slide = deck.slides.add_slide(deck.slide_layouts[1])
                slide.shapes.title.text = text
            case Paragraph(text):
                slide.placeholders[1].text = text
            case Bullets(items):
                frame = slide.placeholders[1].text_frame
                frame.text = "\n".join(items)
                for paragraph in frame.paragraphs:
                    paragraph.font.size = Pt(22)
            case Table(rows):
                body = slide.placeholders[1]
                body.element.getparent().remove(body.element)
                size = (Inches(0.5), Inches(1.7), Inches(9), Inches(0.5 * len(rows)))
                table = slide.shapes.add_table(len(rows), len(rows[0]), *size).table
                for y, row in enumerate(rows):
                    for x, text in enumerate(row):
                        table.cell(y, x).text = text
    deck.save(str(path))
    _settle(path)


def write_xlsx(blocks: list[Block], path: Path) -> None:
    """Write a workbook with a sheet for each heading below the title; figures become numbers."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    book.properties.title, book.properties.creator = _title(blocks), AUTHOR
    for block in blocks:
        match block:
            case Heading(2, text):
                book.create_sheet(text)
            case Table(rows):
                sheet = book.worksheets[-1]
                for row in rows:
                    sheet.append([float(cell) if _NUMBER.fullmatch(cell) else cell for cell in row])
                for cell in sheet[1]:
                    cell.font = Font(bold=True)
                for n, column in enumerate(zip(*rows, strict=True), start=1):
                    sheet.column_dimensions[get_column_letter(n)].width = max(map(len, column)) + 2
                sheet.freeze_panes = "A2"
            case _:
                continue
    book.save(path)
    _settle(path)


def write_pdf(blocks: list[Block], path: Path) -> None:
    """Write a PDF with bookmarks, tables and the title and page number at the foot of each page."""
    pdf = _Pdf()
    pdf.set_title(_title(blocks))
    pdf.set_author(AUTHOR)
    pdf.set_creation_date(WRITTEN)
    pdf.set_margin(25)
    pdf.add_page()
    for block in blocks:
        match block:
            case Heading(level, text):
                pdf.start_section(text, level - 1)
                pdf.set_font("Helvetica", "B", 20 - 4 * level)
                pdf.multi_cell(0, 10, text, new_x="LMARGIN", new_y="NEXT")
            case Paragraph(text):
                pdf.set_font("Helvetica", "", 11)
                pdf.multi_cell(0, 5.5, text, align="L", new_x="LMARGIN", new_y="NEXT")
                pdf.ln(2)
            case Bullets(items):
                pdf.set_font("Helvetica", "", 11)
                for item in items:
                    pdf.multi_cell(0, 5.5, f"- {item}", align="L", new_x="LMARGIN", new_y="NEXT")
                pdf.ln(2)
            case Table(rows):
                pdf.set_font("Helvetica", "", 10)
                with pdf.table(rows, text_align="LEFT", headings_style=FontFace(emphasis="BOLD")):
                    pass
                pdf.ln(3)
    pdf.output(str(path))


class _Pdf(FPDF):
    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("Helvetica", "", 8)
        self.cell(0, 5, f"{AUTHOR}: {self.title}, page {self.page_no()}", align="C")


WRITERS = {".docx": write_docx, ".pptx": write_pptx, ".xlsx": write_xlsx, ".pdf": write_pdf}


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip("|").split("|"))


def _title(blocks: list[Block]) -> str:
    return next(block.text for block in blocks if isinstance(block, Heading))


def _settle(path: Path) -> None:
    """Give an Office file fixed dates, inside and in its zip directory, so that building again changes nothing."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    stamp = WRITTEN.strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            settled = _STAMP.sub(rb"\g<1>" + stamp, data) if name == "docProps/core.xml" else data
            archive.writestr(zipfile.ZipInfo(name, WRITTEN.timetuple()[:6]), settled, zipfile.ZIP_DEFLATED)


def main() -> None:
    """Build every file that has a source, ``sources/hr/x.docx.md`` into ``hr/x.docx``."""
    for source in sorted(SOURCES.rglob("*.md")):
        path = HERE / source.relative_to(SOURCES).with_suffix("")
        WRITERS[path.suffix](list(parse(source.read_text(encoding="utf-8"))), path)
        print(f"{path.relative_to(HERE)}  {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
