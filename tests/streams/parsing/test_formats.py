"""Golden conversions: what each format becomes, what is left out, and where the text stands in the source."""

from __future__ import annotations

import csv
import io
import json
import random
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.parsing.limits import Refused
from tests.streams.parsing import office_files as files
from tests.streams.parsing.conversion import parse, quoted, require_spans

HIDING = """height:0;overflow:hidden | width:0;overflow:hidden | max-height:0;overflow-y:clip | font-size:0.1px
font-size:.05em | font:0/0 a | margin-left:-9999px | left:-50em | top:-100vh | text-indent:-999em
clip-path:inset(100%) | clip-path:circle(0) | clip:rect(0,0,0,0) | clip:rect(1px 1px 1px 1px)
transform:translateX(-9999px) | transform:scale(0)
color:rgba(0,0,0,0) | color:rgb(255,255,255);background:white | color:white;background:rgb(255,255,255)
color:hsl(0 0% 100%);background:#fff | color:#fefefe;background:#fff | background:white url(x);color:white
display/**/:none | display:n\\6f ne | opacity:.01 | opacity:0% | filter:opacity(0)
display:none!important;display:block""".replace("\n", " | ").split(" | ")
SHOWING = """font-size:12px | height:0 | overflow:hidden;height:100px | margin-left:-100% | margin:-20px auto
left:-10px | clip-path:inset(10%) | clip:rect(0,100px,100px,0) | clip:auto
color:rgb(0 0 0 / 50%) | color:white;background:url(x)
color:black;background:transparent | font:12px/1 a | font:bold 1em a | transform:scale(.5) | width:0 | margin:0
display:none;display:block | color:nonsense;background:nonsense | ;;}{:::""".replace("\n", " | ").split(" | ")
HTML = """<!doctype html><html><head><title>Rooms | ACME</title><style>p{}</style></head><body>
<nav><a href=/>Home</a></nav><header>ACME Corp</header><div class="breadcrumb"><a href=/>You are here</a></div>
<main><h1>Meeting &amp; rooms</h1><p>The <b>Heron</b> room seats
   twelve people &mdash; ask <a href="mailto:x">Rooms</a>.</p>
<ul><li>one<li>two <ul><li>deep</ul></ul>
<table><tr><th>Room<th>Seats<tr><td>Heron<td>12</table>
<pre><code>def f():
    return 1 &lt; 2
</code></pre><h2>Zero</h2><p>The end.</p></main><footer>Imprint</footer></body></html>"""


def test_html_keeps_headings_lists_tables_and_code_and_loses_what_is_not_content() -> None:
    parsed = parse(HTML, "text/html; charset=utf-8")
    assert parsed.text == (
        "# Meeting & rooms\n\nThe **Heron** room seats\ntwelve people — ask Rooms.\n\n- one\n- two\n  - deep\n\n"
        "| Room | Seats |\n| --- | --- |\n| Heron | 12 |\n\n```\ndef f():\n    return 1 < 2\n```\n\n"
        "## Zero\n\nThe end.\n"
    )
    assert parsed.title == "Meeting & rooms"
    assert parsed.removed == {"boilerplate": 4, "script": 1}
    require_spans(parsed, HTML)
    assert quoted(parsed, HTML, "Meeting & rooms") == "Meeting &amp; rooms"
    assert quoted(parsed, HTML, "room seats\ntwelve people — ask").split() == [
        "room",
        "seats",
        "twelve",
        "people",
        "&mdash;",
        "ask",
    ]
    assert quoted(parsed, HTML, "return 1 < 2") == "return 1 &lt; 2"


def test_xhtml_with_its_declarations_is_read_as_html() -> None:
    source = (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"><html xmlns="http://www.w3.org/1999/xhtml">'
        "<body><p>One<br/>two.</p><![CDATA[SECRET]]></body></html>"
    )
    parsed = parse(source, "application/xhtml+xml")
    assert "SECRET" not in parsed.text
    assert parsed.text == "One\ntwo.\n"
    require_spans(parsed, source)


def test_an_encoding_that_only_xml_declares_is_used_and_inner_declarations_are_no_text() -> None:
    source = '<?xml version="1.0" encoding="iso-8859-2"?><html><body><p>łódź</p></body></html>'
    parsed = parse(source.encode("iso-8859-2"), "application/xhtml+xml")
    assert (parsed.text, parsed.source.encoding, parsed.removed) == ("łódź\n", "iso-8859-2", {})
    source = '<!DOCTYPE html [<!ENTITY a "b>]>c"> <!-- ]> -->]><html><body><p>Text</p></body></html>'
    parsed = parse(source, "application/xhtml+xml")
    assert parsed.text == "Text\n"
    require_spans(parsed, source)


@pytest.mark.parametrize(
    "flat",
    [
        "<svg>" + '<path d="M0 0"/>' * 250 + "</svg><p>Body.</p>",
        "<script>" + "for(i=0;i<n;i++)if(a>b){}\n" * 250 + "</script><p>Body.</p>",
        f"<!--{'<div>' * 250}--><p>Body.</p>",
        f"<p>Body.</p><textarea>{'<div>' * 250}</textarea>",
        "<font>" * 250 + "Body.",
        "<div><custom-part/></div>" * 250 + "<p>Body.</p>",
    ],
    ids=["drawing", "script", "comment", "control", "unclosed", "custom"],
)
def test_what_only_looks_deep_is_read(flat: str) -> None:
    assert parse(flat, "text/html").text.strip() == "Body."


@pytest.mark.parametrize(
    "hidden",
    [
        '<p style="display:none">SECRET</p>',
        '<p style="color:red; DISPLAY : none !important">SECRET</p>',
        '<div style="visibility: hidden"><p>SECRET</p></div>',
        '<span style="font-size:0">SECRET</span>',
        '<span style="font-size: 0px;">SECRET</span>',
        '<span style="opacity:0">SECRET</span>',
        '<p style="position:absolute;left:-9999px">SECRET</p>',
        '<p style="color:#fff;background:#FFFFFF">SECRET</p>',
        '<p style="color:white;background-color:white">SECRET</p>',
        "<p hidden>SECRET</p>",
        '<p hidden="until-found">SECRET</p>',
        '<input type="hidden" value="SECRET">',
        "<dialog>SECRET</dialog>",
        "<div popover>SECRET</div>",
        *(f'<p style="{style}">SECRET</p>' for style in HIDING),
    ],
)
def test_hidden_html_is_removed_and_counted(hidden: str) -> None:
    parsed = parse(f"<p>Before.</p>{hidden}<p>After.</p>", "text/html")
    assert parsed.text == "Before.\n\nAfter.\n"
    assert sum(parsed.removed.values()) == 1


@pytest.mark.parametrize(
    "shown",
    [
        '<p style="font-size:0.9em">SHOWN</p>',
        '<p style="opacity:0.5">SHOWN</p>',
        '<p style="color:#fff;background:#000">SHOWN</p>',
        '<p aria-hidden="true">SHOWN</p>',
        '<p style="margin-left:-10px">SHOWN</p>',
        *(f'<p style="{style}">SHOWN</p>' for style in SHOWING),
        "<header><h1>SHOWN</h1></header>",
        "<main><footer>SHOWN</footer></main>",
        "<aside>SHOWN</aside>",
        '<div class="menu">SHOWN: soup, fish and cake</div>',
        "<noscript></noscript><details><summary>SHOWN</summary></details>",
    ],
)
def test_what_can_be_seen_and_may_be_content_stays(shown: str) -> None:
    assert "SHOWN" in parse(f"<p>Before.</p>{shown}<p>After.</p>", "text/html").text


@pytest.mark.parametrize(
    ("gone", "kind"),
    [
        ("<!-- SECRET -->", "comment"),
        ("<script>SECRET</script>", "script"),
        ("<style>SECRET</style>", "script"),
        ("<template><p>SECRET</p></template>", "script"),
        ("<svg><text>SECRET</text></svg>", "script"),
        ("<button>SECRET</button>", "boilerplate"),
        ('<div role="navigation">SECRET</div>', "boilerplate"),
    ],
)
def test_comments_programs_and_controls_are_removed_and_counted(gone: str, kind: str) -> None:
    parsed = parse(f"<p>Before.</p>{gone}<p>After.</p>", "text/html")
    assert "SECRET" not in parsed.text
    assert parsed.removed == {kind: 1}


@pytest.mark.parametrize("media_type", ["text/html", "text/csv", "application/json"])
def test_zero_width_and_direction_characters_go_from_every_format_and_spans_stay_right(media_type: str) -> None:
    text = "be\u200bfore \u202eafter\u2069 the\ufeff end \u00ad."
    source = {"text/html": f"<p>{text}</p>", "text/csv": text, "application/json": f'"{text}"'}[media_type]
    parsed = parse(source, media_type)
    assert parsed.text.strip() == "before after the end ."
    assert parsed.removed == {"bidi": 2, "zero_width": 3}
    require_spans(parsed, source)
    assert quoted(parsed, source, "before") == "be\u200bfore"


def test_a_word_document_keeps_its_structure_and_loses_hidden_text() -> None:
    parsed = parse(files.word(), files.DOCX)
    assert parsed.text == (
        "# Handbook\n\n# Rooms\n\nThe Heron room seats **twelve people**\n\n| Room | Seats |\n| --- | --- |\n"
        "| Heron | 12 |\n\n- one\n- two\n"
    )
    assert parsed.removed == {"hidden": 3}


def test_slides_are_sections_with_marks_and_hidden_ones_are_left_out() -> None:
    parsed = parse(files.slides(), files.PPTX)
    assert parsed.text == (
        "## Plan\n\n- First\n- Second\n\nNotes: Speak slowly\n\n"
        "## Rooms\n\n| Room | Seats |\n| --- | --- |\n| Heron | 12 |\n"
    )
    assert parsed.removed == {"hidden": 1, "hidden_slide": 1}
    assert parsed.title == "Plan"
    mark = parsed.source.mark(parsed.text.index("Heron"))
    assert mark is not None
    assert (mark.kind, mark.label) == ("slide", "3")


def test_a_sheet_is_a_section_and_hidden_rows_columns_and_sheets_are_left_out() -> None:
    parsed = parse(files.workbook(), files.XLSX)
    assert parsed.text == "## Rooms\n\nRoom: Heron; Seats: 12; Cost: 3.5\n\nRoom: Crane; Seats: 8; Cost: 1"
    assert parsed.removed == {"hidden_column": 1, "hidden_row": 1, "hidden_sheet": 1}
    assert [(mark.kind, mark.label) for mark in parsed.source.marks] == [("sheet", "Rooms")]


def test_a_pdf_has_headings_paragraphs_and_pages_and_loses_running_lines() -> None:
    parsed = parse(files.pdf(n_pages=3), files.PDF)
    pages = [f"# Chapter {n}\n\n{files.SENTENCE}" for n in (1, 2, 3)]
    assert all(" ".join(page.split()) in " ".join(parsed.text.split()) for page in pages)
    assert parsed.text.count("\n\n\\# no heading\n") == 3
    assert "ACME" not in parsed.text
    assert (parsed.title, parsed.language, parsed.removed) == ("The rooms", "en", {"boilerplate": 3})
    assert [mark.label for mark in parsed.source.marks] == ["1", "2", "3"]
    mark = parsed.source.mark(parsed.text.index("Chapter 2"))
    assert mark is not None
    assert mark.label == "2"


def test_text_of_a_pdf_that_is_not_painted_is_left_out() -> None:
    parsed = parse(files.pdf_with_invisible_text(), files.PDF)
    assert parsed.text == "Everybody sees this.\n"
    assert parsed.removed == {"hidden": 1}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Die Sitzung beginnt um neun Uhr im großen Saal und endet gegen Mittag.", "de"),
        ("The session begins at nine in the large hall and ends around noon.", "en"),
        ("会議は九時に大きな会議室で始まり、正午ごろに終わります。", "ja"),
        ("12 34 56", ""),
        ("Heron 12", ""),
    ],
)
def test_the_language_is_named_where_the_text_says_it(text: str, language: str) -> None:
    assert parse(f"<p>{text}</p>", "text/html").language == language


@pytest.mark.parametrize(
    ("data", "media_type", "reason"),
    [
        (b"{", "application/json", "broken"),
        (b'{"a":1}\n{"b":', "application/x-ndjson", "broken"),
        (b"\x00\x01\x02" * 40, "text/html", "binary"),
        (b"\x00\x01\x02" * 40, "text/csv", "binary"),
        (b"%PDF-1.7\nnothing", files.PDF, "broken"),
        (b"no zip", files.DOCX, "broken"),
        (b"x", "image/png", "media_type"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_reason(data: bytes, media_type: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(data, media_type)
    assert caught.value.reason == reason


_WORDS = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Co", "Cn"), exclude_characters="\u2028\u2029"), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_WORDS, min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_every_run_of_any_html_slices_back_to_its_source(words: list[str], chance: random.Random) -> None:
    around = [
        "{}",
        "<p>{}</p>",
        "<li> {}\n ",
        "<b>{}</b>",
        "<td>{}",
        "<h2>\n{}</h2>",
        "<nav>{}</nav>",
        "<i><u>{}",
        "a < {}",
    ]
    source = " ".join(chance.choice(around).format(escape(word)) for word in words)
    parsed = parse(source, "text/html")
    require_spans(parsed, source)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_WORDS, min_size=2, max_size=2), min_size=1, max_size=6))
def test_every_cell_of_any_csv_slices_back_to_its_source(rows: list[list[str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out).writerows([["First", "Second"], *rows])
    parsed = parse(out.getvalue(), "text/csv")
    require_spans(parsed, out.getvalue())


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(_WORDS, st.one_of(_WORDS, st.integers(), st.lists(_WORDS))), st.booleans())
def test_every_string_of_any_json_slices_back_to_its_source(record: dict[str, object], ascii_only: bool) -> None:
    source = json.dumps(record, ensure_ascii=ascii_only)
    require_spans(parse(source, "application/json"), source)
