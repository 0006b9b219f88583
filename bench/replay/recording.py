"""Questions asked in exact mode while a fifth of the corpus changes."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.datasets import Document, chosen, load, without
from bench.stack import in_turn
from millrace.client import Millrace
from millrace.client.options import PutOptions
from millrace.connection import Connection
from millrace.errors import Unavailable
from millrace.evaluation.questions import KnownQuestion
from millrace.groups import EVERYONE

TENANT = "replay"
CHANGED = 0.2
TOP_K = 10
_SEED = 10
_WIDTH = 32
_DELETED = 4
"""Of the documents that change, one in so many is deleted; the others get other words."""


class Sizes(msgspec.Struct, frozen=True):
    """How many questions and, unless that is 0 for all, how many documents."""

    questions: int
    documents: int


class Recorded(msgspec.Struct, frozen=True):
    """What was asked and changed."""

    questions: tuple[KnownQuestion, ...]
    n_documents: int
    n_changes: int


async def record(connection: Connection, data: Path, sizes: Sizes) -> Recorded:
    """Ingest both data sets; ask, and change a document every so often."""
    documents, questions = _chosen(data, sizes)
    changing = random.Random(_SEED).sample(documents, round(CHANGED * len(documents)))
    every = max(1, len(questions) // max(len(changing), 1))
    async with Millrace(connection, tenant=TENANT, max_pending=4096) as client:
        for numbers in in_turn(len(documents), _WIDTH):
            await _put(client, [documents[i] for i in numbers], 1)
        waiting = list(enumerate(changing))
        for n, question in enumerate(questions):
            if n % every == 0 and waiting:
                await _change(client, *waiting.pop(0))
            await client.ask(question.question, exact=True, top_k=TOP_K, labels=question.labels, timeout_s=60)
        for number, document in waiting:
            await _change(client, number, document)
    return Recorded(tuple(questions), len(documents), len(changing))


def _chosen(data: Path, sizes: Sizes) -> tuple[list[Document], list[KnownQuestion]]:
    sets = [load(name, data) for name in ("xquad", "policyqa")]
    if sizes.documents:
        sets = [without(each, chosen(each, 1.0, _SEED)[sizes.documents // 2 :]) for each in sets]
    documents = [document for each in sets for document in each.documents]
    there = {document.id for document in documents}
    questions = [question for each in sets for question in each.questions if there & set(question.documents)]
    if not questions:
        raise Unavailable("the data sets have no questions about these documents")
    return documents, drawn(questions, sizes.questions)


def drawn(questions: Sequence[KnownQuestion], n: int) -> list[KnownQuestion]:
    """Draw so many questions; of more than there are, all of them round after round, each in another order."""
    rng = random.Random(_SEED)
    found: list[KnownQuestion] = []
    while len(found) < n:
        found += rng.sample(questions, min(n - len(found), len(questions)))
    return found


async def _put(client: Millrace, documents: Sequence[Document], version: int) -> None:
    receipts = await asyncio.gather(
        *(client.put_document(each.id, each.text, **_options(each, version)) for each in documents)
    )
    await client.wait(receipts, 300)


def _options(document: Document, version: int) -> PutOptions:
    """Versions are numbered here, so that the client need not look them up; everyone may read from the first on."""
    options: PutOptions = {"labels": document.labels, "version": version}
    if version == 1:
        options |= {"groups": [EVERYONE], "acl_version": 1}
    return options


async def _change(client: Millrace, number: int, document: Document) -> None:
    if number % _DELETED == 0:
        await client.wait(await client.delete_document(document.id, version=2), 60)
        return
    rng = random.Random(document.id)
    parts = document.text.split("\n\n")
    for at in rng.sample(range(len(parts)), max(1, len(parts) // 2)):
        words = parts[at].split(" ")
        words.insert(len(words) // 2, f"(amended {rng.randrange(10**6)})")
        parts[at] = " ".join(words)
    await _put(client, [msgspec.structs.replace(document, text="\n\n".join(parts))], 2)
