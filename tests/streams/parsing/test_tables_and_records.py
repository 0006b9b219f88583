"""Tables and JSON: what each becomes, and where the text stands in the source."""

from __future__ import annotations

import msgspec
import openpyxl
import pytest

from streams.parsing.limits import Refused
from tests.streams.parsing import office_files as files
from tests.streams.parsing.conversion import parse, quoted, require_spans


def test_a_csv_row_names_its_columns_and_knows_its_place() -> None:
    source = 'Room,Seats,Note\nHeron,12,"a ""quoted"" note, yes"\n\nSwan,4,\n12,12,12\n'
    parsed = parse(source, "text/csv")
    assert parsed.text == (
        'Room: Heron; Seats: 12; Note: a "quoted" note, yes\n\nRoom: Swan; Seats: 4\n\nRoom: 12; Seats: 12; Note: 12'
    )
    require_spans(parsed, source)
    assert quoted(parsed, source, "Swan; Seats: 4") == "Swan,4"
    last = parsed.source.runs[-1]
    assert source[last[2] :] == "12\n"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Raum;Sitze\nReiher;12,5\n", "Raum: Reiher; Sitze: 12,5"),
        ("Room\tSeats\nHeron\t12\n", "Room: Heron; Seats: 12"),
        ("1,2\n3,4\n", "1; 2\n\n3; 4"),
        ("Name\nHeron\nSwan\n", "Name\n\nHeron\n\nSwan"),
        ('Name,Note\nHeron,"two\nlines"\n', "Name: Heron; Note: two lines"),
        ("Quarter,2023,2024\nRevenue,10,20\n", "Quarter: Revenue; 2023: 10; 2024: 20"),
        ("Heron,2021,2023\nSwan,2022,2024\n", "Heron; 2021; 2023\n\nSwan; 2022; 2024"),
        ("Heron,12,x\nSwan,4,y\n", "Heron; 12; x\n\nSwan; 4; y"),
        (",name,age\n0,Ann,30\n1,Bo,\n", "Column 1: 0; name: Ann; age: 30\n\nColumn 1: 1; name: Bo"),
        ("Name,Date,Date\nHeron,1,2\n", "Name: Heron; Date: 1; Date: 2"),
        ("Our rooms\n\nRoom,Seats\nHeron,12\n", "Our rooms\n\nRoom: Heron; Seats: 12"),
        ("sep=;\nRoom;Note\nHeron;a,b\n", "Room: Heron; Note: a,b"),
        ("Room,Seats\n", "Room; Seats"),
    ],
)
def test_other_dialects_and_tables_without_header_are_read(source: str, text: str) -> None:
    parsed = parse(source, "text/csv")
    assert parsed.text == text
    require_spans(parsed, source)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([["Quarter", 2023, 2024], ["Revenue", 10, 20]], "Quarter: Revenue; 2023: 10; 2024: 20"),
        ([["Our rooms"], ["Room", "Seats"], ["Heron", 12]], "Our rooms\n\nRoom: Heron; Seats: 12"),
        ([[None, "name", "age"], [0, "Ann", 30]], "Column A: 0; name: Ann; age: 30"),
        ([["Room", "Seats"]], "Room; Seats"),
    ],
)
def test_sheets_have_headers_as_tables_have(rows: list[list[object]], text: str) -> None:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    assert parse(files.saved(book), files.XLSX).text == f"## Sheet\n\n{text}"


def test_percentages_of_a_sheet_are_as_they_are_shown() -> None:
    book = openpyxl.Workbook()
    book.worksheets[0].append(["Share", 0.25, 0.125])
    for cell in book.worksheets[0][1][1:2]:
        cell.number_format = "0%"
    assert parse(files.saved(book), files.XLSX).text == "## Sheet\n\nShare; 25%; 0.125"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252"])
def test_a_csv_in_another_encoding_is_read_and_its_spans_fit_the_encoding_it_names(encoding: str) -> None:
    data = "Raum,Größe\nFuchsbau,groß\n".encode(encoding)
    parsed = parse(data, "text/csv")
    assert parsed.text == "Raum: Fuchsbau; Größe: groß"
    require_spans(parsed, data.decode(parsed.source.encoding))


def test_a_json_record_is_a_document_with_its_title() -> None:
    source = (
        r'{"id":"7","title":"Caf\u00e9 hours","text":"Open \"daily\"\nat 9.","tags":["a","b"],"n":{"x":1,"y":null}}'
    )
    parsed = parse(source, "application/json")
    assert parsed.text == '# Café hours\n\nOpen "daily"\nat 9.\n\ntags: a, b\nn.x: 1\n'
    assert parsed.title == "Café hours"
    require_spans(parsed, source)
    assert quoted(parsed, source, 'Open "daily"\nat 9.') == r"Open \"daily\"\nat 9."


def test_json_lines_become_one_text_with_a_part_for_each() -> None:
    source = '{"id":"1","text":"One."}\n\n{"id":"2","title":"B","text":"Two."}\n'
    parsed = parse(source, "application/x-ndjson")
    assert parsed.text == "One.\n\n# B\n\nTwo.\n\n"
    require_spans(parsed, source)


def test_half_a_surrogate_pair_is_replaced_and_costs_nothing_else() -> None:
    source = '{"text":"\\ud800 hi","k\\udc00":"\\ud83d\\ude00 \\udfff"}\n{"text":"Two."}'
    parsed = parse(source, "application/jsonl")
    assert parsed.text == "\ufffd hi\n\nk\ufffd: \U0001f600 \ufffd\n\nTwo.\n\n"
    assert quoted(parsed, source, "\ufffd hi") == r"\ud800 hi"
    msgspec.msgpack.encode(parsed)


def test_a_few_broken_lines_are_left_out_and_counted_and_values_are_found_in_their_own_line() -> None:
    source = '{"x":"one"}\n\n{"x":"two"\n{"x":"two"}\n{"x":"three"}\n{"x":"fo'
    parsed = parse(source, "application/jsonl")
    assert parsed.text == "x: one\n\nx: two\n\nx: three\n"
    assert parsed.removed == {"broken_record": 2}
    start = parsed.text.index("two")
    assert parsed.source.span(start, start + 3) == (source.index('two"}'), source.index('two"}') + 3)


def test_a_file_of_broken_lines_is_refused_with_the_number_of_the_first() -> None:
    with pytest.raises(Refused, match="line 3: "):
        parse('{"a":1}\n\n{"b":\n{"c"\n', "application/jsonl")


@pytest.mark.parametrize("source", ['{"colour":1,"x":"colour"}', '{"id":"colour","text":"colour"}', '{"x" : "colour"}'])
def test_a_value_is_found_where_it_is_a_value(source: str) -> None:
    parsed = parse(source, "application/json")
    start = parsed.text.rindex("colour")
    assert parsed.source.span(start, start + 6) == (source.rindex("colour"), source.rindex("colour") + 6)
