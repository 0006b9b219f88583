"""Laws about the ports of a replay: they give what was, say what is gone, and change nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from agents.corpus.rows_codec import encode_frequencies
from infra.replaying.ports import (
    Incomplete,
    Index,
    NewestStatistics,
    RecordedEmbedder,
    RecordedStatistics,
    StatisticsLog,
)
from millrace.errors import ConfigurationError, ObjectMissing
from millrace.events.corpus import ChunkRef, DocumentIndexed, StatisticsComputed
from millrace.events.query import ContextRetrieved, QueryReceived
from millrace.rows import Candidate, ChunkRow
from millrace.testing import delivered
from streams.recorded.questions import RecordedQuestion
from tests.fakes import CountingEmbedder, MemoryObjects
from tests.streams.stores.vector_store_contract import chunk


class Rows:
    """A store that holds some rows, and notes whether its archive was searched."""

    def __init__(self, *rows: ChunkRow) -> None:
        self.rows = {row.chunk_id: row for row in rows}
        self.archived: list[bool] = []
        self.asked: list[set[str]] = []

    async def fetch(self, tenant: str, chunk_ids: Sequence[str]) -> list[ChunkRow]:
        return [self.rows[each] for each in chunk_ids if each in self.rows]

    async def existing(self, tenant: str, chunk_ids: Collection[str]) -> set[str]:
        self.asked.append(set(chunk_ids))
        return set(chunk_ids) & self.rows.keys()

    async def of_document(self, tenant: str, document: str) -> set[str]:
        return set(self.rows)

    async def candidates(self, tenant: str, *, archived: bool = False, **options: Any) -> list[Candidate]:
        self.archived.append(archived)
        return []


class View:
    """A visible set of one document."""

    def __init__(self, row: int, *chunk_ids: str) -> None:
        self._row = row
        self._version = DocumentIndexed(
            tenant="t", document="d", version=1, chunks=tuple(ChunkRef(each, 0, 1, 0, 0) for each in chunk_ids)
        )

    def documents(self) -> Collection[str]:
        return ["d"]

    def row(self, document: str) -> int:
        return self._row

    def get(self, document: str) -> DocumentIndexed:
        return self._version


async def test_a_row_that_is_asked_for_and_gone_is_noticed() -> None:
    index = Index(Rows(chunk(1)), archived=True)
    there, gone = chunk(1).chunk_id, chunk(2).chunk_id
    assert [row.chunk_id for row in await index.fetch("t", [there, gone])] == [there]
    assert index.missing == {gone}


async def test_what_a_search_by_neighbours_would_not_notice_is_looked_for_once_a_version() -> None:
    store = Rows(chunk(1))
    index = Index(store, archived=True)
    there, gone = chunk(1).chunk_id, chunk(2).chunk_id
    whole: Any = View(1, there)
    torn: Any = View(2, there, gone)
    await index.check("t", whole)
    await index.check("t", whole)
    assert (index.missing, store.asked) == (set(), [{there}])
    await index.check("t", torn)
    index.missing.clear()
    await index.check("t", torn)  # what is gone stays gone, for each question that was to see it
    assert index.missing == {gone}


@pytest.mark.parametrize("archived", [True, False])
async def test_the_archive_is_searched_for_earlier_times_alone(archived: bool) -> None:
    store = Rows()
    await Index(store, archived=archived).candidates("t", vector=np.zeros(4, dtype=np.float32), text="", k=1)
    assert store.archived == [archived]


async def test_nothing_is_written_to_the_index() -> None:
    index = Index(Rows(), archived=True)
    for attempt in (index.upsert([]), index.archive("t", []), index.restore("t", []), index.delete("t", [])):
        with pytest.raises(ConfigurationError, match="writes nothing"):
            await attempt


def context_of(**fields: Any) -> ContextRetrieved:
    return ContextRetrieved(tenant="t", conversation="c", question="How high?", **fields)


async def test_a_question_is_embedded_again_only_by_another_model() -> None:
    embedder = CountingEmbedder(4)
    vector = np.array([1, 0, 0, 0], dtype="<f4")
    same = RecordedEmbedder(embedder, context_of(model=embedder.model, vector=vector.tobytes()))
    assert (await same.embed(["How high?"])).tolist() == [[1, 0, 0, 0]]
    assert embedder.calls == []
    await same.embed(["How deep?"])
    await RecordedEmbedder(embedder, context_of(model="other", vector=vector.tobytes())).embed(["How high?"])
    await RecordedEmbedder(embedder, None).embed(["How high?"])
    assert embedder.calls == [["How deep?"], ["How high?"], ["How high?"]]


def question_with(statistics: str, retrieved_at_ms: int = 50) -> RecordedQuestion:
    received = delivered(QueryReceived(tenant="t", conversation="c", question="How high?"))
    return RecordedQuestion(
        received=received, asked_at_ms=1, context=context_of(statistics=statistics), retrieved_at_ms=retrieved_at_ms
    )


async def statistics_log(objects: MemoryObjects, epochs: Mapping[int, int]) -> StatisticsLog:
    """Records of epochs, each with when it was taken."""
    records = []
    for epoch, at_ms in epochs.items():
        ref = await objects.put(encode_frequencies({"pier": epoch}))
        event = StatisticsComputed(tenant="t", epoch=epoch, n_chunks=10 * epoch, mean_tokens=3.0, frequencies=ref)
        records.append((delivered(event), at_ms))
    return StatisticsLog(records, objects.get)


async def test_a_question_is_ranked_with_the_statistics_of_its_epoch() -> None:
    log = await statistics_log(MemoryObjects(), {1: 10, 2: 20, 3: 90})
    found = await RecordedStatistics(log, question_with("epoch:2")).current("t")
    assert found is not None
    assert (found.epoch, found.n_chunks, found.frequencies) == (2, 20, {"pier": 2})
    assert await RecordedStatistics(log, question_with("candidates")).current("t") is None
    newest_then = await RecordedStatistics(log, question_with("visible")).current("t")
    assert newest_then is not None
    assert newest_then.epoch == 2
    now = await NewestStatistics(log).current("t")
    assert now is not None
    assert now.epoch == 3


async def test_statistics_of_epochs_that_are_over_are_let_go() -> None:
    objects, got = MemoryObjects(), list[str]()
    known = await statistics_log(objects, {epoch: epoch for epoch in range(1, 20)})

    async def get(ref: str) -> bytes:
        got.append(ref)
        return await objects.get(ref)

    log = StatisticsLog(known._records, get)
    for epoch in range(1, 20):
        for _ in range(3):  # of many questions in one epoch, one reads them
            await RecordedStatistics(log, question_with(f"epoch:{epoch}")).current("t")
    assert len(got) == 19
    await RecordedStatistics(log, question_with("epoch:19")).current("t")
    assert len(got) == 19
    await RecordedStatistics(log, question_with("epoch:1")).current("t")
    assert len(got) == 20


async def test_statistics_that_are_gone_are_not_replaced_by_others() -> None:
    objects = MemoryObjects()
    log = await statistics_log(objects, {2: 20})
    with pytest.raises(Incomplete, match="epoch:1") as lost:
        await RecordedStatistics(log, question_with("epoch:1")).current("t")
    assert lost.value.reason == "statistics_gone"
    objects.objects.clear()
    with pytest.raises(Incomplete):
        await RecordedStatistics(log, question_with("epoch:2")).current("t")
    with pytest.raises(ObjectMissing):
        await NewestStatistics(log).current("t")
