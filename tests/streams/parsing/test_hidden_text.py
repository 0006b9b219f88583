"""What Word, PowerPoint and PDF hide is left out, however the file is put together."""

from __future__ import annotations

import docx
import docx.enum.style
import docx.shared
import pptx
import pytest

from millrace.parsed import ParsedSource
from streams.parsing.limits import ParserLimits, Refused
from streams.parsing.reading import read
from tests.streams.parsing import office_files as files

MAIN = "word/document.xml"
ENTITY = b'<!DOCTYPE d [<!ENTITY e "SECRET">]>'


def parse(data: bytes, media_type: str) -> ParsedSource:
    return read(data, media_type, ParserLimits())


@pytest.mark.parametrize("new", ["word/document2.xml", "word/document.bin", "word/media/image.png"])
@pytest.mark.parametrize("with_decoy", [True, False])
def test_the_document_is_where_its_relations_say_and_hidden_text_goes_from_there(new: str, with_decoy: bool) -> None:
    whole = parse(files.word(), files.DOCX)
    decoy = (
        b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"/>' if with_decoy else b""
    )
    moved = parse(files.renamed(files.word(), MAIN, new, decoy=decoy), files.DOCX)
    assert (moved.text, moved.removed) == (whole.text, whole.removed)


def test_the_strict_form_is_read_alike() -> None:
    whole = parse(files.word(), files.DOCX)
    data = files.strict(files.word())
    for other in (data, files.renamed(data, MAIN, "word/document2.xml")):
        parsed = parse(other, files.DOCX)
        assert (parsed.text, parsed.removed) == (whole.text, whole.removed)


def test_a_document_type_is_refused_whatever_the_part_is_called() -> None:
    with_entity = files.with_part(files.word(), MAIN, ENTITY + b"<d>&e;</d>")
    for name in (MAIN, "word/document.bin"):
        with pytest.raises(Refused) as caught:
            parse(with_entity if name == MAIN else files.renamed(with_entity, MAIN, name), files.DOCX)
        assert caught.value.reason == "external_entity"
    with pytest.raises(Refused) as caught:  # drawings may have one, but are never read
        parse(files.renamed(with_entity, MAIN, "word/document.svg"), files.DOCX)
    assert caught.value.reason == "broken"
    drawing = files.with_part(files.word(), "word/media/a.svg", b"<!DOCTYPE svg [<!ENTITY n 'x'>]><svg>&n;</svg>")
    assert "Heron" in parse(drawing, files.DOCX).text


@pytest.mark.parametrize("how", ["vanish", "size"])
def test_a_default_style_hides_what_names_no_style_and_a_run_may_say_otherwise(how: str) -> None:
    document = docx.Document()
    font = document.styles["Normal"].font
    if how == "vanish":
        font.hidden = True
    else:
        font.size = docx.shared.Pt(1)
    paragraph = document.add_paragraph("SECRET")
    shown = paragraph.add_run("SHOWN")
    if how == "vanish":
        shown.font.hidden = False
    else:
        shown.font.size = docx.shared.Pt(10)
    based = document.styles.add_style("Based", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    based.base_style = document.styles["Normal"]
    document.add_paragraph("SECRET", style="Based")
    parsed = parse(files.saved(document), files.DOCX)
    assert parsed.text == "SHOWN\n"
    assert parsed.removed == {"hidden": 2}


def test_a_hidden_title_heads_no_slide_and_names_no_document() -> None:
    deck = pptx.Presentation()
    for title in ("SECRET", "Plan"):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "Body"
    deck.slides[0].shapes.title._element.nvSpPr.cNvPr.set("hidden", "1")
    parsed = parse(files.saved(deck), files.PPTX)
    assert (parsed.title, parsed.text) == ("Plan", "## Slide 1\n\nBody\n\n## Plan\n\nBody\n")
    assert parsed.removed == {"hidden": 1}


PAGE = b"BT /F1 11 Tf 50 700 Td (Visible start) Tj %b ET BT /F1 11 Tf 0 Tr 50 600 Td (Visible end) Tj ET"


@pytest.mark.parametrize(
    "hidden",
    [
        b"3 Tr ( SECRET) Tj",
        b"7 Tr ( SECRET) Tj",
        b"/F1 1 Tf ( SECRET) Tj",
        b"0.05 0 0 0.05 130 700 Tm ( SECRET) Tj",
        b"2000 0 Td (SECRET) Tj",
        b"600 0 Td (SECRET) Tj",
    ],
    ids=["not painted", "clip", "size", "matrix", "far off", "off"],
)
def test_text_of_a_pdf_is_judged_piece_by_piece_within_a_line(hidden: bytes) -> None:
    parsed = parse(files.pdf_page(PAGE % hidden), files.PDF)
    assert parsed.text == "Visible start\nVisible end\n"
    assert parsed.removed == {"hidden": 1}


def test_a_line_that_begins_hidden_and_one_that_runs_off_the_page_keep_what_is_seen() -> None:
    early = parse(files.pdf_page(b"BT /F1 11 Tf 50 700 Td 3 Tr (SECRET ) Tj 0 Tr (Visible) Tj ET"), files.PDF)
    assert (early.text, early.removed) == ("Visible\n", {"hidden": 1})
    late = parse(files.pdf_page(b"BT /F1 11 Tf 500 700 Td (" + b"Seen " * 3 + b"SECRET " * 20 + b") Tj ET"), files.PDF)
    assert late.text.startswith("Seen Seen Seen")
    assert late.text.count("SECRET") < 4
    assert late.removed == {"hidden": 1}


MARKDOWN = """# Rooms

Heron <!-- SECRET --> seats `<!-- SHOWN -->` twelve.
<div style="display:none">

SECRET **words** <div>SECRET</div>

```
SECRET
```
</div>

```html
<p hidden>SHOWN</p>
```

    <p hidden>SHOWN</p>

\\<!-- SHOWN --> and <b>SHOWN</b>, <span hidden>SECRET</span>.

<p hidden>SECRET

<div>
`<!-- SECRET -->`
</div>

<script>if (a < b) { SECRET }</script>
The end.
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_markdown_loses_comments_and_hidden_elements_but_no_code(newline: str) -> None:
    source = MARKDOWN.replace("\n", newline)
    parsed = parse(source.encode(), "text/markdown")
    assert "SECRET" not in parsed.text
    assert parsed.text.count("SHOWN") == source.count("SHOWN")
    assert parsed.removed == {"comment": 2, "hidden": 3, "script": 1}
    for start, end, left, right in parsed.source.runs:
        if end - start == right - left:
            assert parsed.text[start:end] == source[left:right].replace("\r", "\n")
    assert parsed.source.encoding == "utf-8"
    start = parsed.text.index("The end.")
    assert parsed.source.span(start, start + 8) == (source.index("The end."), source.index("The end.") + 8)


def test_what_is_never_closed_hides_the_rest_and_markdown_without_hidden_text_is_itself() -> None:
    assert parse(b"Seen.\n\n<div hidden>\n\nSECRET\n", "text/markdown").text == "Seen.\n\n"
    source = "Ask <https://a.example> or `List<int>`; 1 <2.\n\n| a | b |\n| - | - |\n| <br> | x |\n"
    parsed = parse(source.encode(), "text/markdown")
    assert (parsed.text, parsed.removed) == (source, {})
    assert parsed.source.runs == ((0, len(source), 0, len(source)),)
