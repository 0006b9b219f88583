import random
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import pytest

from agents.corpus.index import fail_version, index
from agents.corpus.policy import CorpusPolicy
from agents.corpus.upkeep import kept_versions, retired_rows
from millrace.agent import spec_of
from millrace.errors import ObjectMissing, Unavailable
from millrace.events.corpus import ChunkRef, ChunksEmbedded, DocumentIndexed, DocumentSettled
from tests.agents_in_memory import feature, index_parts, ingest
from tests.builders import TENANT, changed, due, only
from tests.fakes import Stack
from tests.texts import document

TEXT = "\n\n".join(document(random.Random(7), 30, "long"))
EDITED = TEXT.replace("river", "RIVER", 1)
Call = Callable[..., Coroutine[Any, Any, Any]]
SMALL_PARTS = CorpusPolicy(part_chunks=8)


def ids_of(version: DocumentIndexed) -> set[str]:
    return {ref.id for ref in version.chunks}


async def indexed(stack: Stack, text: str | None, version: int) -> DocumentIndexed:
    found = (await ingest(stack, changed(text, version=version)))[-1]
    assert isinstance(found, DocumentIndexed)
    return found


async def parts_of(stack: Stack, text: str, version: int = 1) -> list[ChunksEmbedded]:
    (outputs,) = await feature(stack, changed(text, version=version))
    return [event for event in outputs if isinstance(event, ChunksEmbedded)]


async def test_a_version_is_decided_by_its_last_part_alone() -> None:
    stack = Stack(corpus_policy=SMALL_PARTS)
    *first, last = await parts_of(stack, TEXT)
    assert await index_parts(stack, *first) == []
    (found,) = await index_parts(stack, last)
    assert isinstance(found, DocumentIndexed)
    assert await stack.vectors.existing(TENANT, ids_of(found)) == ids_of(found)


async def test_an_outcome_shares_no_batch_with_upkeep_that_the_store_may_keep_waiting() -> None:
    stack = Stack()
    (part,) = await parts_of(stack, TEXT)
    (version,) = await index_parts(stack, part)
    batch = spec_of(index).batch
    assert batch is not None
    assert batch.kind is not None
    assert batch.kind(version) == batch.kind(due()) != batch.kind(part)


async def test_the_store_is_asked_for_reused_rows_alone() -> None:
    stack = Stack()
    await indexed(stack, TEXT, 1)
    stack.vectors.existing, asked = counted(stack.vectors.existing)  # type: ignore[method-assign]
    after = await indexed(stack, EDITED, 2)
    assert asked == [after.n_reused]
    assert after.n_embedded > 0


async def test_documents_of_a_batch_are_written_in_one_upsert() -> None:
    stack = Stack()
    outputs = await feature(stack, *(changed(TEXT, document=f"{i}.md") for i in range(5)))
    results = await index([only(events, ChunksEmbedded) for events in outputs], stack.corpus)
    assert [len(result.events) for result in results] == [1] * 5
    assert stack.vectors.upserts == 1


async def test_a_redelivered_part_gives_the_same_outcome_and_no_second_row() -> None:
    stack = Stack(corpus_policy=SMALL_PARTS)
    parts = await parts_of(stack, TEXT)
    first = await index_parts(stack, *parts)
    n_rows = len(stack.vectors.live[TENANT])
    assert await index_parts(stack, *parts) == first
    stack.fold(first)
    assert await index_parts(stack, *parts) == first
    assert len(stack.vectors.live[TENANT]) == n_rows


async def test_rows_that_a_version_reuses_but_the_store_has_lost_are_written_again() -> None:
    stack = Stack()
    before = await indexed(stack, TEXT, 1)
    await stack.vectors.delete(TENANT, sorted(ids_of(before))[:5])
    after = await indexed(stack, EDITED, 2)
    assert await stack.vectors.existing(TENANT, ids_of(after)) == ids_of(after)


async def test_a_version_whose_rows_are_lost_for_good_fails_and_is_not_made_visible() -> None:
    stack = Stack()
    before = await indexed(stack, TEXT, 1)
    (part,) = await parts_of(stack, EDITED, 2)
    await stack.vectors.delete(TENANT, sorted(ids_of(before)))
    del stack.objects.objects[before.objects[0]]
    (result,) = await index([part], stack.corpus)
    assert isinstance(result.error, ObjectMissing)
    (told,) = fail_version(part, "object_missing", "gone")
    assert isinstance(told, DocumentSettled)
    assert (told.outcome, told.version) == ("failed", 2)


async def test_a_part_whose_object_is_missing_fails_alone() -> None:
    stack = Stack()
    (bad,) = await parts_of(stack, TEXT)
    (outputs,) = await feature(stack, changed("Fine.", document="b.md"))
    good = only(outputs, ChunksEmbedded)
    assert bad.rows is not None
    del stack.objects.objects[bad.rows]
    results = await index([bad, good], stack.corpus)
    assert isinstance(results[0].error, ObjectMissing)
    assert len(results[1].events) == 1


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "emitted"])
async def test_an_overtaken_version_writes_nothing_and_ends_superseded_once(fold: bool) -> None:
    stack = Stack(corpus_policy=SMALL_PARTS)
    late = await parts_of(stack, TEXT, 1)
    newer = await index_parts(stack, *await parts_of(stack, "Short.", 2))
    if fold:
        stack.fold(newer)
    n_rows = len(stack.vectors.live[TENANT])
    (settled,) = await index_parts(stack, *late)
    assert isinstance(settled, DocumentSettled)
    assert (settled.outcome, settled.version) == ("superseded", 1)
    assert settled.source_event == changed(TEXT).meta.id
    assert len(stack.vectors.live[TENANT]) == n_rows


async def test_retired_rows_are_archived_once_the_new_version_is_read_back_and_not_before() -> None:
    stack = Stack()
    before = await indexed(stack, TEXT, 1)
    outcomes = await index_parts(stack, *await parts_of(stack, EDITED, 2))
    assert not stack.vectors.archived[TENANT]
    stack.fold(outcomes)
    await index_parts(stack, *outcomes)
    (after,) = outcomes
    assert isinstance(after, DocumentIndexed)
    assert stack.vectors.archived[TENANT].keys() == ids_of(before) - ids_of(after)
    assert stack.vectors.live[TENANT].keys() == ids_of(after)


async def test_a_deletion_archives_every_row() -> None:
    stack = Stack()
    before = await indexed(stack, TEXT, 1)
    await indexed(stack, None, 2)
    assert stack.vectors.archived[TENANT].keys() == ids_of(before)


async def edited(stack: Stack, n: int) -> list[DocumentIndexed]:
    """Decided versions of `n` documents that retire a row each; folded, and not read back by `index` yet."""
    outcomes = []
    for i in range(n):
        await ingest(stack, changed(TEXT, document=f"{i}.md", version=1))
        (outputs,) = await feature(stack, changed(EDITED, document=f"{i}.md", version=2))
        outcomes += await index_parts(stack, *(event for event in outputs if isinstance(event, ChunksEmbedded)))
    stack.fold(outcomes)
    return [event for event in outcomes if isinstance(event, DocumentIndexed)]


def counted(call: Call) -> tuple[Call, list[int]]:
    """The same, and how many rows each of its calls was given."""
    sizes: list[int] = []

    async def counting(tenant: str, chunk_ids: Collection[str]) -> Any:
        sizes.append(len(chunk_ids))
        return await call(tenant, chunk_ids)

    return counting, sizes


async def test_rows_that_many_documents_retired_are_moved_at_once() -> None:
    stack = Stack()
    versions = await edited(stack, 5)
    stack.vectors.archive, moves = counted(stack.vectors.archive)  # type: ignore[method-assign]
    await index(versions, stack.corpus)
    assert len(moves) == 1
    assert len(stack.vectors.archived[TENANT]) == moves[0] >= 5
    assert stack.vectors.live[TENANT].keys() == set().union(*map(ids_of, versions))


async def test_a_move_that_fails_holds_up_no_other_document() -> None:
    stack = Stack()
    versions = await edited(stack, 3)
    archive = stack.vectors.archive
    (stuck,) = {row.chunk_id for row in stack.vectors.live[TENANT].values() if row.document == "1.md"} - ids_of(
        versions[1]
    )

    async def failing(tenant: str, chunk_ids: Collection[str]) -> None:
        if stuck in chunk_ids:
            message = "this row cannot be moved"
            raise ValueError(message)
        await archive(tenant, chunk_ids)

    stack.vectors.archive = failing  # type: ignore[method-assign]
    results = await index(versions, stack.corpus)
    assert [result.error is None for result in results] == [True, False, True]
    assert {row.document for row in stack.vectors.archived[TENANT].values()} == {"0.md", "2.md"}


async def test_of_two_versions_that_are_read_back_together_the_newer_one_keeps_its_rows() -> None:
    stack = Stack()
    await indexed(stack, TEXT, 1)
    second = (await index_parts(stack, *await parts_of(stack, EDITED, 2)))[-1]
    assert isinstance(second, DocumentIndexed)
    stack.fold([second])
    third = (await index_parts(stack, *await parts_of(stack, TEXT, 3)))[-1]
    assert isinstance(third, DocumentIndexed)
    await index([second, third], stack.corpus)  # the third is not folded yet
    assert stack.vectors.live[TENANT].keys() == ids_of(third)


async def test_a_row_that_another_worker_archived_wrongly_is_live_again_after_the_winning_version() -> None:
    stack = Stack()
    await indexed(stack, TEXT, 1)
    # Two workers build on version 1 at the same time: one drops most chunks, the other keeps them and wins.
    other = stack.restarted()
    winner = await parts_of(other, EDITED, 3)
    await indexed(stack, "Short.", 2)
    found = (await index_parts(stack, *winner))[-1]
    assert isinstance(found, DocumentIndexed)
    stack.fold([found])
    await index_parts(stack, found)
    assert stack.vectors.live[TENANT].keys() == ids_of(found)


async def test_maintenance_deletes_rows_that_no_retained_version_lists() -> None:
    stack = Stack()
    first = await indexed(stack, TEXT, 1)
    second = await indexed(stack, EDITED, 2)
    await index_parts(stack, due(before="0.1.0"))
    assert await stack.vectors.of_document(TENANT, "a.md") == ids_of(first) | ids_of(second)
    await index_parts(stack, due(before="0.2.0"))
    assert await stack.vectors.of_document(TENANT, "a.md") == ids_of(second)
    await indexed(stack, None, 3)
    await index_parts(stack, due(before="0.3.0"))
    assert await stack.vectors.of_document(TENANT, "a.md") == set()


async def test_garbage_of_many_documents_is_deleted_at_once() -> None:
    stack = Stack()
    versions = await edited(stack, 5)
    stack.vectors.delete, deletions = counted(stack.vectors.delete)  # type: ignore[method-assign]
    results = await index([due(document=f"{i}.md", before="0.2.0") for i in range(5)], stack.corpus)
    assert [result.error for result in results] == [None] * 5
    assert len(deletions) == 1
    assert deletions[0] >= 5
    assert stack.vectors.live[TENANT].keys() == set().union(*map(ids_of, versions))


@pytest.mark.parametrize(
    ("error", "n_calls", "deleted"),
    [(ValueError("this row cannot go"), 4, [True, False, True]), (Unavailable("it is away"), 1, [False] * 3)],
)
async def test_garbage_that_cannot_go_holds_up_no_other_and_a_store_that_is_away_is_asked_once(
    error: Exception, n_calls: int, deleted: list[bool]
) -> None:
    stack = Stack()
    await edited(stack, 3)
    delete = stack.vectors.delete
    of_stuck = await stack.vectors.of_document(TENANT, "1.md")
    calls = 0

    async def failing(tenant: str, chunk_ids: Collection[str]) -> None:
        nonlocal calls
        calls += 1
        if of_stuck & set(chunk_ids):
            raise error
        await delete(tenant, chunk_ids)

    stack.vectors.delete = failing  # type: ignore[method-assign]
    results = await index([due(document=f"{i}.md", before="0.2.0") for i in range(3)], stack.corpus)
    assert [result.error is None for result in results] == deleted
    assert calls == n_calls


async def test_maintenance_deletes_rows_of_a_version_that_was_given_up() -> None:
    stack = Stack(corpus_policy=SMALL_PARTS)
    first = await indexed(stack, "Short.", 1)
    abandoned = await parts_of(stack.restarted(), TEXT, 2)
    await index_parts(stack, *abandoned[:2])
    await index_parts(stack, due())
    assert await stack.vectors.of_document(TENANT, "a.md") == ids_of(first)


async def test_maintenance_in_the_middle_of_a_version_loses_nothing() -> None:
    stack = Stack(corpus_policy=SMALL_PARTS)
    await indexed(stack, "Short.", 1)
    parts = await parts_of(stack, TEXT, 2)
    await index_parts(stack, *parts[:2], due(), *parts[2:-1])
    (found,) = await index_parts(stack, parts[-1])
    assert isinstance(found, DocumentIndexed)
    assert await stack.vectors.existing(TENANT, ids_of(found)) == ids_of(found)


async def test_maintenance_spares_a_version_that_is_decided_but_not_folded() -> None:
    stack = Stack()
    await indexed(stack, "Short.", 1)
    (found,) = await index_parts(stack, *await parts_of(stack, TEXT, 2))
    assert isinstance(found, DocumentIndexed)
    await index_parts(stack, due(before="0.1.0"))
    assert await stack.vectors.existing(TENANT, ids_of(found)) == ids_of(found)


async def test_maintenance_with_a_broken_order_fails_and_deletes_nothing() -> None:
    stack = Stack()
    found = await indexed(stack, TEXT, 1)
    (result,) = await index([due(before="yesterday")], stack.corpus)
    assert result.error is not None
    assert fail_version(due(), "exception", "") == []
    assert await stack.vectors.of_document(TENANT, "a.md") == ids_of(found)


def make(number: int, *chunk_ids: str, deleted: bool = False) -> DocumentIndexed:
    chunks = tuple(ChunkRef(chunk_id, 0, 1, 0, 0) for chunk_id in chunk_ids)
    return DocumentIndexed(tenant="t", document="d", version=number, deleted=deleted, chunks=chunks)


def test_a_version_is_kept_until_the_one_that_took_its_place_has_passed_the_retention() -> None:
    versions = [make(1, "a"), make(2, "b"), make(3, "c")]
    kept = {order: [v.version for v in kept_versions(versions, (0, order, 0))] for order in (1, 2, 3, 4)}
    assert kept == {1: [3, 2, 1], 2: [3, 2], 3: [3], 4: [3]}
    assert len(kept_versions(versions, None)) == 3


def test_retired_rows_are_those_that_only_older_versions_list() -> None:
    assert retired_rows([make(1, "a", "b"), make(2, "b", "c")]) == {"a"}
    assert retired_rows([make(1, "a"), make(2, deleted=True)]) == {"a"}
    assert retired_rows([]) == set()
