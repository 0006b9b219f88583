"""The question path of the shipped agents, event by event, with a fault in one of its stages."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from agents.guard.answer import guard_answer
from agents.learn.attribution import attribute_stage
from agents.learn.policy import LearnPolicy
from agents.learn.ports import AttributionPorts, LearnPorts
from agents.learn.quality import Conversation, score_quality
from agents.query.admit import admit
from agents.query.answer import answer
from agents.query.read import read
from agents.query.retrieve import retrieve
from bench.quality.stack import TENANT, TOP_K, QualityStack
from bench.stages.faults import Fault, garbled, misread, shuffled, truncated
from millrace import ids
from millrace.agent import Outputs
from millrace.event import E, Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.learn import QualityScored, StageAttributed
from millrace.events.query import (
    AnswerProduced,
    Citation,
    CompletionGenerated,
    CompletionGuarded,
    ContextRetrieved,
    QueryAdmitted,
    QueryReceived,
)
from millrace.testing import delivered

_CONVERSATION = "bench"


class _NoAnswers:
    """No question has been answered before."""

    def find(self, tenant: str, correlation: str) -> None:  # noqa: ARG002 - the port's names
        return None


class Asked(msgspec.Struct, frozen=True):
    """What one question left in the log.

    Attributes
    ----------
    retry : str
        The question that the asker asks instead, where they do.
    """

    received: QueryReceived
    context: ContextRetrieved
    produced: AnswerProduced
    retry: str = ""


class Chain:
    """Asks, gives feedback and has the stage named.

    Parameters
    ----------
    stack : QualityStack
        Documents that were indexed.
    groups : sequence of str
        Groups of who asks.
    policy : LearnPolicy
        What the rules go by.
    """

    def __init__(self, stack: QualityStack, groups: Sequence[str], policy: LearnPolicy) -> None:
        answers: Any = _NoAnswers()
        self._ports = msgspec.structs.replace(stack.query, answers=answers)
        self._vectors = stack.query.vectors
        self._groups = tuple(groups)
        self._learn = LearnPorts(policy)
        self._attribution = AttributionPorts(
            embedder=stack.query.embedder,
            objects=stack.corpus.objects,
            vectors=stack.query.vectors,
            visibility=stack.table,
            query=stack.query.policy,
            policy=policy,
        )

    async def ask(
        self,
        question: str,
        labels: dict[str, str],
        fault: Fault | None = None,
        *,
        right: Citation | None = None,
        rng: random.Random | None = None,
    ) -> Asked:
        """Ask a question; with a fault, one of the stages fails about the passage that answers it."""
        rng = rng or random.Random(0)
        if fault is None or right is None:
            return await self._run(question, question, labels, None, None, rng)
        if fault != "question garbled":
            return await self._run(question, question, labels, fault, right, rng)
        broken = truncated(question, rng) if rng.random() < 0.25 else garbled(question, rng)
        match rng.randrange(4):
            case 0 | 1:  # what was asked was right, what was worked on was not
                return await self._run(question, broken, labels, fault, right, rng)
            case 2:
                typed = await self._run(broken, broken, labels, fault, right, rng)
                return msgspec.structs.replace(typed, retry=question)
            case _:
                typed_badly = garbled(question, rng)
                return await self._run(typed_badly, typed_badly, labels, fault, right, rng)

    @asynccontextmanager
    async def broken(self, fault: Fault, right: Citation) -> AsyncIterator[None]:
        """Keep the store broken, if it is what is broken, until the stage is named."""
        if fault != "row removed":
            yield
            return
        [row] = await self._vectors.fetch(TENANT, [right.chunk_id])
        await self._vectors.delete(TENANT, [right.chunk_id])
        try:
            yield
        finally:
            await self._vectors.upsert([row])

    async def attribute(self, asked: Asked, correction: str) -> tuple[QualityScored, StageAttributed | None]:
        """Dislike an answer, correct it if there is a correction, and have the stage named."""
        feedback = [self._feedback(asked, "down", 1)]
        if correction:
            feedback.append(self._feedback(asked, "correction", 2, text=correction))
        if asked.retry:
            feedback.append(self._feedback(asked, "rephrased", 3, text=asked.retry, implicit=True))
        state, scored = Conversation(), []
        log: list[QueryReceived | ContextRetrieved | AnswerProduced | FeedbackGiven]
        log = [asked.received, asked.context, asked.produced, *feedback]
        for event in log:
            state, made = score_quality(state, event, self._learn)
            scored += [each for each in made if isinstance(each, QualityScored)]
        found = await attribute_stage(delivered(scored[-1]), self._attribution)
        return scored[-1], found if isinstance(found, StageAttributed) else None

    async def _run(
        self,
        asked: str,
        worked_on: str,
        labels: dict[str, str],
        fault: Fault | None,
        right: Citation | None,
        rng: random.Random,
    ) -> Asked:
        correlation = ids.derived("correlation", asked, worked_on, fault or "", rng.random().hex())

        def met(made: Outputs, kind: type[E]) -> E:
            events = [made] if isinstance(made, Event) else list(made or ())
            [found] = [event for event in events if isinstance(event, kind)]
            return delivered(found, correlation_id=correlation)

        received = delivered(
            QueryReceived(
                tenant=TENANT,
                conversation=_CONVERSATION,
                question=asked,
                groups=self._groups,
                labels=labels,
                top_k=TOP_K,
            ),
            correlation_id=correlation,
        )
        admitted = met(await admit(received, self._ports), QueryAdmitted).replace(question=worked_on)
        shuffles = fault == "ranker shuffled"
        window = self._ports.policy.rerank_chunks if shuffles else TOP_K
        context = met(await retrieve(admitted.replace(top_k=window), self._ports), ContextRetrieved)
        if shuffles:
            context = context.replace(hits=shuffled(context.hits, TOP_K, rng, scores=rng.random() < 0.5))
        completion = met(await read(context, self._ports), CompletionGenerated)
        if fault == "reader broken" and right is not None:
            rows = await self._vectors.fetch(TENANT, [hit.chunk_id for hit in context.hits])
            nothing = rng.random() < 0.5 or len(rows) < 2
            cited = () if nothing else misread(rows, right.chunk_id, right, rng)
            text = cited[0].quote if cited else ""
            completion = completion.replace(found=bool(cited), text=text, citations=cited)
        guarded = met(await guard_answer(completion, self._ports), CompletionGuarded)
        produced = met(await answer(guarded, self._ports), AnswerProduced)
        return Asked(received, context, produced)

    @staticmethod
    def _feedback(asked: Asked, kind: Any, time_us: int, **fields: Any) -> FeedbackGiven:
        given = FeedbackGiven(
            tenant=TENANT,
            conversation=_CONVERSATION,
            correlation=asked.produced.correlation,
            kind=kind,
            user="asker",
            **fields,
        )
        return delivered(given, time_us=time_us)
