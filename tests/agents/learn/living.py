"""The whole learning loop in memory, and a seeded log of what it reads: questions, answers, what people made of them.

Each record stands at its place of its topic, so that whoever reads the log again from offset 0 meets the same records.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agents.learn import (
    conclude_feedback,
    curate,
    detect_drift,
    measure_signals,
    propose_example,
    score_quality,
    take_correction,
)
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from millrace.agent import AgentSpec, spec_of
from millrace.event import Event, Origin
from millrace.events.feedback import FeedbackGiven, InteractionObserved, SessionDue
from millrace.events.guard import ReviewDecisionMade, ReviewItemOpened
from millrace.events.learn import (
    DriftDetected,
    DriftScored,
    ExampleCurated,
    ExampleRejected,
    QualityScored,
    TrainingRequested,
)
from millrace.events.query import AnswerProduced, Citation, ContextRetrieved, Hit, QueryReceived
from millrace.examples.curated import Curation
from millrace.testing import Memory, delivered
from millrace.topics import (
    ANSWER_PRODUCED,
    CONTEXT_RETRIEVED,
    FEEDBACK_GIVEN,
    INTERACTION_OBSERVED,
    QUERY_RECEIVED,
    REVIEW_DECISION_MADE,
    SESSION_DUE,
    Topic,
)
from tests.fakes import MemoryObjects
from tests.learned import learning

TENANT: Final = "acme"
BEGIN_US: Final = 1_700_000_000_000_000
SECOND_US: Final = 1_000_000
LOOP: Final = (
    conclude_feedback, take_correction, measure_signals, detect_drift, score_quality, propose_example, curate
)  # fmt: skip
SPECS: Final[tuple[AgentSpec, ...]] = tuple(spec_of(each) for each in LOOP)
_TOPICS: Final[dict[type[Event], Topic]] = {
    QueryReceived: QUERY_RECEIVED, ContextRetrieved: CONTEXT_RETRIEVED, AnswerProduced: ANSWER_PRODUCED,
    FeedbackGiven: FEEDBACK_GIVEN, InteractionObserved: INTERACTION_OBSERVED, SessionDue: SESSION_DUE,
    ReviewDecisionMade: REVIEW_DECISION_MADE,
}  # fmt: skip


@dataclass
class Written:
    """A log while it is written: each record has its place, a minute after the one before."""

    tenant: str = TENANT
    events: list[Event] = field(default_factory=list)
    _ends: Counter[str] = field(default_factory=Counter)

    def add(self, event: Event, correlation: str) -> None:
        """Write a record."""
        topic = _TOPICS[type(event)]
        # What agents write on these topics stands elsewhere: on a broker no two records have one place.
        origin = Origin(topic.name, 1, self._ends[topic.name])
        self._ends[topic.name] += 1
        name = f"{self.tenant}/{topic.name}/{origin.offset}"
        time_us = BEGIN_US + len(self.events) * 60 * SECOND_US
        self.events.append(delivered(event, origin=origin, id=name, correlation_id=correlation, time_us=time_us))

    def ask(self, name: str, conversation: str, user: str, question: str, answer: str, **fields: Any) -> None:
        """A question with its context and its answer; `best` is BM25 of the first hit."""
        best, document = fields.pop("best", 24.0), fields.pop("document", "hr/leave.md")
        whose: dict[str, Any] = {"tenant": self.tenant, "conversation": conversation}
        hits = tuple(
            Hit(chunk_id=f"{document}#{n}", document=document, version=1, rank=n + 1, score=1 - n / 10, dense=0.5,
                lexical=best * (1 - 0.12 * n))
            for n in range(5)
        )  # fmt: skip
        cited = Citation(document, 1, f"{document}#0", "Leave", "", 0, len(answer), answer)
        self.add(QueryReceived(**whose, question=question, user=user), name)
        self.add(ContextRetrieved(**whose, question=question, user=user, groups=("*",), hits=hits), name)
        produced = AnswerProduced(
            **whose, correlation=name, status="answered", text=answer, citations=(cited,), hits=hits, confidence=0.9,
            user=user,
        )  # fmt: skip
        self.add(produced, name)

    def say(self, kind: Any, name: str, conversation: str, user: str, **fields: Any) -> None:
        """Feedback on an answer."""
        given = FeedbackGiven(
            tenant=self.tenant, conversation=conversation, correlation=name, user=user, kind=kind, **fields
        )
        self.add(given, name)


def lively(n: int = 320, seed: int = 3, tenant: str = TENANT) -> list[Event]:
    """Questions of many people, half of whom say something; the corpus knows less of the later ones."""
    rng, log = random.Random(seed), Written(tenant)
    for i in range(n):
        name, conversation, user = f"q{i}", f"c{i // 2}", f"user-{rng.randrange(60)}"
        about = rng.choice(("leave", "meals", "badges", "visas", "lamps", "desks"))
        document = f"{about}/page-{rng.randrange(7)}.md"
        text = f"There are {rng.randrange(3, 90)} {about} by rule {i} of the house."
        best = max(rng.gauss(24 if i < n // 2 else 11, 3), 1.0)
        question = f"How many {about} of kind {i} are there?"
        log.ask(name, conversation, user, question, text, best=best, document=document)
        does = rng.choice(("", "", "up", "down", "correction", "review", "copied", "rating"))
        if does == "correction":
            log.say("correction", name, conversation, user, text=f"No, it is {rng.randrange(99)} {about} and {i} more.")
        elif does == "rating":
            log.say("rating", name, conversation, user, rating=rng.randint(1, 5))
        elif does in {"up", "down"}:
            log.say(does, name, conversation, user)
        elif does == "copied":
            log.add(
                InteractionObserved(
                    tenant=tenant, conversation=conversation, correlation=name, user=user, kind="copied"
                ),
                name,
            )
        elif does == "review":
            made = ReviewDecisionMade(
                tenant=tenant, item=f"i{i}", subject_kind="answer", subject=name, decision="correct", user="rea",
                text=f"Right is {i} {about}, says the list.", conversation=conversation,
            )  # fmt: skip
            log.add(made, name)
    return log.events


def loop(
    objects: MemoryObjects | None = None,
    specs: Sequence[AgentSpec] = SPECS,
    personal_data: Any = None,
    **policy: Any,
) -> Memory:
    """The agents with their ports."""
    ports = learning(objects, personal_data, **policy)
    plain = LearnPorts(LearnPolicy(**policy))
    return Memory(specs, ports={spec.name: ports.get(spec.name, plain) for spec in specs})


async def read(memory: Memory, events: Iterable[Event]) -> list[Event]:
    """Let records arrive one after the other, and all that follows from each before the next; what was emitted."""
    return [made for event in events for made in await memory.feed([event])]


def firsts(events: Iterable[Event]) -> list[Event]:
    """Of each id the first record, as every reader takes it."""
    found: dict[str, Event] = {}
    for event in events:
        found.setdefault(event.meta.id, event)
    return list(found.values())


def seen(emitted: Iterable[Event]) -> dict[str, Any]:
    """What readers make of what the loop wrote: quality, drift, training, examples, review items, feedback."""
    events = firsts(emitted)
    curation = Curation()
    quality: dict[str, QualityScored] = {}
    for event in events:
        if isinstance(event, ExampleCurated | ExampleRejected):
            curation.fold(event)
        elif isinstance(event, QualityScored):
            known = quality.get(event.correlation)
            quality[event.correlation] = event if known is None or event.revision > known.revision else known
    return {
        "quality": quality,
        "examples": {name: (each.split, each.ref, each.source) for name, each in curation.examples.items()},
        "rejected": [(each.example, each.reason) for each in curation.rejected],
        "windows": _of(DriftScored, events),
        "drift": _of(DriftDetected, events),
        "training": _of(TrainingRequested, events),
        "items": _of(ReviewItemOpened, events),
        "feedback": _of(FeedbackGiven, events),
    }


def _of(kind: type[Event], events: Iterable[Event]) -> dict[str, Event]:
    return {event.meta.id: event for event in events if isinstance(event, kind)}
