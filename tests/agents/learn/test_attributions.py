"""A poor answer is searched for again only when something changed that a search looks at, and few are at once."""

import asyncio
import inspect
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from agents.learn import attribution, material, stages
from agents.learn.attribution import attribute_stage
from agents.learn.attributions import NOT_LOOKED_AT, Attributions, looked_at
from agents.learn.ports import AttributionPorts
from millrace.errors import Unavailable
from millrace.events.learn import QualityScored, StageAttributed
from tests.agents.learn.village import EXPECTED, scored, village
from tests.agents_in_memory import publish
from tests.builders import changed, granted
from tests.conditions import until
from tests.fakes import MemoryObjects, Stack

SAID: dict[str, Any] = {
    "revision": 7, "score": 0.05, "flags": ("disliked", "slow"), "feedback": {"down": 3, "comment": 1},
    "corrected_by": "bob", "n_dislikes": 2,
}  # fmt: skip
"""What a further thumb, comment or rating changes."""
SEEN: dict[str, Any] = {
    "expected": "oak paddles lift water", "rephrased": "What lifts water from the river?",
    "question": "What is the great wheel?", "asked": "Waht is the graet wheel?", "status": "not_found",
    "citations": (), "hits": (), "labels": {"unit": "mill"}, "groups": ("elders",), "user": "eva",
    "watermark": "5", "grounded": 0.5, "model": "other", "confidence": 0.9, "latency_ms": 7.0, "answer": "other",
    "tenant": "other", "conversation": "other", "correlation": "other",
}  # fmt: skip


class Turns(asyncio.Semaphore):
    """Counts who searches."""

    n_taken = 0

    async def acquire(self) -> Any:
        self.n_taken += 1
        return await super().acquire()


async def attributed(event: QualityScored, ports: AttributionPorts) -> StageAttributed:
    found = await attribute_stage(event, ports)
    assert isinstance(found, StageAttributed)
    return found


async def test_a_further_thumb_repeats_the_finding_and_searches_nothing() -> None:
    stack = await village()
    event, ports = await scored(stack, expected=EXPECTED, citations=()), stack.attribution
    first = await attributed(event, ports)
    assert first.document == "wheel.md"
    searched = len(stack.embedder.calls)
    again = await attributed(event.replace(**SAID), ports)
    assert len(stack.embedder.calls) == searched
    assert again == first.replace(revision=7)
    afresh = await attributed(event.replace(**SAID), stack.attribution)  # control: a process that does not know it
    assert len(stack.embedder.calls) > searched
    assert afresh == again, "what is repeated is what a search finds"


@pytest.mark.parametrize(
    "changes",
    [{name: SEEN[name]} for name in ("expected", "rephrased", "asked", "status", "citations", "hits", "labels")],
    ids=lambda changes: next(iter(changes)),
)
async def test_what_a_search_looks_at_leads_to_another_one(changes: dict[str, Any]) -> None:
    stack, turns = await village(), Turns(4)
    event, ports = await scored(stack), stack.attribution
    ports.attributions.turn = turns
    await attributed(event, ports)
    await attributed(event.replace(revision=3), ports)
    assert turns.n_taken == 1, "the control: nothing has changed"
    found = await attributed(event.replace(revision=4, **changes), ports)
    assert turns.n_taken == 2
    assert found == await attributed(event.replace(revision=4, **changes), stack.attribution)


def test_every_field_counts_but_those_that_no_rule_reads() -> None:
    event = QualityScored(tenant="acme", conversation="c", correlation="q", revision=1, score=0.1, poor=True)
    assert {*SEEN, *SAID, "poor"} == set(QualityScored.__struct_fields__), "a new field stands in one of both"
    assert {*SAID, "poor"} == NOT_LOOKED_AT
    for name, value in SAID.items():
        assert looked_at(event.replace(**{name: value})) == looked_at(event), name
    for name, value in SEEN.items():
        assert looked_at(event.replace(**{name: value})) != looked_at(event.replace(**{name: None})), name
    read = {name for module in (attribution, material, stages) for name in _fields_read(inspect.getsource(module))}
    assert read & NOT_LOOKED_AT == {"poor", "revision"}, "whether it is looked at at all, and what it is said of"
    assert {"expected", "hits", "citations", "watermark"} < read, "the control of the line above"


def _fields_read(source: str) -> set[str]:
    return set(re.findall(r"\bscored\.(\w+)", source)) & set(QualityScored.__struct_fields__)


async def test_what_is_not_visible_any_more_is_not_named_again() -> None:
    stack = await village()
    event, ports = await scored(stack, expected=EXPECTED, citations=()), stack.attribution
    assert (await attributed(event, ports)).document == "wheel.md"
    stack.fold([granted("elders", document="wheel.md", version=2)])
    assert (await attributed(event.replace(revision=3), ports)).document == ""


@pytest.mark.parametrize("watermark", ["gone", "", None], ids=["gone", "none", "control: as of then"])
async def test_what_was_found_as_of_now_is_not_kept(watermark: str | None) -> None:
    stack = await village()
    event, ports = await scored(stack, expected="lanterns burn in the cellar vault", citations=()), stack.attribution
    event = event if watermark is None else event.replace(watermark=watermark)
    assert (await attributed(event, ports)).rule == "correction_nowhere"
    await publish(stack, changed("Lanterns burn in the cellar vault.", document="vault.md", media_type="text/plain"))
    found = await attributed(event.replace(revision=3), ports)
    assert (found.rule == "correction_nowhere") == (watermark is None)


@dataclass
class Gated(MemoryObjects):
    """Objects that are read once the gate is open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    n_reading: int = 0
    is_down: bool = False

    async def get(self, ref: str) -> bytes:
        if self.is_down:
            raise Unavailable(f"object store cannot read {ref}")
        self.n_reading += 1
        await self.gate.wait()
        self.n_reading -= 1
        return await super().get(ref)


async def test_a_search_that_failed_is_made_again() -> None:
    stack = await village()
    event = await scored(stack, expected=EXPECTED, citations=())
    objects = Gated(stack.objects.objects, is_down=True)
    ports = msgspec.structs.replace(stack.attribution, objects=objects)
    with pytest.raises(Unavailable):
        await attribute_stage(event, ports)
    objects.is_down = False
    objects.gate.set()
    assert (await attributed(event, ports)).document == "wheel.md"


@pytest.mark.parametrize("at_once", [2, 5], ids=["bounded", "control: as many as there are"])
async def test_no_more_than_so_many_search_at_once(at_once: int) -> None:
    stack = Stack()
    await publish(stack, changed("The great wheel of the mill turns at dawn.", document="wheel.md"))
    event = await scored(stack)
    objects = Gated(stack.objects.objects)
    ports = msgspec.structs.replace(stack.attribution, objects=objects, attributions=Attributions(at_once=at_once))
    events = [event.replace(conversation=f"c{n}") for n in range(5)]
    found = [asyncio.ensure_future(attributed(each, ports)) for each in events]
    await until(lambda: objects.n_reading == at_once)
    for _ in range(50):  # whoever does not wait for a turn would have come this far
        await asyncio.sleep(0)
    assert objects.n_reading == at_once
    objects.gate.set()
    assert len(await asyncio.gather(*found)) == 5


async def test_those_not_asked_for_longest_are_forgotten() -> None:
    known = Attributions(most=2)
    events = [
        QualityScored(tenant="acme", conversation="c", correlation=name, revision=1, score=0.1, poor=True)
        for name in "abc"
    ]
    stage = StageAttributed(tenant="acme", conversation="c", correlation="a", revision=1, stage="corpus", rule="r")
    for event in events[:2]:
        known.keep(event, stage)
    assert known.of(events[0]) == stage
    known.keep(events[2], stage)
    assert [known.of(event) is not None for event in events] == [True, False, True]
    assert len(known) == 2
