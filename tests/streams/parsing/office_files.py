"""Documents in binary formats, made for a test."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import docx
import docx.enum.style
import docx.shared
import fpdf
import openpyxl
import pptx
import pptx.util

_OFFICE = "application/vnd.openxmlformats-officedocument"
DOCX = f"{_OFFICE}.wordprocessingml.document"
PPTX = f"{_OFFICE}.presentationml.presentation"
XLSX = f"{_OFFICE}.spreadsheetml.sheet"
PDF = "application/pdf"
SENTENCE = "The Heron room seats twelve people and has a projector that everybody may use."


def word() -> bytes:
    """Build a document with a heading, a bold run, a list, a table, and three kinds of hidden text."""
    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_heading("Rooms", 1)
    paragraph = document.add_paragraph("The Heron room seats ")
    paragraph.add_run("twelve people").bold = True
    paragraph.add_run(" vanished").font.hidden = True
    paragraph.add_run(" tiny").font.size = docx.shared.Pt(1)
    style = document.styles.add_style("Secret", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    style.font.hidden = True
    document.add_paragraph("styled away", style="Secret")
    table = document.add_table(2, 2)
    for cell, text in zip(
        (cell for row in table.rows for cell in row.cells), ("Room", "Seats", "Heron", "12"), strict=True
    ):
        cell.text = text
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Bullet")
    return saved(document)


def slides() -> bytes:
    """Build three slides, the second one hidden; the first has notes, the third a table and a hidden shape."""
    deck = pptx.Presentation()
    for title in ("Plan", "Hidden plan", "Rooms"):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
    first, second, third = deck.slides
    first.placeholders[1].text = "First\nSecond"
    first.notes_slide.notes_text_frame.text = "Speak slowly"
    second._element.set("show", "0")
    inch = pptx.util.Inches(1)
    table = third.shapes.add_table(2, 2, inch, 3 * inch, 4 * inch, inch).table
    for cell, text in zip(table.iter_cells(), ("Room", "Seats", "Heron", "12"), strict=True):
        cell.text = text
    box = third.shapes.add_textbox(inch, 5 * inch, inch, inch)
    box.text_frame.text = "nobody sees this"
    box._element.nvSpPr.cNvPr.set("hidden", "1")
    return saved(deck)


def workbook() -> bytes:
    """Build a sheet with a hidden row and a hidden column, and a hidden sheet."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Rooms"
    for row in (
        ["Room", "Seats", "Salary", "Cost"],
        ["Heron", 12, 99, 3.5],
        ["Swan", 4, 98, None],
        ["Crane", 8, 97, 1],
    ):
        sheet.append(row)
    sheet.row_dimensions[3].hidden = True
    sheet.column_dimensions["C"].hidden = True
    book.create_sheet("Secret").sheet_state = "hidden"
    return saved(book)


def pdf(*, password: str = "", n_pages: int = 2) -> bytes:
    """Build pages with a heading, two paragraphs and a running footer."""
    made = fpdf.FPDF()
    made.set_title("The rooms")
    if password:
        made.set_encryption(owner_password="owner", user_password=password)
    for number in range(1, n_pages + 1):
        made.add_page()
        made.set_font("Helvetica", "B", 20)
        made.cell(text=f"Chapter {number}", new_x="LMARGIN", new_y="NEXT")
        made.set_font("Helvetica", "", 11)
        made.multi_cell(0, text=f"{SENTENCE} " * 3, new_x="LMARGIN", new_y="NEXT")
        made.ln(8)
        made.multi_cell(0, text="# no heading", new_x="LMARGIN", new_y="NEXT")
        made.set_auto_page_break(auto=False)
        made.set_y(-15)
        made.cell(text=f"ACME - page {number}")
        made.set_auto_page_break(auto=True, margin=20)
    return bytes(made.output())


def pdf_with_invisible_text() -> bytes:
    """Build a page with text that is not painted."""
    made = fpdf.FPDF()
    made.add_page()
    made.set_font("Helvetica", "", 11)
    made.multi_cell(0, text="Everybody sees this.", new_x="LMARGIN", new_y="NEXT")
    with made.local_context(text_mode="INVISIBLE"):
        made.multi_cell(0, text="Nobody sees this.", new_x="LMARGIN", new_y="NEXT")
    return bytes(made.output())


def pdf_page(content: bytes) -> bytes:
    """Build one page of 600 x 800 points from its drawing operators."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(content), content),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body = b"".join(b"%d 0 obj%b endobj\n" % (i, one) for i, one in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R/Size 6>>\n%%EOF"


def container(parts: Mapping[str, bytes | str]) -> bytes:
    """Pack parts as an Office file does."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return packed.getvalue()


def with_part(data: bytes, name: str, content: bytes | str) -> bytes:
    """Replace a part of an Office file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts: dict[str, bytes | str] = {part: archive.read(part) for part in archive.namelist()}
    return container(parts | {name: content})


def renamed(data: bytes, old: str, new: str, *, decoy: bytes = b"") -> bytes:
    """Move a part of an Office file and tell those that refer to it; a decoy may take its old place."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts: dict[str, bytes | str] = {name: archive.read(name) for name in archive.namelist()}
    part = parts.pop(old)
    folder, _, name = old.rpartition("/")
    relations = parts.pop(f"{folder}/_rels/{name}.rels")
    parts = {
        at: content.replace(old.encode(), new.encode()) if isinstance(content, bytes) else content
        for at, content in parts.items()
    }
    folder, _, name = new.rpartition("/")
    parts |= {new: part, f"{folder}/_rels/{name}.rels": relations}
    return container(parts | ({old: decoy} if decoy else {}))


def strict(data: bytes) -> bytes:
    """Say the same in the namespaces of the strict form."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts: dict[str, bytes | str] = {}
        for name in archive.namelist():
            part = archive.read(name)
            for family in ("wordprocessingml/2006/main", "officeDocument/2006/relationships"):
                new = "http://purl.oclc.org/ooxml/" + family.replace("/2006", "")
                part = part.replace(f"http://schemas.openxmlformats.org/{family}".encode(), new.encode())
            parts[name] = part
    return container(parts)


def saved(document: object) -> bytes:
    """Bytes of a document of any of these libraries."""
    packed = io.BytesIO()
    document.save(packed)  # type: ignore[attr-defined]
    return packed.getvalue()
