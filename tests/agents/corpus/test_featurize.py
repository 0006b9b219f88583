import random
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.corpus.emitted import EmittedVersions
from agents.corpus.featurize import fail_change, featurize
from agents.corpus.policy import CorpusPolicy
from agents.ports import EmittedVersion
from millrace.errors import Unavailable
from millrace.event import Event
from millrace.events.corpus import ChunksEmbedded, DocumentIndexed, DocumentSettled
from tests.agents_in_memory import feature, index_parts, ingest
from tests.builders import TENANT, changed
from tests.fakes import MemoryCache, Stack
from tests.texts import document

TEXT = "# Guide\n\n" + "\n\n".join(document(random.Random(7), 30, "long"))
OTHER = "# Other\n\n" + "\n\n".join(document(random.Random(8), 5, "long"))


def n_embedded_texts(stack: Stack) -> int:
    return sum(len(texts) for texts in stack.embedder.calls)


def outcome(events: list[Event]) -> tuple[str, str]:
    (event,) = events
    assert isinstance(event, DocumentSettled)
    return event.outcome, event.reason


def version(events: list[Event]) -> DocumentIndexed:
    (event,) = events
    assert isinstance(event, DocumentIndexed)
    return event


async def text_of(stack: Stack, found: DocumentIndexed) -> str:
    assert found.text is not None
    return (await stack.objects.get(found.text)).decode()


async def test_all_texts_of_a_batch_are_embedded_in_one_call() -> None:
    stack = Stack()
    await feature(stack, *(changed(f"{TEXT}\n\nPage {i}.", document=f"{i}.md") for i in range(5)))
    assert len(stack.embedder.calls) == 1
    (texts,) = stack.embedder.calls
    assert len(texts) == len(set(texts))


async def test_a_version_lists_chunks_that_slice_its_text_and_the_objects_that_hold_their_rows() -> None:
    stack = Stack()
    found = version(await ingest(stack, changed(TEXT)))
    text = await text_of(stack, found)
    rows = await stack.vectors.fetch(TENANT, [ref.id for ref in found.chunks])
    assert [row.text for row in rows] == [text[ref.start : ref.end] for ref in found.chunks]
    assert {found.headings[ref.heading] for ref in found.chunks} == {"Guide"}
    assert (found.title, found.n_embedded, found.n_reused) == ("Guide", len(found.chunks), 0)


async def test_an_edit_keeps_the_ids_and_objects_of_every_other_chunk() -> None:
    stack = Stack()
    before = version(await ingest(stack, changed(TEXT)))
    after = version(await ingest(stack, changed(TEXT.replace("river", "RIVER", 1), version=2)))
    kept = {ref.id for ref in before.chunks} & {ref.id for ref in after.chunks}
    assert len(before.chunks) - len(kept) == after.n_embedded == after.n_retired == 1
    assert after.n_reused == len(kept)
    where = {ref.id: before.objects[ref.object] for ref in before.chunks}
    assert all(after.objects[ref.object] == where[ref.id] for ref in after.chunks if ref.id in kept)


async def test_text_that_comes_back_gets_a_new_id_and_its_old_vector() -> None:
    stack = Stack()
    first = version(await ingest(stack, changed(TEXT)))
    await ingest(stack, changed(OTHER, version=2))
    n_before = n_embedded_texts(stack)
    third = version(await ingest(stack, changed(TEXT, version=3)))
    assert n_embedded_texts(stack) == n_before
    assert third.n_embedded == 0
    assert not {ref.id for ref in first.chunks} & {ref.id for ref in third.chunks}


async def test_a_document_created_anew_after_its_deletion_shares_no_id_with_the_old_one() -> None:
    stack = Stack()
    first = version(await ingest(stack, changed(TEXT)))
    gone = version(await ingest(stack, changed(None, version=2)))
    assert (gone.deleted, gone.n_retired) == (True, len(first.chunks))
    third = version(await ingest(stack, changed(TEXT, version=3)))
    assert not {ref.id for ref in first.chunks} & {ref.id for ref in third.chunks}


async def test_equal_passages_of_a_document_have_ids_of_their_own() -> None:
    stack = Stack()
    passage = document(random.Random(1), 1, "long")[0]
    found = version(await ingest(stack, changed("\n\n".join([passage] * 3))))
    assert len({ref.id for ref in found.chunks}) == 3
    assert found.n_embedded == 1
    fewer = version(await ingest(stack, changed(f"{passage}\n\n{passage}", version=2)))
    assert [ref.id for ref in fewer.chunks] == [ref.id for ref in found.chunks[:2]]


async def test_the_same_content_again_is_unchanged() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT))
    assert outcome(await ingest(stack, changed(TEXT, version=2))) == ("unchanged", "same_content")
    assert outcome(await ingest(stack.restarted(), changed(TEXT, version=3))) == ("unchanged", "same_content")


@pytest.mark.parametrize(
    "fields", [{"title": "New"}, {"labels": {"a": "b"}}, {"trust": "untrusted"}, {"acl_version": 4}], ids=str
)
async def test_new_metadata_makes_a_version_without_embedding(fields: dict[str, Any]) -> None:
    stack = Stack()
    before = version(await ingest(stack, changed(TEXT)))
    n_before = n_embedded_texts(stack)
    after = version(await ingest(stack, changed(TEXT, version=2, **fields)))
    assert n_embedded_texts(stack) == n_before
    assert after.chunks == before.chunks
    assert all(getattr(after, name) == value for name, value in fields.items())


async def test_a_new_pipeline_generation_indexes_the_same_version_anew() -> None:
    stack = Stack()
    before = version(await ingest(stack, changed(TEXT)))
    stack.corpus_policy = CorpusPolicy(pipeline_generation=1)
    after = version(await ingest(stack, changed(TEXT)))
    assert (after.order, after.n_embedded) == ((0, 1, 1), len(before.chunks))
    assert not {ref.id for ref in before.chunks} & {ref.id for ref in after.chunks}


async def test_an_older_change_is_superseded_whether_the_newer_one_is_folded_or_in_flight() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT, version=3), fold=False)
    assert outcome(await ingest(stack, changed(OTHER, version=2), fold=False)) == ("superseded", "order")
    folded = Stack()
    await ingest(folded, changed(TEXT, version=3))
    (outputs,) = await feature(folded.restarted(), changed(OTHER, version=2))
    assert outcome(list(outputs)) == ("superseded", "order")
    assert len(folded.embedder.calls) == 1


async def test_a_late_change_does_not_undo_a_newer_one_that_altered_nothing() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT, version=1))
    await ingest(stack, changed(TEXT, version=3))
    for worker in (stack, stack.restarted()):
        assert outcome(await ingest(worker, changed(OTHER, version=2), fold=False)) == ("superseded", "order")


async def test_an_indexed_version_that_comes_again_is_not_embedded_again() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT))
    n_before = n_embedded_texts(stack)
    assert outcome(await ingest(stack.restarted(), changed(TEXT))) == ("unchanged", "already_indexed")
    assert n_embedded_texts(stack) == n_before


async def test_a_redelivery_before_the_outcome_is_folded_repeats_the_output() -> None:
    stack = Stack()
    change = changed(TEXT)
    first, second = await feature(stack, change), await feature(stack, change)
    assert first == second
    assert len(stack.embedder.calls) == 1


async def test_a_redelivery_to_another_process_takes_vectors_from_the_cache() -> None:
    stack = Stack()
    change = changed(TEXT)
    await feature(stack, change)
    await feature(stack.restarted(), change)
    assert len(stack.embedder.calls) == 1


async def test_a_change_builds_on_the_version_in_flight() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT), fold=False)
    edited = version(await ingest(stack, changed(TEXT.replace("river", "RIVER", 1), version=2), fold=False))
    assert (edited.n_embedded, edited.n_retired) == (1, 1)


async def test_the_same_content_as_a_version_in_flight_is_indexed_because_that_one_may_fail() -> None:
    stack = Stack()
    await feature(stack, changed(TEXT))
    found = version(await ingest(stack, changed(TEXT, version=2)))
    assert (found.version, found.n_embedded) == (2, 0)


async def test_an_erased_text_of_the_version_before_means_that_nothing_is_reused() -> None:
    stack = Stack()
    before = version(await ingest(stack, changed(TEXT)))
    assert before.text is not None
    del stack.objects.objects[before.text]
    after = version(await ingest(stack, changed(f"{TEXT}\n\nMore.", version=2)))
    assert not {ref.id for ref in before.chunks} & {ref.id for ref in after.chunks}


async def test_content_by_reference_is_read_and_a_damaged_or_erased_one_is_rejected() -> None:
    stack = Stack()
    ref = await stack.objects.put(TEXT.encode())
    inline = version(await ingest(stack, changed(TEXT)))
    by_reference = version(await ingest(stack, changed("", document="b.md").replace(text=None, content=ref)))
    assert by_reference.content_sha256 == inline.content_sha256
    stack.objects.objects[ref] = b"other"
    damaged = changed("", document="c.md").replace(text=None, content=ref)
    assert outcome(await ingest(stack, damaged)) == ("rejected", "object_tampered")
    missing = changed("", document="d.md").replace(text=None, content=f"sha256:{'0' * 64}")
    assert outcome(await ingest(stack, missing)) == ("rejected", "erased")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": "\x00" * 50}, "binary"),
        ({"media_type": "application/pdf"}, "media_type"),
        ({"text": None}, "no_content"),
        ({"n_bytes": 2**30}, "too_large"),
        ({"text": "word " * 1_000}, "too_large"),
        ({"text": "\n\n".join(["# h\n\ntext"] * 60)}, "too_many_chunks"),
        ({"text": "\ud800"}, "encoding"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_document_that_cannot_be_indexed_is_rejected_and_its_neighbours_are_not(
    fields: dict[str, Any], reason: str
) -> None:
    stack = Stack(corpus_policy=CorpusPolicy(max_document_bytes=4_000, max_chunks=50))
    bad = changed("text").replace(**fields)
    outputs = await feature(stack, bad, changed("Fine.", document="good.md"))
    assert outcome(list(outputs[0])) == ("rejected", reason)
    assert isinstance(outputs[1][0], ChunksEmbedded)


async def test_an_empty_document_is_a_version_without_chunks() -> None:
    stack = Stack()
    await ingest(stack, changed(TEXT))
    found = version(await ingest(stack, changed(" \n", version=2)))
    assert found.chunks == ()


async def test_a_large_document_comes_in_parts_of_bounded_size() -> None:
    stack = Stack(corpus_policy=CorpusPolicy(part_chunks=8, embed_chunks=16, background_bytes=100))
    (outputs,) = await feature(stack, changed(TEXT))
    parts = [event for event in outputs if isinstance(event, ChunksEmbedded)]
    assert [part.part for part in parts] == [0, 1, 2, 3]
    assert {part.n_parts for part in parts} == {4}
    assert len(stack.embedder.calls) == 2
    found = version(await index_parts(stack, *parts))
    assert len(found.objects) == 4


async def test_documents_too_large_to_be_held_together_are_worked_on_in_groups() -> None:
    stack = Stack(corpus_policy=CorpusPolicy(batch_bytes=100))
    changes = [changed(f"Page {i}.", document=f"{i}.md").replace(n_bytes=60) for i in range(3)]
    outputs = await feature(stack, *changes)
    assert [type(events[0]) for events in outputs] == [ChunksEmbedded] * 3
    assert len(stack.embedder.calls) == 3


async def test_a_model_that_is_down_stops_the_batch_and_leaves_nothing_behind() -> None:
    class Down(MemoryCache):
        async def get_many(self, *_: Any) -> Any:
            raise Unavailable("the cache is down")

    stack = Stack(cache=Down())
    with pytest.raises(Unavailable):
        await featurize([changed(TEXT)], stack.corpus)
    stack.cache = MemoryCache()
    assert version(await ingest(stack, changed(TEXT))).version == 1


def test_a_failed_change_has_an_outcome() -> None:
    (event,) = fail_change(changed("x", version=7), "exception", "it broke")
    assert isinstance(event, DocumentSettled)
    assert (event.outcome, event.version, event.reason) == ("failed", 7, "exception")


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))), ids=str)
@pytest.mark.parametrize("fold", [True, False], ids=["folded", "in_flight"])
async def test_the_highest_version_wins_in_any_order_of_arrival(order: tuple[int, ...], fold: bool) -> None:
    stack = Stack()
    log: list[Event] = []
    for number in order:
        log += await ingest(stack, changed(None if number == 2 else f"Text {number}.", version=number), fold=fold)
    stack.fold(log)
    current = stack.visibility.current(TENANT, "a.md")
    assert current is not None
    assert (current.version, current.deleted) == (3, False)


edits = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(edits)
async def test_whatever_arrives_the_last_version_is_complete_and_retired_ids_never_return(
    changes: list[tuple[int, int, bool]],
) -> None:
    pages = [" ".join(document(random.Random(seed), 1, "long")) for seed in range(4)]
    stack = Stack()
    retired: set[str] = set()
    known: set[str] = set()
    for number, page, fold in changes:
        text = "\n\n".join(pages[: page + 1]) if page else None
        outcomes = await ingest(stack, changed(text, version=number), fold=fold)
        for found in (event for event in outcomes if isinstance(event, DocumentIndexed)):
            listed = {ref.id for ref in found.chunks}
            assert await stack.vectors.existing(TENANT, listed) == listed
            assert not listed & retired
            if fold:
                retired |= known - listed
                known = listed


def test_what_was_emitted_is_bounded_and_the_newest_version_stays() -> None:
    emitted = EmittedVersions(max_documents=2)

    def remember(document: str, number: int) -> None:
        found = DocumentIndexed(tenant="t", document=document, version=number)
        emitted.remember("a", "t", document, EmittedVersion(str(number), found, ()))

    remember("x", 2)
    remember("x", 1)
    newest = emitted.newest("a", "t", "x")
    assert newest is not None
    assert newest.order == (0, 2, 0)
    remember("y", 1)
    remember("z", 1)
    assert emitted.newest("a", "t", "x") is None
    assert emitted.newest("b", "t", "z") is None


def test_policy_documents_every_option() -> None:
    for field in msgspec.inspect.type_info(CorpusPolicy).fields:  # type: ignore[attr-defined]
        assert field.name
    hints = CorpusPolicy.__annotations__
    assert all(getattr(hint, "__metadata__", ("",))[0].endswith(".") for hint in hints.values())
