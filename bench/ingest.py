"""P5: a new corpus from the first change to the last outcome, against a loop that makes the same model calls."""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Literal

from bench.lab import Lab
from bench.measure import Check, Outcome, Sample, medians, rate_ratios
from bench.null_adapters import Counts
from bench.stack import in_turn, running_client
from bench.texts import document, paragraphs
from millrace.client import Millrace
from millrace.client.outcomes import Outcome as Settled
from millrace.errors import InputRejected
from millrace.events.query import Receipt
from millrace.groups import EVERYONE

N_PARAGRAPHS = 10
_WIDTH = 64
_LIMIT_S = 240


async def measure(lab: Lab) -> Outcome:
    """Ingest a corpus into a new tenant, then repeat its model calls, in turns."""
    n = lab.size(50, 4)
    counts = Counts()
    ours: list[Sample] = []
    loop: list[Sample] = []
    n_texts = n_chunks = n_calls = 0
    async with running_client(lab, embedder="minilm", adapt=counts.adapt) as client:
        await put_all(client, _corpus("warm-up", min(n, 8)), tenant="warm-up")
        for repetition in range(lab.repetitions):
            n_before = len(counts.calls)
            began = time.perf_counter()
            outcomes = await put_all(client, _corpus(str(repetition), n), tenant=f"corpus-{repetition}")
            seconds = time.perf_counter() - began
            calls = counts.calls[n_before:]
            n_texts, n_chunks, n_calls = sum(map(len, calls)), sum(each.n_chunks for each in outcomes), len(calls)
            ours.append(Sample(n_chunks, seconds))
            began = time.perf_counter()
            for texts in calls:
                await counts.model.embed(texts)
            loop.append(Sample(n_chunks, time.perf_counter() - began))
    return Outcome(
        checks=(
            Check(id="P5", what="against the model calls alone", relation=">=", limit=0.9, unit="x",
                  values=rate_ratios(ours, loop)),
        ),
        numbers={
            **medians({"millrace": ours, "model calls alone": loop}, "chunks"),
            "documents": n, "chunks": n_chunks, "texts embedded": n_texts, "model calls": n_calls,
        },
        notes=(
            f"{n} documents of {N_PARAGRAPHS} paragraphs into a new tenant: access and change acknowledged, "
            "parsed, split, embedded (each chunk and each of its sentences), rows and objects written and "
            "verified, outcome read back by the client. The loop calls the same model with the same batches "
            "of texts, one after the other. The model is MiniLM in int8, "
            + ("behind Triton." if lab.profile == "native" else "in this process, on all cores.")
        ),
    )  # fmt: skip


async def put_all(
    client: Millrace,
    corpus: Sequence[tuple[str, str]],
    *,
    tenant: str,
    groups: Collection[str] = (EVERYONE,),
    trust: Literal["trusted", "untrusted"] = "trusted",
) -> list[Settled]:
    """Write documents, many at a time, and wait for all outcomes.

    Raises
    ------
    InputRejected
        If one was not indexed.
    """
    receipts: list[Receipt] = []
    for numbers in in_turn(len(corpus), _WIDTH):
        receipts += await asyncio.gather(
            *(
                client.put_document(
                    corpus[i][0], corpus[i][1], tenant=tenant, groups=groups, version=1, acl_version=1, trust=trust
                )
                for i in numbers
            )
        )
    outcomes = await client.wait(receipts, _LIMIT_S)
    if bad := [each for each in outcomes if each.outcome != "indexed"]:
        raise InputRejected(f"{len(bad)} of {len(outcomes)} documents were not indexed, the first one: {bad[0]}")
    return outcomes


def _corpus(seed: str, n: int) -> list[tuple[str, str]]:
    return [(f"manual/{i}.md", document(paragraphs(f"{seed}/{i}", N_PARAGRAPHS))) for i in range(n)]
