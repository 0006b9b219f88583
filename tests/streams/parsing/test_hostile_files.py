"""Hostile files, through real child processes: each ends with a reason."""

from __future__ import annotations

import random
import socket
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from millrace.errors import Unreadable
from streams.parsing.limits import MIB, ParserLimits
from streams.parsing.pool import ParserPool
from tests.streams.parsing import office_files as files

WORD_XML = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>{}</w:body></w:document>'


@pytest.fixture
async def parsers() -> AsyncIterator[ParserPool]:
    pool = ParserPool(ParserLimits(processes=1, wall_s=40.0, max_text_chars=MIB))
    yield pool
    await pool.stop()


async def refusal(parsers: ParserPool, data: bytes, media_type: str) -> str:
    async def content() -> bytes:
        return data

    async def fine() -> bytes:
        return b"<p>Fine.</p>"

    with pytest.raises(Unreadable) as caught:
        await parsers.parse(content, media_type)
    assert (await parsers.parse(fine, "text/html")).text == "Fine.\n"
    return caught.value.reason


def document(xml: str) -> bytes:
    return files.with_part(files.word(), "word/document.xml", xml)


@pytest.mark.parametrize("media_type", [files.DOCX, files.PPTX, files.XLSX])
async def test_a_zip_bomb_is_refused_by_its_claims(parsers: ParserPool, media_type: str) -> None:
    bomb = files.container({"word/document.xml": bytes(300 * MIB)})
    assert len(bomb) < MIB
    assert await refusal(parsers, bomb, media_type) == "zip_bomb"
    assert await refusal(parsers, files.container({f"{i}.bin": b"" for i in range(10_001)}), media_type) == "zip_bomb"


async def test_a_part_that_inflates_too_much_is_refused_even_below_the_total(parsers: ParserPool) -> None:
    assert await refusal(parsers, files.container({"word/media/a.png": bytes(20 * MIB)}), files.DOCX) == "zip_bomb"


async def test_parts_that_are_modest_one_by_one_are_refused_together() -> None:
    pool = ParserPool(ParserLimits(processes=1, max_inflated_bytes=3 * MIB))
    noise = random.Random(1).randbytes(MIB)
    try:
        for n_parts, reason in ((4, "zip_bomb"), (2, "broken")):  # without a document.xml
            data = files.container({f"word/media/{i}.png": noise for i in range(n_parts)})
            assert await refusal(pool, data, files.DOCX) == reason
    finally:
        await pool.stop()


async def test_a_zip_that_lies_about_its_sizes_is_refused(parsers: ParserPool) -> None:
    honest = files.container({"word/document.xml": bytes(20 * MIB)})
    size = (20 * MIB).to_bytes(4, "little")
    assert honest.count(size) == 2
    assert await refusal(parsers, honest.replace(size, (1_000).to_bytes(4, "little")), files.DOCX) == "broken"


LAUGHS = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    "doctype",
    [
        f'<!DOCTYPE d [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE d [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE d SYSTEM "http://127.0.0.1/d.dtd">',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
async def test_entities_are_refused_whatever_the_encoding(parsers: ParserPool, doctype: str, encoding: str) -> None:
    body = WORD_XML.format("<w:p><w:r><w:t>&l9;</w:t></w:r></w:p>")
    xml = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}{body}'
    data = files.with_part(files.word(), "word/document.xml", xml.encode(encoding))
    assert await refusal(parsers, data, files.DOCX) == "external_entity"


async def test_nothing_is_fetched_for_a_document(parsers: ParserPool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.0)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        html = f'<html><head><link rel=stylesheet href="{url}"></head><img src="{url}"><iframe src="{url}"></iframe>'
        xhtml = f'<!DOCTYPE html SYSTEM "{url}"><html><p>text</p></html>'

        async def content() -> bytes:
            return (html + xhtml).encode()

        await parsers.parse(content, "text/html")
        relations = (
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/image" '
            f'Target="{url}" TargetMode="External"/></Relationships>'
        )
        picture = (
            '<w:p><w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
            '<a:graphic xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData><pic:pic '
            'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:blipFill><a:blip '
            'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" r:link="rId1"/>'
            "</pic:blipFill></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
        )
        linked = files.with_part(document(WORD_XML.format(picture)), "word/_rels/document.xml.rels", relations)

        async def word() -> bytes:
            return linked

        assert (await parsers.parse(word, files.DOCX)).text.strip() == ""
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"[" * 10_000, "application/json"),
        (b"[" * 300 + b"]" * 300, "application/json"),
        (b'{"a":' * 10_000, "application/x-ndjson"),
        (b"<div>" * 10_000, "text/html"),
        (b"<b>" * 10_000 + b"x" + b"</b>" * 10_000, "text/html"),
        (document(WORD_XML.format("<w:p>" * 10_000 + "</w:p>" * 10_000)), files.DOCX),
    ],
    ids=["json", "json-closed", "jsonl", "html", "html-inline", "docx"],
)
async def test_what_is_nested_without_end_is_too_deep(parsers: ParserPool, data: bytes, media_type: str) -> None:
    assert await refusal(parsers, data, media_type) == "too_deep"


async def test_broken_and_encrypted_documents_are_told_apart(parsers: ParserPool) -> None:
    whole = files.pdf()
    assert await refusal(parsers, whole[:200], files.PDF) == "broken"
    assert await refusal(parsers, files.pdf(password="secret"), files.PDF) == "encrypted"
    assert await refusal(parsers, files.word()[:-200], files.DOCX) == "broken"
    ole = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
    assert await refusal(parsers, ole + "EncryptedPackage".encode("utf-16-le"), files.DOCX) == "encrypted"
    assert await refusal(parsers, ole, files.DOCX) == "media_type"
    assert await refusal(parsers, files.slides(), files.DOCX) == "broken"


async def test_a_pdf_page_that_inflates_without_end_is_bounded_by_memory() -> None:
    line = b"(" + b"a" * 100 + b") Tj T* "
    packed = zlib.compress(b"BT /F1 11 Tf 12 TL " + line * (8 * MIB // 100) + b"ET", 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(packed), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    data = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%b endobj\n" % (i, body) for i, body in enumerate(objects, 1))
    data += b"trailer<</Root 1 0 R/Size 6>>\n%%EOF"
    assert len(data) < MIB
    pool = ParserPool(ParserLimits(processes=1, memory_bytes=512 * MIB))
    try:
        assert await refusal(pool, data, files.PDF) == "too_much_memory"
    finally:
        await pool.stop()


async def test_a_table_whose_header_blows_it_up_is_refused(parsers: ParserPool) -> None:
    table = f"{'a' * 5_000},b\n" + "1,2\n" * 1_000
    assert await refusal(parsers, table.encode(), "text/csv") == "too_large"


async def test_a_sheet_that_claims_to_be_huge_costs_what_it_holds(parsers: ParserPool, tmp_path: Path) -> None:
    namespace = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = (
        f'<worksheet xmlns="{namespace}"><dimension ref="A1:XFD1048576"/><sheetData>'
        '<row r="1"><c r="A1" t="inlineStr"><is><t>first</t></is></c></row>'
        '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>last</t></is></c></row></sheetData></worksheet>'
    )

    async def content() -> bytes:
        return files.with_part(files.workbook(), "xl/worksheets/sheet1.xml", sheet)

    assert (await parsers.parse(content, files.XLSX)).text == "## Rooms\n\nfirst\n\nlast"
