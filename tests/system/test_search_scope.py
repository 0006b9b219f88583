"""What a principal finds depends on what it may see, and on nothing else that the tenant holds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.query.policy import QueryPolicy
from agents.query.retrieve import retrieve
from inference.hashing import HashingEmbedder
from infra.worker import load_agents
from millrace.client import Answer, Millrace
from millrace.events.query import AnswerProduced, Citation, Hit, QueryAdmitted, QueryReceived
from millrace.receipts import MAX_RECEIPTS
from millrace.topics import CONTEXT_RETRIEVED
from tests.agents_in_memory import ask as ask_in_memory
from tests.agents_in_memory import publish
from tests.builders import changed, with_meta
from tests.fakes import CountingEmbedder, Stack
from tests.system.stacks import TENANT, System, embedded_system

N_DOCUMENTS, N_VISIBLE = 2_000, 20
READERS = ("reader-1", "reader-2", "reader-3")
QUESTIONS_EACH = 6


@dataclass(frozen=True)
class Corpus:
    """Short documents of a few hundred words, common and rare, and who may read each."""

    texts: Mapping[str, str]
    readers: Mapping[str, tuple[str, ...]]
    questions: Sequence[str]

    @classmethod
    def drawn(cls, seed: int) -> Corpus:
        chance = random.Random(seed)
        syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
        words = sorted({"".join(chance.choices(syllables, k=3)) for _ in range(500)})
        weights = [1 / rank for rank in range(1, len(words) + 1)]

        def text(n: int) -> str:
            return " ".join(chance.choices(words, weights, k=n)).capitalize()

        names = [f"notes/{i:04}.txt" for i in range(N_DOCUMENTS)]
        texts = {name: f"{text(chance.randint(8, 24))}. {text(chance.randint(6, 16))}." for name in names}
        readers: dict[str, tuple[str, ...]] = dict.fromkeys(names, ("staff",))
        for reader in READERS:
            for name in chance.sample(names, N_VISIBLE):
                readers[name] += (reader,)
        return cls(texts, readers, [f"{text(4)}?" for _ in range(QUESTIONS_EACH)])

    def of(self, reader: str) -> list[str]:
        return [name for name, groups in self.readers.items() if reader in groups]


Found = tuple[tuple[Hit, ...], str, tuple[Citation, ...]]


def of_answer(answer: Answer | AnswerProduced) -> Found:
    """What an asker sees: chunk ids, order and scores; text; quotes with their places."""
    return answer.hits, answer.text, answer.citations


async def ingest(millrace: Millrace, corpus: Corpus, names: Sequence[str]) -> None:
    for start in range(0, len(names), MAX_RECEIPTS):
        receipts = await asyncio.gather(
            *(
                millrace.put_document(
                    name,
                    corpus.texts[name],
                    media_type="text/plain",
                    groups=corpus.readers[name],
                    version=1,
                    acl_version=1,
                )
                for name in names[start : start + MAX_RECEIPTS]
            )
        )
        outcomes = await millrace.wait(receipts, timeout_s=120)
        assert {outcome.outcome for outcome in outcomes} == {"indexed"}
    await millrace.search("Is everything folded?", after=receipts, timeout_s=60)


async def asked(millrace: Millrace, question: str, reader: str, **options: Any) -> tuple[Found, Found]:
    """The same question as a search and as a question."""
    who: Any = {"user": "maria", "groups": [reader], **options}
    searched = await millrace.search(question, **who)
    return of_answer(searched), of_answer(await millrace.ask(question, explain=True, **who))


async def asked_alone(corpus: Corpus, reader: str) -> dict[str, tuple[Found, Found]]:
    """Answers of a corpus in memory that holds what one reader may see and nothing else."""
    stack = Stack(embedder=CountingEmbedder(HashingEmbedder().dim))
    for name in corpus.of(reader):
        await publish(stack, changed(corpus.texts[name], document=name, media_type="text/plain"), reader)
    found = {}
    for n, question in enumerate(corpus.questions):
        both = []
        for mode in ("search", "answer"):
            received = QueryReceived(
                tenant=TENANT, conversation=f"{mode}-{n}", question=question, groups=(reader,), mode=mode, exact=True,
                explain=mode == "answer",
            )  # fmt: skip
            log = await ask_in_memory(stack, with_meta(received))
            both += [of_answer(event) for event in log if isinstance(event, AnswerProduced)]
        found[question] = (both[0], both[1])
    return found


async def ranked_by_the_whole_corpus(system: System, corpus: Corpus, reader: str) -> dict[str, list[str]]:
    """Documents in the order that term statistics of all documents, the forbidden ones included, give them."""
    spec = next(spec for spec in load_agents(["agents.query"]) if spec.name == "answer_question")
    found = {}
    async with system.composed([spec], "probe") as composition, composition.ports_for(spec) as ports:
        await ports.visibility.wait_ready()
        await composition.prepare[spec.name]([])
        never_exact = msgspec.structs.replace(ports, policy=QueryPolicy(exact_below_chunks=0))
        for question in corpus.questions:
            admitted = QueryAdmitted(tenant=TENANT, conversation="probe", question=question, groups=(reader,))
            context: Any = await retrieve(with_meta(admitted), never_exact)
            assert context.statistics.startswith("epoch:")
            found[question] = [hit.document for hit in context.hits]
    return found


@contextmanager
def holding(home: Path, corpus: Corpus, names: Sequence[str]) -> Iterator[System]:
    """A stack with a worker process that has indexed documents."""

    async def fill(system: System) -> None:
        async with system.client() as millrace:
            await ingest(millrace, corpus, names)

    with embedded_system(home, workers=1) as system:
        asyncio.run(fill(system))
        yield system


async def answers_of(system: System, corpus: Corpus, reader: str, **options: Any) -> dict[str, tuple[Found, Found]]:
    async with system.client() as millrace:
        return {question: await asked(millrace, question, reader, **options) for question in corpus.questions}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_who_may_see_20_of_2000_documents_gets_the_answers_of_a_corpus_of_those_20_alone(tmp_path: Path) -> None:
    """The same chunks, order, scores, text and quotes; from a second stack for one reader, from memory for the others.

    The tenant is the same, so that ids are. The last part is the control: were the words of the forbidden documents
    counted, the order would be another one.
    """
    corpus = Corpus.drawn(1)
    with holding(tmp_path / "all", corpus, list(corpus.texts)) as system:
        exact = {reader: asyncio.run(answers_of(system, corpus, reader, exact=True)) for reader in READERS}
        for reader in READERS:
            assert exact[reader] == asyncio.run(asked_alone(corpus, reader))
            assert exact[reader] == asyncio.run(answers_of(system, corpus, reader)), "a small visible set is exact"
        assert all(event.exact for event in system.events(CONTEXT_RETRIEVED))
        order = {question: [hit.document for hit in found[0][0]] for question, found in exact[READERS[0]].items()}
        assert {len(documents) for documents in order.values()} == {10}
        assert any(found[1][1] for found in exact[READERS[0]].values()), "no question had an answer"
        assert asyncio.run(ranked_by_the_whole_corpus(system, corpus, READERS[0])) != order
    with holding(tmp_path / "alone", corpus, corpus.of(READERS[0])) as system:
        assert exact[READERS[0]] == asyncio.run(answers_of(system, corpus, READERS[0], exact=True))
