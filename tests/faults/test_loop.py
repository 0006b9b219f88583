"""The learning loop on a broker: its topics read again from offset 0 by the workers that wrote its tables (A8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import TopicPartition

from agents.learn.signals import FEEDBACK
from millrace.connection import find_connection
from millrace.event import Event
from millrace.events.feedback import SessionDue
from millrace.events.learn import SignalsMeasured
from millrace.reader import read
from millrace.topics import (
    ANSWER_PRODUCED,
    CATALOGUE,
    CONTEXT_RETRIEVED,
    DRIFT_DETECTED,
    DRIFT_SCORED,
    FEEDBACK_GIVEN,
    INTERACTION_OBSERVED,
    QUALITY_SCORED,
    QUERY_RECEIVED,
    REVIEW_ITEM_OPENED,
    SESSION_DUE,
    SIGNALS_MEASURED,
    TRAINING_REQUESTED,
)
from tests.agents.learn.living import Written, lively, seen
from tests.faults.harness import FaultStack
from tests.faults.log_access import Outgoing, ends, lag
from tests.faults.report import FaultRow
from tests.faults.workload import scaled

AGENTS: Final = ("agents.learn.signals", "agents.learn.drift", "agents.learn.quality", "agents.learn.sessions")
DRIFT: Final = "millrace.tables-detect_drift"
TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "millrace.tables-score_quality": (
        QUERY_RECEIVED.name, CONTEXT_RETRIEVED.name, ANSWER_PRODUCED.name, FEEDBACK_GIVEN.name,
    ),
    "millrace.tables-conclude_feedback": (
        QUERY_RECEIVED.name, ANSWER_PRODUCED.name, INTERACTION_OBSERVED.name, FEEDBACK_GIVEN.name, SESSION_DUE.name,
    ),
    DRIFT: (SIGNALS_MEASURED.name,),
}  # fmt: skip
PUMPS: Final[Mapping[str, tuple[str, ...]]] = {"millrace.measure_signals": (ANSWER_PRODUCED.name,)}
GROUPS: Final = {**TABLES, **PUMPS}
SAID: Final = (
    QUALITY_SCORED, REVIEW_ITEM_OPENED, DRIFT_SCORED, DRIFT_DETECTED, TRAINING_REQUESTED, SIGNALS_MEASURED,
    FEEDBACK_GIVEN,
)  # fmt: skip
_TOPICS: Final = sorted({topic for names in GROUPS.values() for topic in names})
_OVER_US: Final = 1_800_000_000_000_000
Note = Callable[[FaultRow], None]


class _FaustsOwn(RangePartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """By the name of Faust's: the embedded broker keeps a group to the one that it began with."""

    name = "faust"


def test_the_loop_replayed_from_the_beginning_changes_nothing_and_counts_nothing_twice(
    stack: FaultStack, tag: str, fault_row: Note
) -> None:
    """A8, twice."""
    n = scaled(1_000, 120)
    before, *replayed = _replayed(stack, tag, n, times=2)
    outcome = seen(before)
    assert len(outcome["quality"]) == n
    assert all(outcome[what] for what in ("windows", "items", "feedback"))
    for again in replayed:
        assert seen(again) == outcome
        assert _ids(again) == _ids(before)
    letters = sum(ends(stack.bootstrap, [f"{topic}.dlq" for topic in _TOPICS]).values())
    fault_row(FaultRow("A8 replay of the loop from offset 0, twice", stack.kind, dead_letters=letters))


def test_tables_that_do_not_know_what_they_applied_count_it_twice(stack: FaultStack, tag: str) -> None:
    """Control of A8."""
    before, again = _replayed(stack, tag, 120, times=1, without="applied")
    assert seen(again)["windows"] != seen(before)["windows"]


def _replayed(stack: FaultStack, tag: str, n: int, *, times: int, without: str = "") -> Iterator[list[Event]]:
    """What agents have said of `n` questions: when they were asked, and after each replay."""
    beginning = _beginning(stack)
    _start(stack, f"loop-{tag}", without)
    _live(stack, tag, n)
    yield _said(stack, tag)
    for _ in range(times):
        _rewind(stack, beginning)
        _start(stack, f"loop-{tag}", without)
        stack.drained(GROUPS)
        stack.end_workers()
        yield _said(stack, tag)


def _beginning(stack: FaultStack) -> Mapping[tuple[str, int], int]:
    return ends(stack.bootstrap, _TOPICS)


def _live(stack: FaultStack, tag: str, n: int) -> None:
    """Let the running workers read what people ask, and say; then that every session is over; and end them."""
    log, over = lively(n, tenant=tag), Written(tag)
    for conversation in sorted({str(getattr(event, "conversation", "")) for event in log}):
        over.add(SessionDue(tenant=tag, conversation=conversation, until_us=_OVER_US), conversation)
    for events in (log, over.events):  # what comes after the end of its session would be late
        _feed(stack, events)
        stack.drained(GROUPS)
    stack.end_workers()


def _start(stack: FaultStack, name: str, without: str) -> None:
    """A worker that leaves it to the test to say when a session is over."""
    stack.start(
        name, agents=AGENTS, without=without, learn='{"session_lateness_s": 86400.0}',
        worker__session_timeout_ms="6000", worker__heartbeat_interval_ms="1000",
    )  # fmt: skip


def _feed(stack: FaultStack, events: list[Event]) -> None:
    feeder = stack.feeder()
    for event in events:
        topic = next(topic for topic in CATALOGUE.values() if type(event) in topic.events)
        record = stack.codec.record(topic, event)
        feeder.send(Outgoing(record.topic, record.key, record.value, record.headers))
    feeder.flush()


def _said(stack: FaultStack, tenant: str) -> list[Event]:
    """What agents have written of a tenant, in the order of each partition."""
    found = read(find_connection(home=stack.home), SAID)
    return [each for each in found if each.tenant == tenant and each.meta.causation_id]


def _ids(events: list[Event]) -> list[str]:
    """Each record of what tables say: what is measured of an answer is said again, under the same id."""
    return sorted(each.meta.id for each in events if not isinstance(each, SignalsMeasured) or FEEDBACK in each.values)


def _rewind(stack: FaultStack, beginning: Mapping[tuple[str, int], int]) -> None:
    """Put all groups, which have no members, back to where they began."""
    for group, topics in GROUPS.items():
        places = {place: offset for place, offset in beginning.items() if place[0] in topics}
        assignor = _FaustsOwn if group in TABLES else RangePartitionAssignor
        asyncio.run(_commit(stack.bootstrap, group, places, assignor))
    behind = {(group, topic) for group, topic, _ in lag(stack.bootstrap, GROUPS)}
    assert behind >= {(group, ANSWER_PRODUCED.name) for group in GROUPS if group != DRIFT}
    assert (DRIFT, SIGNALS_MEASURED.name) in behind


async def _commit(
    bootstrap: str,
    group: str,
    offsets: Mapping[tuple[str, int], int],
    assignor: type[RangePartitionAssignor],
) -> None:
    """Set the committed offsets of a group, as one of its members."""
    consumer = AIOKafkaConsumer(
        *sorted({topic for topic, _ in offsets}), bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False,
        partition_assignment_strategy=(assignor,),
    )  # fmt: skip
    await asyncio.wait_for(consumer.start(), 120)
    try:
        await consumer.commit({TopicPartition(*place): offset for place, offset in offsets.items()})
    finally:
        await consumer.stop()
