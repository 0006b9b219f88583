"""A8: the log that the loop reads, read again from offset 0, changes nothing of what the loop has said."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from millrace.agent import AgentSpec
from millrace.event import Event
from millrace.events.learn import QualityScored
from millrace.testing import delivered
from tests.agents.learn.living import SPECS, firsts, lively, loop, read, seen
from tests.fakes import MemoryObjects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

N = 320


@pytest.fixture(scope="module")
def log() -> list[Event]:
    return lively(N)


@pytest.fixture(scope="module")
def topics(log: list[Event]) -> dict[str, list[Event]]:
    """All records of all topics, once the loop has read the log."""
    memory = loop()
    asyncio.run(read(memory, log))
    return {name: firsts(found) for name, found in memory.topics.items()}


async def test_read_twice_more_by_agents_that_live_on_it_changes_nothing(log: list[Event]) -> None:
    objects = MemoryObjects()
    memory = loop(objects)
    emitted = await read(memory, log)
    before, kept = seen(emitted), dict(objects.objects)
    _is_lively(before)
    for _ in range(2):
        emitted += await read(memory, log)
        assert seen(emitted) == before
    assert objects.objects == kept
    assert not memory.dead_letters


async def test_read_by_agents_without_a_state_it_says_the_same_again(log: list[Event]) -> None:
    first, second = MemoryObjects(), MemoryObjects()
    assert seen(await read(loop(second), log)) == seen(await read(loop(first), log))
    assert second.objects == first.objects


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
async def test_each_agent_rebuilt_alone_from_its_own_topics_says_what_it_had_said(
    spec: AgentSpec, log: list[Event], topics: dict[str, list[Event]]
) -> None:
    sources = [event for topic in spec.sources for event in topics.get(topic.name, ())]
    if spec.name == "conclude_feedback":
        sources = [event for event in log if any(type(event) in topic.events for topic in spec.sources)]
    said = [event for topic in spec.sinks for event in topics.get(topic.name, ())]
    again = seen(await read(loop(specs=[spec]), sources))
    assert any(again.values()) or spec.name in {"measure_signals", "propose_example"}
    for what, found in seen(said).items():
        if what == "quality":  # topics are read one after the other: fewer revisions, the same last one
            assert _last(again[what]) == _last(found)
        elif again[what]:
            assert again[what] == {name: found[name] for name in again[what]} if isinstance(found, dict) else found


async def test_a_proposal_that_was_forgotten_is_decided_again_and_its_first_outcome_counts(log: list[Event]) -> None:
    """However long the log: what is remembered of proposals is bounded."""
    memory = loop(example_window=5, example_user_cap=2)
    emitted = await read(memory, log)
    before = seen(emitted)
    memory._states = dict.fromkeys(memory._states, b"")
    emitted += await read(memory, log[len(log) // 2 :])
    assert seen(emitted)["examples"] == before["examples"]


async def test_records_under_other_names_and_places_are_others(log: list[Event]) -> None:
    """Control: it is by names and places that records are known."""
    memory = loop()
    emitted = await read(memory, log)
    before = seen(emitted)
    others = [
        delivered(each, id=f"again {each.meta.id}", correlation_id=each.meta.correlation_id, time_us=each.meta.time_us)
        for each in log
    ]
    emitted += await read(memory, others)
    after = seen(emitted)
    assert len(after["windows"]) > len(before["windows"])


def _last(quality: dict[str, QualityScored]) -> dict[str, QualityScored]:
    return {name: each.replace(revision=0) for name, each in quality.items()}


def _is_lively(found: dict[str, Any]) -> None:
    """The log makes the loop say all that it can say."""
    assert len(found["quality"]) == N
    assert len(found["training"]) == 1
    assert len(found["examples"]) > 60
    assert {reason for _, reason in found["rejected"]}
    assert len(found["items"]) > 20
    assert all(found.values())
