"""P6: how much is embedded again when little of a document changes."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial

from bench.ingest import put_all
from bench.lab import Lab
from bench.measure import REPETITIONS, Check, Outcome
from bench.null_adapters import Counts
from bench.stack import in_turn, running_client
from bench.texts import document, paragraph, paragraphs
from millrace.client import Millrace
from millrace.client.outcomes import Outcome as Settled
from millrace.errors import InputRejected

N_DOCUMENTS = 200
N_PARAGRAPHS = 24
_AT_LEAST_CHUNKS = 20

Parts = list[str]


async def measure(lab: Lab) -> Outcome:
    """Edit one paragraph in each of many documents; then put a new paragraph at the top of each."""
    n = lab.size(N_DOCUMENTS // REPETITIONS, 5)
    edits, inserts, worst, n_chunks = [], [], [], []
    async with running_client(lab, embedder="hashing", adapt=Counts().adapt) as client:
        for repetition in range(lab.repetitions):
            tenant = f"edits-{repetition}"
            rng = random.Random(repetition)
            parts = [paragraphs(f"{repetition}/{i}", N_PARAGRAPHS) for i in range(n)]
            first = await put_all(client, [(f"{i}.md", document(each)) for i, each in enumerate(parts)], tenant=tenant)
            n_chunks.append(min(each.n_chunks for each in first))
            edited = await _change(client, tenant, 2, parts, partial(_edit, rng))
            inserted = await _change(client, tenant, 3, parts, partial(_insert, rng))
            edits.append(sum(each.n_embedded for each in edited) / n)
            inserts.append(sum(each.n_embedded for each in inserted) / n)
            worst.append(max(each.n_embedded for each in inserted))
    if min(n_chunks) < _AT_LEAST_CHUNKS:
        raise InputRejected(f"a document has {min(n_chunks)} chunks, the budget is about {_AT_LEAST_CHUNKS} or more")
    return Outcome(
        checks=(
            Check(id="P6", what="chunks embedded for each edited paragraph", relation="<=", limit=1.2, unit="chunks",
                  values=tuple(edits)),
            Check(id="P6", what="most chunks embedded for a paragraph inserted at the top", relation="<=", limit=2,
                  unit="chunks", values=tuple(map(float, worst))),
        ),
        numbers={
            "documents": n * lab.repetitions,
            "fewest chunks of a document": min(n_chunks),
            "chunks embedded for an insert, mean": sum(inserts) / len(inserts),
        },
        notes=(
            f"{n * lab.repetitions} documents in {lab.repetitions} tenants, of {N_PARAGRAPHS} paragraphs without "
            "headings, through the real agents on the broker; the counts are those of DocumentIndexed. An edit "
            "replaces a few words in the middle of one paragraph chosen at random. Counts do not depend on the "
            "vectors, so these are hashed words."
        ),
    )  # fmt: skip


async def _change(
    client: Millrace, tenant: str, version: int, parts: Sequence[Parts], change: Callable[[Parts], None]
) -> list[Settled]:
    """Change every document in place and write it."""
    receipts = []
    for numbers in in_turn(len(parts), 64):
        for i in numbers:
            change(parts[i])
        receipts += await asyncio.gather(
            *(client.put_document(f"{i}.md", document(parts[i]), tenant=tenant, version=version) for i in numbers)
        )
    return await client.wait(receipts, 120)


def _insert(rng: random.Random, parts: Parts) -> None:
    parts.insert(0, paragraph(rng))


def _edit(rng: random.Random, parts: Parts) -> None:
    at = rng.randrange(len(parts))
    words = parts[at].split()
    middle = len(words) // 2
    words[middle : middle + 3] = [f"amended-{rng.randrange(10**6)}", "by", "order"]
    parts[at] = " ".join(words)
