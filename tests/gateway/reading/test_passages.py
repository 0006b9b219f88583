"""Passages are the characters that a chunk was made of, for those who may read them when they are given out."""

from __future__ import annotations

from typing import Any

from gateway.reading.passages import passages_of
from millrace.errors import ObjectMissing
from millrace.events.corpus import AclChanged, ChunkRef, DocumentIndexed
from millrace.events.query import Hit
from tests.gateway.reading.conftest import ANN, BEN, MALLORY, Log
from tests.streams.visibility.corpus_log import chunk, indexed

TEXT = "01234567 90123456 trailing"


def hit(document: str = "a.md", version: int = 1, *, n: int = 1, **fields: Any) -> Hit:
    """The n-th chunk of a version, as the log's fixture makes them."""
    given: dict[str, Any] = {
        "chunk_id": chunk("acme", document, version, n),
        "score": 1.0,
        "dense": 1.0,
        "lexical": 1.0,
    } | fields
    return Hit(document=document, version=version, rank=1, **given)


async def test_a_passage_is_the_text_of_its_chunk_in_the_version_that_was_read(log: Log) -> None:
    await log.document("a.md", 1, TEXT)
    await log.document("a.md", 2, "Something else stands here now.")
    found = await log.library.passages(ANN, [hit(n=1), hit(n=0), hit(version=2, n=0)])
    assert [(each.version, each.text) for each in found] == [(1, TEXT[9:17]), (1, TEXT[:8]), (2, "Somethin")]
    assert (found[0].start, found[0].end, found[0].title) == (9, 17, "Title of a.md")


async def test_a_passage_of_a_document_that_may_not_be_read_is_left_out(log: Log) -> None:
    await log.document("a.md", 1, TEXT)
    await log.document("hr.md", 1, TEXT, "hr")
    hits = [hit("hr.md"), hit()]
    assert [each.document for each in await log.library.passages(ANN, hits)] == ["hr.md", "a.md"]
    assert [each.document for each in await log.library.passages(BEN, hits)] == ["a.md"]
    assert await log.library.passages(MALLORY, hits) == []
    await log.write(AclChanged(tenant="acme", document="hr.md", version=2, groups=("board",)))
    assert [each.document for each in await log.library.passages(ANN, hits)] == ["a.md"]


async def test_a_hit_that_names_no_chunk_of_its_version_gives_nothing(log: Log) -> None:
    await log.document("a.md", 1, TEXT)
    assert await log.library.passages(ANN, [hit(version=7), hit(chunk_id="none"), hit("nowhere.md")]) == []


async def test_a_text_is_read_once_and_one_that_was_erased_is_left_out() -> None:
    version = DocumentIndexed(
        tenant="acme",
        document="a.md",
        version=1,
        text="sha256:1",
        headings=("Top",),
        chunks=tuple(ChunkRef(id=f"c{n}", start=n, end=n + 1, heading=0, object=0) for n in range(3)),
    )
    erased = indexed("b.md", 1, text="sha256:2")
    read: list[str] = []

    async def get(reference: str) -> bytes:
        read.append(reference)
        if reference == "sha256:2":
            raise ObjectMissing("erased")
        return b"abc"

    hits = [hit(chunk_id="c0"), hit("b.md"), hit(chunk_id="c2"), hit("b.md")]
    found = await passages_of(hits, lambda each: version if each.document == "a.md" else erased, get)
    assert [(each.text, each.heading) for each in found] == [("a", "Top"), ("c", "Top")]
    assert read == ["sha256:1", "sha256:2"]
