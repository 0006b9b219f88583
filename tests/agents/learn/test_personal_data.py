"""E6 for the loop: personal data with a structure, and secrets, stay in the question topics and go nowhere from there.

Questions, answers, feedback and the quality of answers carry text as it was written, for 30 days. Whatever else the
loop writes (examples, review items, drift, training) is kept for longer, and holds none of it.
"""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agents.learn import attribute_stage, propose_example
from inference.personal_data import PersonalDataFinder
from infra.redaction import Redaction, personal_data
from millrace.agent import spec_of
from millrace.codec import Codec
from millrace.errors import MillraceError
from millrace.event import Event
from millrace.invoke import Invoker, Progress
from millrace.published import mask_with
from millrace.reader import RawRecord
from millrace.telemetry.invoking import TracedInvoker
from millrace.testing import Memory
from millrace.topics import (
    CATALOGUE,
    CONTEXT_RETRIEVED,
    FEEDBACK_GIVEN,
    QUALITY_SCORED,
    QUERY_RECEIVED,
    STAGE_ATTRIBUTED,
)
from streams.dead_letters import letter_of
from tests.agents.learn.living import LOOP, Written, loop, read
from tests.fakes import MemoryObjects
from tests.guard_fakes import MemoryPersonalData
from tests.learned import corrected, hit, learning
from tests.personal_values import KINDS, core
from tests.spans import traced

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WRITTEN = {topic.name for agent in LOOP for topic in spec_of(agent).sinks} - {FEEDBACK_GIVEN.name, QUALITY_SCORED.name}
"""Topics of the loop that are kept for longer than what people said."""


def values(n_each: int, seed: int = 11) -> list[str]:
    rng = random.Random(seed)
    return [make(rng) for _ in range(n_each) for make in KINDS]


def filled(drawn: list[str]) -> Written:
    """A log in which each value stands in a question, an answer, its heading, a correction and a comment."""
    log = Written()
    for n, value in enumerate(drawn):
        name, conversation = f"q{n}", f"c{n}"
        text = f"The handbook names this person under: {value} ok"
        log.ask(name, conversation, "ann", f"How do I reach the person of case {n}: {value} ok?", text,
                best=24.0 if n < len(drawn) // 2 else 8.0)  # fmt: skip
        log.say("comment", name, conversation, "ann", text=f"that was mine: {value} ok")
        if n % 2:
            log.say("correction", name, conversation, "ann", text=f"No, for case {n} it is this one: {value} ok")
        else:
            log.say("up", name, conversation, "ann")
    return log


async def lived(drawn: list[str], finder: Any) -> tuple[Memory, MemoryObjects]:
    objects = MemoryObjects()
    memory = loop(objects, personal_data=finder)
    await read(memory, filled(drawn).events)
    assert not memory.dead_letters
    return memory, objects


def text_of(memory: Memory, topic: str) -> str:
    """All that stands in the records of a topic, keys and headers included."""
    codec = Codec()
    found = [codec.record(CATALOGUE[topic], event) for event in memory.topics.get(topic, ())]
    written = b"\n".join(part for each in found for part in (each.value or b"", repr(each.headers).encode()))
    return written.decode("utf-8", "replace")


def leaked(drawn: list[str], text: str) -> list[str]:
    return [value for value in drawn if core(value) in text]


async def test_what_is_kept_for_long_holds_no_value_of_any_kind() -> None:
    drawn = values(24)
    memory, objects = await lived(drawn, PersonalDataFinder())
    assert len(drawn) == 168
    for topic in WRITTEN:
        assert leaked(drawn, text_of(memory, topic)) == [], topic
    assert len(memory.topics["review.item.opened.v1"]) > 60
    assert memory.topics["learn.drift.detected.v1"]
    assert len(memory.topics["learn.example.proposed.v1"]) > 100
    kept = b"\n".join(objects.objects.values()).decode().replace("\\n", "\n")
    assert leaked(drawn, kept) == []


async def test_without_masking_examples_would_hold_them_all() -> None:
    """Control; and that the search finds them where they may be."""
    drawn = values(3)
    memory, objects = await lived(drawn, MemoryPersonalData({}))
    kept = b"\n".join(objects.objects.values()).decode().replace("\\n", "\n")
    assert len(leaked(drawn, kept)) == len(drawn)
    assert len(leaked(drawn, text_of(memory, QUALITY_SCORED.name))) == len(drawn)
    assert len(leaked(drawn, text_of(memory, FEEDBACK_GIVEN.name))) == len(drawn)


def test_what_carries_text_is_kept_no_longer_than_the_questions() -> None:
    assert QUALITY_SCORED.retention_ms == FEEDBACK_GIVEN.retention_ms == QUERY_RECEIVED.retention_ms
    assert CONTEXT_RETRIEVED.retention_ms == QUERY_RECEIVED.retention_ms
    assert spec_of(attribute_stage).sinks == (STAGE_ATTRIBUTED,)


@pytest.mark.parametrize("value", values(1), ids=lambda value: value[:4])
async def test_an_example_that_is_rejected_for_the_name_of_its_document_does_not_name_it(value: str) -> None:
    document = f"people/{value}/leave.md"
    event = corrected(text="It is eighteen weeks.", hits=(), citations=(), labels={"of": f"person {value} ok"})
    named = corrected(2, text="It is eighteen weeks.", citations=(), hits=(hit(document),))
    memory = Memory([spec_of(propose_example)], ports=learning(personal_data=PersonalDataFinder()))
    found = await memory.feed([event, named])
    assert [each.reason for each in found if hasattr(each, "reason")]
    text = text_of(memory, "learn.example.curated.v1")
    assert leaked([value], text) == []


# --- what goes wrong, and what is traced ------------------------------------------------------------------------------


def refusal(value: str) -> MillraceError:
    """What reading feedback of a kind that there is not ends with: it quotes what it found."""
    codec = Codec()
    given = next(event for event in filled([value]).events if type(event).__name__ == "FeedbackGiven")
    record = codec.record(FEEDBACK_GIVEN, given)
    body = record.value or b""
    foreign = body.replace(b"\x0ecomment", bytes([2 * len(value.encode())]) + value.encode())
    assert foreign != body
    with pytest.raises(MillraceError) as raised:
        codec.read(FEEDBACK_GIVEN, record.key, foreign, record.headers, None)  # type: ignore[arg-type]  # has no place
    return raised.value


SHORT = [value for value in values(6, seed=5) if len(value.encode()) < 60]


def message(error: MillraceError) -> str:
    record = RawRecord(FEEDBACK_GIVEN.name, 0, 1, 0, b"t/acme/c/c", b"x", [])
    letter = letter_of(record, error, agent="score_quality")
    return "\n".join(text.decode() for name, text in letter.headers if name.startswith("mr-error-"))


def test_dead_letters_of_the_loop_say_why_and_quote_nobody() -> None:
    errors = [refusal(value) for value in SHORT]
    forget = mask_with(Redaction(personal=personal_data()))
    try:
        messages = [message(error) for error in errors]
    finally:
        forget()
    assert [value for value, text in zip(SHORT, messages, strict=True) if core(value) in text] == []
    assert all("FeedbackGiven" in text for text in messages)


def test_without_the_mask_they_would_quote() -> None:
    """Control."""
    assert any(core(value) in message(refusal(value)) for value in SHORT)


async def test_spans_of_the_loop_hold_no_text() -> None:
    drawn = values(4)
    plain = loop(personal_data=PersonalDataFinder())
    await read(plain, filled(drawn).events)
    with traced() as (tracing, ended):
        for agent in LOOP:
            spec = spec_of(agent)
            invoker = TracedInvoker(spec, tracing.tracer)
            events = [event for topic in spec.sources for event in plain.topics.get(topic.name, ())]
            await _run(invoker, [_sampled(event) for event in events], plain._ports_of(spec))
        spans = ended()
    assert {span.name for span in spans} >= {
        spec_of(agent).name for agent in LOOP if agent.__name__ != "take_correction"
    }
    text = "\n".join(span.text for span in spans)
    assert leaked(drawn, text) == []


async def _run(invoker: Invoker, events: list[Event], ports: Any) -> None:
    async def emit(*_: Any) -> None:
        """Nobody reads it."""

    state = invoker.spec.state() if invoker.spec.state is not None else None
    for event in events:
        if state is not None:
            state, _ = await invoker.step(state, event, ports)
        else:
            await invoker.run(event, ports, emit, Progress())


def _sampled(event: Event) -> Event:
    return event.with_meta(msgspec.structs.replace(event.meta, traceparent=SAMPLED))
