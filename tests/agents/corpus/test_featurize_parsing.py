"""What `featurize` gives to the parser, and what it keeps of its findings."""

import pytest

from agents.corpus.featurize import featurize, needs_parser
from agents.corpus.version import sha256
from millrace.agent import spec_of
from millrace.event import Event
from millrace.events.corpus import DocumentIndexed
from millrace.parsed import ParsedSource, SourceMap, decode_map
from tests.agents_in_memory import ingest
from tests.builders import changed
from tests.fakes import Stack


def _version(events: list[Event]) -> DocumentIndexed:
    (event,) = events
    assert isinstance(event, DocumentIndexed)
    return event


async def _text_of(stack: Stack, found: DocumentIndexed) -> str:
    assert found.text is not None
    return (await stack.objects.get(found.text)).decode()


async def test_what_is_no_plain_text_goes_through_the_parser_and_its_findings_are_kept() -> None:
    stack = Stack()
    source = SourceMap(encoding="utf-8", runs=((2, 7, 4, 9),))
    stack.parser.known[b"<h1>Rooms</h1>Heron"] = ParsedSource(
        text="# Rooms\n\nHeron", title="The rooms", language="en", removed={"hidden": 2}, source=source
    )
    found = _version(await ingest(stack, changed("<h1>Rooms</h1>Heron", media_type="text/html")))
    assert (found.title, found.language, found.removed) == ("The rooms", "en", {"hidden": 2})
    assert await _text_of(stack, found) == "# Rooms\n\nHeron"
    assert found.headings == ("Rooms",)
    assert found.content_sha256 == sha256(b"<h1>Rooms</h1>Heron")
    assert found.source_map is not None
    assert decode_map(await stack.objects.get(found.source_map)) == source


@pytest.mark.parametrize("n_removed", [0, 1])
async def test_markdown_with_markup_goes_through_the_parser_and_keeps_a_map_only_where_it_lost_something(
    n_removed: int,
) -> None:
    stack = Stack()
    text = "# Rooms\n\nHeron <b>twelve</b>"
    source = SourceMap(encoding="utf-8", runs=((0, len(text), 0, len(text)),))
    given = text + "<!-- x -->" * n_removed
    stack.parser.known[given.encode()] = ParsedSource(
        text=text, removed={"comment": 1} if n_removed else {}, source=source
    )
    found = _version(await ingest(stack, changed(given)))
    assert await _text_of(stack, found) == text
    assert found.title == "Rooms"
    assert (found.source_map is not None) == bool(n_removed)


@pytest.mark.parametrize(
    ("text", "source", "quoted"),
    [
        ("# Rooms\n\nThe Heron seats twelve.", None, ""),
        ("\ufeff# Rooms\r\n\r\nThe He\u200bron seats twelve.", (15, 21), "He\u200bron"),
    ],
)
async def test_plain_text_knows_its_place_in_the_source_where_the_two_differ(
    text: str, source: tuple[int, int] | None, quoted: str
) -> None:
    stack = Stack()
    found = _version(await ingest(stack, changed(text)))
    seen = await _text_of(stack, found)
    assert seen == "# Rooms\n\nThe Heron seats twelve."
    assert found.language == "en"
    if source is None:
        assert (found.source_map, found.removed) == (None, {})
        return
    assert found.source_map is not None
    way_back = decode_map(await stack.objects.get(found.source_map))
    start = seen.index("Heron")
    assert way_back.span(start, start + 5) == source
    assert text.encode().decode(way_back.encoding)[slice(*source)] == quoted
    assert found.removed == {"zero_width": 1}


@pytest.mark.parametrize(
    ("media_type", "op", "apart"),
    [("text/markdown", "upsert", False), ("Text/Plain; charset=utf-8", "upsert", False), ("text/html", "upsert", True),
     ("application/pdf", "delete", False)],
)  # fmt: skip
def test_only_a_document_that_is_parsed_stands_apart(media_type: str, op: str, apart: bool) -> None:
    assert needs_parser(changed("text", media_type=media_type, op=op)) is apart
    batch = spec_of(featurize).batch
    assert batch is not None
    assert batch.apart is needs_parser
