"""A few documents, and answers about them that somebody disliked."""

from typing import Any

from agents.query.policy import QueryPolicy
from millrace.events.learn import QualityScored
from millrace.events.query import AnswerProduced, ContextRetrieved, QueryReceived
from tests.agents_in_memory import ask, publish
from tests.builders import TENANT, asked, changed, only, with_meta
from tests.fakes import Stack

TEXTS = {
    "wheel.md": "The great wheel of the mill turns at dawn. Its oak paddles lift water from the river.",
    "baker.md": "The baker sells rye bread on market day. Loaves are stamped with a sheaf.",
    "ferry.md": "A ferry crosses the lake at noon. Tickets for the ferry cost four coins.",
    "tower.md": "The bell tower was raised in granite. Its bell rings for fires and floods.",
    "school.md": "Children learn letters in the school house. Lessons end when the bell rings.",
}
QUESTION = "When does the great wheel of the mill turn?"
EXPECTED = "turns at dawn"


async def village(**fields: Any) -> Stack:
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.2), **fields)
    for name, text in TEXTS.items():
        await publish(stack, changed(text, document=name, media_type="text/plain"))
    return stack


async def scored(stack: Stack, question: str = QUESTION, **changes: Any) -> QualityScored:
    """A disliked answer as the path gives it, with changes."""
    received: QueryReceived = asked(question, **({"labels": changes["labels"]} if "labels" in changes else {}))
    log = await ask(stack, received)
    context, produced = only(log, ContextRetrieved), only(log, AnswerProduced)
    fields: dict[str, Any] = {
        "score": 0.1, "status": produced.status, "question": context.question, "asked": question,
        "answer": produced.text, "citations": produced.citations, "hits": context.hits,
        "watermark": context.watermark, "groups": context.groups,
    } | changes  # fmt: skip
    event = QualityScored(
        tenant=TENANT, conversation="c", correlation=produced.correlation, revision=2, poor=True, **fields
    )
    return with_meta(event)
