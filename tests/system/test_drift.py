"""Answers on a broker lead to one request for training, though workers are killed and records come twice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from agents.learn.drift import DriftState, detect_drift
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from millrace.agent import spec_of
from millrace.connection import find_connection
from millrace.event import Event
from millrace.events.learn import SignalsMeasured, TrainingRequested
from millrace.events.query import AnswerProduced, Hit
from millrace.invoke import Invoker
from millrace.reader import read
from millrace.topics import (
    ANSWER_PRODUCED,
    DRIFT_DETECTED,
    DRIFT_SCORED,
    SIGNALS_MEASURED,
    TRAINING_REQUESTED,
    Topic,
)
from tests.faults.harness import FaultStack, embedded_stack
from tests.faults.log_access import Outgoing, root, until
from tests.faults.worker import Worker

TENANTS = ("acme", "quiet")
N, SHIFT = 400, 240
AGENTS = ("agents.learn.signals", "agents.learn.drift")
GROUPS = {
    "millrace.measure_signals": (ANSWER_PRODUCED.name,),
    "millrace.tables-detect_drift": (SIGNALS_MEASURED.name,),
}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[FaultStack]:
    with embedded_stack(tmp_path / "home") as found:
        yield found


def start(stack: FaultStack) -> Worker:
    """A worker whose session outlives that it gets little of a busy machine."""
    return stack.start(agents=AGENTS, worker__session_timeout_ms="6000", worker__heartbeat_interval_ms="1000")


def answers() -> Iterator[Outgoing]:
    """Answers of two tenants, in conversations of their own; the best scores of the first one fall at a place."""
    rng = random.Random(4)
    for i in range(N):
        for tenant in TENANTS:
            best = rng.gauss(12 if tenant == "acme" and i >= SHIFT else 24, 5)
            fall = 0.08 if tenant == "acme" and i >= SHIFT else 0.17
            hits = tuple(
                Hit(chunk_id=f"c{n}", document="d", version=1, rank=n + 1, score=1.0, dense=0.5,
                    lexical=max(best, 1.0) * (1 - fall * n))
                for n in range(5)
            )  # fmt: skip
            answer = AnswerProduced(
                tenant=tenant, conversation=f"c{i % 40}", correlation=f"{tenant}-{i}", status="answered", hits=hits,
                confidence=rng.gauss(0.95, 0.15),
            )  # fmt: skip
            yield root(answer, ANSWER_PRODUCED, f"{tenant}-{i}")


def events(stack: FaultStack, topic: Topic) -> list[Event]:
    """Events of a topic, in the order of each partition; of an id the first."""
    found: dict[str, Event] = {}
    for event in read(find_connection(home=stack.home), [topic]):
        found.setdefault(event.meta.id, event)
    return list(found.values())


def measured_at_least(stack: FaultStack, n: int) -> bool:
    return len(events(stack, SIGNALS_MEASURED)) >= n


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_change_is_requested_for_once_though_workers_are_killed_and_answers_come_twice(
    stack: FaultStack,
) -> None:
    records = list(answers())
    rng = random.Random(8)
    feeder = stack.feeder()
    worker = start(stack)
    for at in range(0, len(records), 400):
        batch = records[at : at + 400]
        for record in batch:
            for _ in range(rng.choice([1, 1, 1, 2])):
                feeder.send(record)
        feeder.flush()
        until(partial(measured_at_least, stack, at + 100), 60, stack.logs)
        worker.kill()
        worker = start(stack)
    stack.drained(GROUPS)

    measured = [event for event in events(stack, SIGNALS_MEASURED) if isinstance(event, SignalsMeasured)]
    assert len({event.meta.causation_id for event in measured}) == len(records) < len(measured)
    requested = events(stack, TRAINING_REQUESTED)
    assert [event.tenant for event in requested] == ["acme"]
    (request,) = requested
    assert isinstance(request, TrainingRequested)
    detected = events(stack, DRIFT_DETECTED)
    assert request.cause in {event.meta.id for event in detected}
    assert {event.tenant for event in detected} == {"acme"}
    expected = await folded(measured)
    assert sorted(event.meta.id for event in (*detected, *events(stack, DRIFT_SCORED), request)) == sorted(expected)


async def folded(measured: list[SignalsMeasured]) -> list[str]:
    """Ids of what the agent says of the records in the order of the log, each read once, by one that is not killed."""
    invoker, states, said = Invoker(spec_of(detect_drift)), dict[str, DriftState](), list[str]()
    for event in measured:
        before = states.get(event.tenant, DriftState())
        after, outputs = await invoker.step(before, event, LearnPorts(LearnPolicy()))
        assert isinstance(after, DriftState)
        states[event.tenant] = msgspec.msgpack.decode(msgspec.msgpack.encode(after), type=DriftState)
        said += [output.event.meta.id for output in outputs]
    assert sum(state.n_records for state in states.values()) == N * len(TENANTS)
    return said
