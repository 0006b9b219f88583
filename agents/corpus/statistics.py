"""Record a tenant's term statistics when its corpus has changed enough.

Delivery: at least once; a record is replaced by the next one, and two workers that count at the same time record the
same epoch.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from millrace.agent import Batch, Result, agent
from millrace.events.corpus import DocumentIndexed, StatisticsComputed
from millrace.topics import DOCUMENT_INDEXED, STATISTICS_COMPUTED

from agents.corpus.background import beside_the_loop
from agents.corpus.policy import CorpusPolicy
from agents.corpus.rows_codec import encode_frequencies
from agents.lexical import terms
from agents.ports import StatisticsPorts, TermStatistics

_SLICE: Final = 512  # texts counted in one go


@agent(
    source=DOCUMENT_INDEXED,
    sinks=(STATISTICS_COMPUTED,),
    batch=Batch(max_items=1_024, linger_ms=1_000),
    timeout_s=1_800.0,
)
async def measure_statistics(events: Sequence[DocumentIndexed], ports: StatisticsPorts) -> Sequence[Result]:
    """Count the terms of each tenant in the batch whose corpus grew or shrank by a quarter since its last record.

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
    """Count beside the event loop: a large corpus takes minutes, and heartbeats and questions must not wait for it."""
    counted = _Counted()
    texts: list[str] = []
    async for scanned in ports.texts.scan(tenant, texts=True):
        texts.append(scanned.text or "")
        if len(texts) == _SLICE:
            await beside_the_loop(counted.add, texts)
            texts = []
    encoded = await beside_the_loop(counted.encode, texts, ports.policy.statistics_min_chunks)
    return StatisticsComputed(
        tenant=tenant,
        epoch=recorded.epoch + 1 if recorded is not None else 1,
        n_chunks=counted.n_chunks,
        mean_tokens=counted.n_terms / counted.n_chunks if counted.n_chunks else 0.0,
        frequencies=await ports.objects.put(encoded),
    )


class _Counted:
    """What was counted so far."""

    def __init__(self) -> None:
        self.n_chunks = self.n_terms = 0
        self._frequencies: Counter[str] = Counter()

    def add(self, texts: Sequence[str]) -> None:
        for text in texts:
            found = terms(text)
            self._frequencies.update(set(found))
            self.n_terms += len(found)
        self.n_chunks += len(texts)

    def encode(self, rest: Sequence[str], least: int) -> bytes:
        """Frequencies, those below `least` left out, after the last texts."""
        self.add(rest)
        return encode_frequencies({term: n for term, n in self._frequencies.items() if n >= least})
