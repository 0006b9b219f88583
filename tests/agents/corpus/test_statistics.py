import asyncio
import random
from collections.abc import AsyncIterator

from agents.corpus.policy import CorpusPolicy
from agents.corpus.rows_codec import decode_frequencies
from agents.corpus.statistics import is_due, measure_statistics
from agents.ports import TermStatistics
from millrace.events.corpus import DocumentIndexed, StatisticsComputed
from millrace.rows import ScannedChunk
from tests.agents_in_memory import ingest
from tests.builders import TENANT, changed, events_of
from tests.fakes import MemoryVectors, Stack
from tests.texts import document

POLICY = CorpusPolicy(statistics_from_chunks=10)


def record(n_chunks: int) -> TermStatistics:
    return TermStatistics(epoch=3, n_chunks=n_chunks, mean_tokens=1.0, frequencies={})


def test_statistics_are_due_when_a_quarter_has_come_or_gone_and_never_for_small_corpora() -> None:
    assert is_due(10, None, POLICY)
    assert not is_due(9, None, POLICY)
    assert not is_due(9, record(20), POLICY)
    assert [is_due(n, record(100), POLICY) for n in (74, 75, 76, 100, 124, 125)] == [
        True,
        True,
        False,
        False,
        False,
        True,
    ]


async def test_one_record_per_tenant_and_batch_counts_the_live_chunks() -> None:
    stack = Stack(corpus_policy=POLICY)
    text = "\n\n".join(document(random.Random(1), 30, "long"))
    found = [event for i in range(3) for event in await ingest(stack, changed(text, document=f"{i}.md"))]
    results = await measure_statistics([e for e in found if isinstance(e, DocumentIndexed)], stack.counting)
    assert [len(result.events) for result in results] == [0, 0, 1]
    (event,) = events_of(results[-1])
    assert isinstance(event, StatisticsComputed)
    assert (event.tenant, event.epoch, event.n_chunks) == (TENANT, 1, len(stack.vectors.live[TENANT]))
    frequencies = decode_frequencies(await stack.objects.get(event.frequencies))
    assert frequencies["river"] == sum(
        "river" in row.text.lower().split() for row in stack.vectors.live[TENANT].values()
    )


async def test_others_run_while_a_corpus_is_counted() -> None:
    class Crowd(MemoryVectors):
        async def scan(self, tenant: str, *, texts: bool = False) -> AsyncIterator[ScannedChunk]:
            for n in range(2_000):
                yield ScannedChunk(
                    chunk_id=str(n), document="a.md", archived=False, text=f"The river runs past mill {n}."
                )

        async def count(self, tenant: str) -> int:
            return 2_000

    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    stack = Stack(vectors=Crowd(), corpus_policy=POLICY)
    found = await ingest(stack, changed("Short."))
    task = asyncio.create_task(other())
    (result,) = await measure_statistics([e for e in found if isinstance(e, DocumentIndexed)], stack.counting)
    task.cancel()
    (event,) = events_of(result)
    assert isinstance(event, StatisticsComputed)
    assert event.n_chunks == 2_000
    assert turns > 2


async def test_nothing_is_scanned_when_nothing_is_due() -> None:
    class Unscannable(MemoryVectors):
        def scan(self, tenant: str, *, texts: bool = False) -> None:  # type: ignore[override]
            raise AssertionError("scanned")

    stack = Stack(vectors=Unscannable(), corpus_policy=POLICY)
    found = await ingest(stack, changed("Short."))
    results = await measure_statistics([e for e in found if isinstance(e, DocumentIndexed)], stack.counting)
    assert [result.events for result in results] == [()]
