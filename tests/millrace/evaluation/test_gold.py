"""Which chunks and quotes are right."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from millrace.client import Answer, Millrace
from millrace.connection import Connection
from millrace.errors import ConfigurationError
from millrace.evaluation.gold import fixed_gold, read_gold
from millrace.evaluation.questions import KnownQuestion
from millrace.events.corpus import DocumentIndexed
from millrace.objects import ObjectFolder
from millrace.parsed import SourceMap, encode_map
from tests.millrace.evaluation.evaluations import TENANT, answer, version

DOCUMENT = version("a.md", (0, 10), (10, 20), (25, 40))


def right(question: KnownQuestion, *versions: DocumentIndexed, objects: ObjectFolder | None = None) -> set[str]:
    found = fixed_gold(versions or [DOCUMENT], objects).right_chunks(question, TENANT)
    return {chunk for chunks in found.values() for chunk in chunks}


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 10, {"a.md:0"}), (9, 11, {"a.md:0", "a.md:1"}), (20, 25, set()), (39, 90, {"a.md:2"}), (12, 13, {"a.md:1"})],
)
def test_a_chunk_is_right_when_it_overlaps_a_span(start: int, end: int, expected: set[str]) -> None:
    assert right(KnownQuestion(question="?", doc="a.md", spans=((start, end),))) == expected


def test_without_spans_and_answers_every_chunk_of_the_document_is_right() -> None:
    question = KnownQuestion(question="?", doc=("a.md", "b.md"))
    assert right(question, DOCUMENT, version("b.md", (0, 5))) == {"a.md:0", "a.md:1", "a.md:2", "b.md:0"}


def test_without_spans_a_chunk_is_right_when_it_holds_an_answer(tmp_path: Path) -> None:
    objects = ObjectFolder(tmp_path)
    indexed = version("a.pdf", (0, 10), (10, 30), text=objects.put_sync(b"It is red.Wait **six** weeks!"))
    question = KnownQuestion(question="?", doc="a.pdf", answers=("Six weeks",))
    assert right(question, indexed, objects=objects) == {"a.pdf:1"}


def test_spans_count_characters_of_the_source_where_the_text_was_changed(tmp_path: Path) -> None:
    objects = ObjectFolder(tmp_path)
    way_back = SourceMap(encoding="utf-8", runs=((0, 10, 100, 110), (10, 20, 200, 210)))
    indexed = version("a.html", (0, 10), (10, 20), source_map=objects.put_sync(encode_map(way_back)))
    question = KnownQuestion(question="?", doc="a.html", spans=((205, 206),))
    assert right(question, indexed, objects=objects) == {"a.html:1"}
    gold = fixed_gold([indexed], objects)
    quoted: Answer = answer(quotes=(("a.html", 0, 10), ("a.html", 14, 17), ("b.html", 14, 17)))
    assert gold.right_quotes(question, TENANT, quoted.citations) == (2,)


def test_a_text_that_is_needed_and_out_of_reach_is_named() -> None:
    question = KnownQuestion(question="?", doc="a.md", answers=("six",))
    with pytest.raises(ConfigurationError, match=r"'a\.md'.*--objects"):
        right(question, version("a.md", (0, 10), text="sha256:" + "0" * 64))


def test_quotes_without_spans_are_right_when_they_hold_an_answer() -> None:
    gold = fixed_gold([DOCUMENT])
    quoted = answer(quotes=(("a.md", 1, 2), ("a.md", 3, 4)))
    question = KnownQuestion(question="?", doc="a.md", answers=("34", "3-4"))
    assert gold.right_quotes(question, TENANT, quoted.citations) == (2,)


async def test_the_newest_version_in_the_log_counts_and_a_deleted_document_is_not_there(
    embedded: Connection, tenant: str
) -> None:
    def versions() -> Iterable[DocumentIndexed]:
        for n, end in ((1, 10), (2, 20)):
            yield DocumentIndexed(tenant=tenant, document="a.md", version=n, chunks=version("a.md", (0, end)).chunks)
        yield DocumentIndexed(tenant=tenant, document="b.md", version=1, chunks=version("b.md", (0, 10)).chunks)
        yield DocumentIndexed(tenant=tenant, document="b.md", version=2, deleted=True)

    async with Millrace(embedded) as client:
        for event in versions():
            await client.produce(event)
    gold = read_gold(embedded, {(tenant, "a.md"), (tenant, "b.md"), (tenant, "c.md")})
    question = KnownQuestion(question="?", doc="a.md", spans=((15, 16),))
    assert gold.right_chunks(question, tenant) == {"a.md": {"a.md:0"}}
    assert [(tenant, name) in gold for name in ("a.md", "b.md", "c.md")] == [True, False, False]
