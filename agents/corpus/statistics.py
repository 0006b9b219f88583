"""Record a tenant's term statistics when its corpus has changed enough.

Delivery: at least once; a record is replaced by the next one, and two workers that count at the same time record the
same epoch.
"""

from collections import Counter
from collections.abc import Sequence

from millrace.agent import Batch, Result, agent
from millrace.events.corpus import DocumentIndexed, StatisticsComputed
from millrace.topics import DOCUMENT_INDEXED, STATISTICS_COMPUTED

from agents.corpus.policy import CorpusPolicy
from agents.corpus.rows_codec import encode_frequencies
from agents.lexical import terms
from agents.ports import StatisticsPorts, TermStatistics


@agent(
    source=DOCUMENT_INDEXED,
    sinks=(STATISTICS_COMPUTED,),
    batch=Batch(max_items=1_024, linger_ms=1_000),
    timeout_s=1_800.0,
)
async def measure_statistics(events: Sequence[DocumentIndexed], ports: StatisticsPorts) -> Sequence[Result]:
    """Count the terms of each tenant in the batch whose corpus grew or shrank by a tenth since its last record.

    Raises
    ------
    Unavailable
        If the store is down.
    """
    last = {event.tenant: number for number, event in enumerate(events)}
    results = [Result.ok()] * len(events)
    for tenant, number in last.items():
        recorded = await ports.statistics.current(tenant)
        if is_due(await ports.texts.count(tenant), recorded, ports.policy):
            results[number] = Result.ok(await _measure(tenant, recorded, ports))
    return results


def is_due(n_chunks: int, recorded: TermStatistics | None, policy: CorpusPolicy) -> bool:
    """Whether a corpus of this size needs a new record; smaller ones are searched exactly and need none."""
    if n_chunks < policy.statistics_from_chunks:
        return False
    return recorded is None or abs(n_chunks - recorded.n_chunks) >= policy.statistics_change * recorded.n_chunks


async def _measure(tenant: str, recorded: TermStatistics | None, ports: StatisticsPorts) -> StatisticsComputed:
    frequencies: Counter[str] = Counter()
    n_chunks = n_terms = 0
    async for scanned in ports.texts.scan(tenant, texts=True):
        found = terms(scanned.text or "")
        frequencies.update(set(found))
        n_chunks += 1
        n_terms += len(found)
    least = ports.policy.statistics_min_chunks
    kept = {term: n for term, n in frequencies.items() if n >= least}
    return StatisticsComputed(
        tenant=tenant,
        epoch=recorded.epoch + 1 if recorded is not None else 1,
        n_chunks=n_chunks,
        mean_tokens=n_terms / n_chunks if n_chunks else 0.0,
        frequencies=await ports.objects.put(encode_frequencies(kept)),
    )
