"""P7 and P8: how soon an edit is answered from, and how soon a revoked permission is enforced."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from bench.ingest import N_PARAGRAPHS, put_all
from bench.lab import Lab
from bench.measure import Check, Outcome, percentile
from bench.null_adapters import Counts
from bench.stack import running_client
from bench.texts import document, paragraphs
from millrace.client import Millrace
from millrace.errors import InputRejected

TENANT = "acme"
RATED_SHARE = 0.5
EDITS_PER_S = 4.0


async def edits(lab: Lab) -> Outcome:
    """P7: from the acknowledgement of an edit to an answer that quotes the new text, while other documents come in."""
    n, n_documents = lab.size(100, 2), lab.size(100, 3)
    p50, times = [], []
    async with running_client(lab, embedder="minilm") as client:
        capacity = await _prepare(client, n_documents)
        async with _rated_ingest(client, capacity * RATED_SHARE) as ingested:
            for repetition in range(lab.repetitions):
                run = await _paced([partial(_edit, client, i % n_documents, 2 + repetition * n + i) for i in range(n)])
                p50.append(statistics.median(run))
                times += run
    return Outcome(
        checks=(
            Check(id="P7", what="edit committed to new text answered, p50", relation="<=", limit=0.5, unit="s",
                  values=tuple(p50)),
            Check(id="P7", what="the same, p99", relation="<=", limit=2.0, unit="s", values=(percentile(times, 0.99),)),
        ),
        numbers={
            "edits": len(times), "p95, s": round(percentile(times, 0.95), 3),
            "documents a second at full load": round(capacity, 2),
            "documents a second during the measurement": round(capacity * RATED_SHARE, 2),
            "documents ingested beside": len(ingested),
        },
        notes=(
            f"Rated ingest is {RATED_SHARE:.0%} of what the machine can take: new documents of {N_PARAGRAPHS} "
            "paragraphs at an even pace, embedded by the same MiniLM in the same worker. Edits come at an even pace "
            f"too, {EDITS_PER_S:g} a second whether or not those before are answered; each changes one fact in a "
            "document, and the question is asked `after` the edit's receipt and must quote the new fact."
        ),
    )  # fmt: skip


async def revocations(lab: Lab) -> Outcome:
    """P8: from the acknowledgement of AclChanged to the first search that no longer finds the document."""
    n = lab.size(20, 2)
    counts = Counts()
    p99, embeddings, writes = [], [], []
    async with running_client(lab, embedder="minilm", adapt=counts.adapt) as client:
        for repetition in range(lab.repetitions):
            tenant = f"acl-{repetition}"
            corpus = [(f"{i}.md", document(paragraphs(f"{repetition}/{i}", 3))) for i in range(n)]
            await put_all(client, corpus, tenant=tenant, groups=("crew",))
            await _settled(counts)
            before = len(counts.calls), counts.n_writes
            times = [await _revoke(client, tenant, f"{i}.md", corpus[i][1][:80]) for i in range(n)]
            p99.append(percentile(times, 0.99))
            embeddings.append(float(len(counts.calls) - before[0]))
            writes.append(float(counts.n_writes - before[1]))
    return Outcome(
        checks=(
            Check(id="P8", what="permission revoked to enforced, p99", relation="<=", limit=1.0, unit="s",
                  values=tuple(p99)),
            Check(id="P8", what="texts embedded for it", relation="<=", limit=0, unit="calls",
                  values=tuple(embeddings)),
            Check(id="P8", what="writes to the vector store for it", relation="<=", limit=0, unit="calls",
                  values=tuple(writes)),
        ),
        numbers={"revocations": n * lab.repetitions},
        notes=(
            "After the acknowledgement, searches follow one another until one comes back without the "
            "document; the time is that of its arrival. Counted are the calls of the corpus path's model and "
            "store; the questions' own embedding is not part of it."
        ),
    )  # fmt: skip


async def _prepare(client: Millrace, n: int) -> float:
    """Ingest the documents that will be edited; documents a second at full load."""
    await put_all(client, [(f"warm/{i}.md", document(paragraphs(f"warm{i}", 3))) for i in range(4)], tenant="other")
    began = time.perf_counter()
    await put_all(client, [(f"{i}.md", _facts(i, 1)) for i in range(n)], tenant=TENANT)
    return n / (time.perf_counter() - began)


async def _paced(calls: Sequence[Callable[[], Coroutine[None, None, float]]]) -> list[float]:
    """Start calls at an even pace, however slow those before are, so that a delay is not hidden by waiting for it."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for i, call in enumerate(calls):
            await asyncio.sleep(max(0.0, began + i / EDITS_PER_S - loop.time()))
            tasks.append(group.create_task(call()))
    return [task.result() for task in tasks]


def _facts(i: int, value: int) -> str:
    fact = f"The safety valve of chamber {i} opens at {1000 + value} millibar and is sealed with a lead tag. " * 2
    return document([*paragraphs(f"facts/{i}", N_PARAGRAPHS - 1), fact.strip()])


async def _edit(client: Millrace, i: int, value: int) -> float:
    receipt = await client.put_document(f"{i}.md", _facts(i, value), tenant=TENANT, version=value)
    began = time.perf_counter()
    answer = await client.ask(
        f"At how many millibar does the safety valve of chamber {i} open?", tenant=TENANT, after=receipt, timeout_s=30
    )
    seconds = time.perf_counter() - began
    cited = [each for each in answer.citations if each.document == f"{i}.md"]
    if not any(f"{1000 + value} millibar" in each.quote for each in cited):
        raise InputRejected(f"the answer after an edit of {i}.md does not quote it: {answer.text[:200]!r}")
    return seconds


@asynccontextmanager
async def _rated_ingest(client: Millrace, documents_per_s: float) -> AsyncIterator[list[int]]:
    """Write new documents at an even pace until the end of the block."""
    done: list[int] = []

    async def ingest() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(max(0.0, began + len(done) / documents_per_s - loop.time()))
            number = len(done)
            text = document(paragraphs(f"rated/{number}", N_PARAGRAPHS))
            await client.put_document(f"rated/{number}.md", text, tenant="other", version=1)
            done.append(number)

    task = asyncio.create_task(ingest())
    try:
        yield done
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _revoke(client: Millrace, tenant: str, name: str, question: str) -> float:
    found = await client.search(question, tenant=tenant, groups=("crew",))
    if name not in {hit.document for hit in found.hits}:
        raise InputRejected(f"{name} was not found before its permission was revoked: {found.hits}")
    await client.set_acl(name, (), tenant=tenant)
    began = time.perf_counter()
    while name in {hit.document for hit in found.hits}:
        found = await client.search(question, tenant=tenant, groups=("crew",))
    return time.perf_counter() - began


async def _settled(counts: Counts) -> None:
    """Wait until upkeep that follows an ingest is over, so that it is not counted."""
    before = -1
    while before != counts.n_writes:
        before = counts.n_writes
        await asyncio.sleep(1)
