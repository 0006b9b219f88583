"""Answers as the loop scored them, and proposals of examples, as a runner would deliver them."""

from __future__ import annotations

from typing import Any

from agents.guard.policy import GuardPolicy
from agents.learn.policy import LearnPolicy
from agents.learn.ports import ExamplePorts, LearnPorts
from agents.lexical import terms
from millrace.event import Event
from millrace.events.learn import ExampleProposed, ExampleSource, QualityScored
from millrace.events.query import Citation, Hit
from millrace.examples.signatures import signature
from millrace.ids import derived
from millrace.testing import delivered
from tests.fakes import MemoryObjects
from tests.guard_fakes import MemoryPersonalData, MemoryScanner

DAY_US = 86_400_000_000
TENANT = "acme"


def quote(text: str, document: str = "hr/leave.md", **fields: Any) -> Citation:
    """A passage that an answer quotes."""
    found: dict[str, Any] = {
        "version": 3,
        "chunk_id": f"c-{document}",
        "title": "T",
        "heading": "Leave",
        "start": 0,
        "end": len(text),
    }
    return Citation(document=document, quote=text, **(found | fields))


def hit(document: str = "hr/leave.md", rank: int = 1) -> Hit:
    """A chunk that was retrieved."""
    return Hit(f"c-{document}", document, 3, rank, 0.9, 0.8, 3.0)


def scored(number: int = 1, *, time_us: int = DAY_US, **fields: Any) -> QualityScored:
    """How good answer `number` was."""
    given: dict[str, Any] = {
        "conversation": f"conversation-{number}",
        "correlation": f"question-{number}",
        "revision": 1,
        "score": 0.5,
        "poor": False,
        "status": "answered",
        "question": "How long is parental leave?",
        "user": "ada",
        "hits": (hit(),),
        "citations": (quote("Parental leave is sixteen weeks."),),
        "groups": ("*",),
    }
    event = QualityScored(tenant=fields.pop("tenant", TENANT), **(given | fields))
    return delivered(event, time_us=time_us, correlation_id=event.correlation)


def corrected(number: int = 1, text: str = "It is eighteen weeks.", user: str = "ada", **fields: Any) -> QualityScored:
    """A poor answer with the correction that a user gave."""
    return scored(number, poor=True, feedback={"correction": 1}, expected=text, corrected_by=user, **fields)


def approved(number: int = 1, user: str = "ada", **fields: Any) -> QualityScored:
    """An answer that a user liked."""
    return scored(number, user=user, **({"feedback": {"up": 1}} | fields))


def proposed(
    question: str,
    target: str = "Nobody knows.",
    *,
    user: str = "ada",
    document: str = "hr/leave.md",
    source: ExampleSource = "correction",
    answer: str = "",
    day: int = 1,
    **fields: Any,
) -> ExampleProposed:
    """A proposal whose digests are those of its texts."""
    words = [*terms(question), *terms(target)]
    shingles = {" ".join(words[at : at + 3]) for at in range(max(len(words) - 2, 1))}
    asked = derived("question", question)
    event = ExampleProposed(
        tenant=TENANT,
        example=derived("example", question, target, document),
        correlation=answer or f"{question}/{target}/{user}",
        ref="sha256:" + "0" * 64,
        source=source,
        user=user,
        document=document,
        label=fields.pop("label", document.partition("/")[0]),
        signature=signature(shingles),
        question=asked,
        figures=" ".join(word for word in words if word.isdigit()),
        documents=fields.pop("documents", (document,) if document else ()),
        **fields,
    )
    return delivered(event, time_us=day * DAY_US, id=derived(event.correlation, event.example, str(event.disliked)))


def learning(
    objects: MemoryObjects | None = None,
    personal_data: Any = None,
    scanner: Any = None,
    guard: GuardPolicy | None = None,
    **policy: Any,
) -> dict[str, Any]:
    """Ports of the agents that make and curate examples, by agent."""
    chosen = LearnPolicy(**policy)
    finder = personal_data or MemoryPersonalData()
    making = ExamplePorts(
        objects=objects or MemoryObjects(),
        personal_data=finder,
        scanner=scanner or MemoryScanner(),
        language=lambda text: "en" if text else "",
        guard=guard or GuardPolicy(),
        policy=chosen,
    )
    return {"propose_example": making, "curate": LearnPorts(chosen)}


def of(kind: type[Event], events: list[Event]) -> list[Any]:
    """Those events that are of a kind."""
    return [event for event in events if isinstance(event, kind)]
