"""A question that nobody waits for any more costs no more work, from the client to the stage that is at it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from agents.ports import QueryPorts
from agents.query.read import read
from infra.worker import load_agents
from millrace.agent import AgentSpec, Outputs
from millrace.client import Millrace
from millrace.event import E, Meta
from millrace.events.query import (
    AnswerCompleted,
    AnswerFailed,
    AnswerProduced,
    ContextRetrieved,
    QueryCancelled,
    QueryReceived,
    Receipt,
)
from millrace.topics import ANSWER_PRODUCED, QUERY_ADMITTED, QUERY_RECEIVED, REPLY, Topic
from streams.pump import Pump
from tests.conditions import until
from tests.system.stacks import AGENTS, Inside, System, embedded_system, replaced_stage

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A stack of this module's own on each broker, without workers: tests run them inside."""
    options: dict[str, Any] = {}
    if request.param == "kafka":
        request.getfixturevalue("kafka_installed")
        options = {"profile": "kafka", "worker": {"count": 0, "commit_interval_ms": 100}}
    with embedded_system(tmp_path_factory.mktemp("cancellation") / "home", **options) as found:
        yield found


@dataclass
class SlowReader:
    """Reads the answers of one tenant only once its gate is open, and notes who was sent away from it."""

    tenant: str
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: set[str] = field(default_factory=set)
    sent_away: set[str] = field(default_factory=set)

    def agents(self) -> list[AgentSpec]:
        """All agents, with the gate before the real reader."""

        async def slow(context: ContextRetrieved, ports: QueryPorts) -> Outputs:
            if context.tenant == self.tenant:
                await self._pass(context.meta.correlation_id)
            return await read(context, ports)

        return replaced_stage(load_agents(AGENTS), "read", slow)

    async def _pass(self, correlation: str) -> None:
        self.waiting.add(correlation)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.sent_away.add(correlation)
            raise
        finally:
            self.waiting.discard(correlation)


@dataclass(frozen=True)
class Bench:
    """A client, a worker with a slow reader, and what they left on the log."""

    system: System
    inside: Inside
    reader: SlowReader
    millrace: Millrace

    @property
    def tenant(self) -> str:
        return self.reader.tenant

    @property
    def pump(self) -> Pump:
        return next(pump for pump in self.inside.worker.pumps if pump.spec.name == "answer_question")

    def ended(self, correlation: str, tenant: str = "") -> AnswerProduced | None:
        """Terminal record of a question, as the worker knows it."""
        assert self.inside.composition.answers is not None
        return self.inside.composition.answers.find(tenant or self.tenant, correlation)

    async def known(self, cancelled: QueryCancelled) -> None:
        """Wait until the worker knows a cancellation."""
        assert self.inside.composition.cancellations is not None
        await asyncio.wait_for(self.inside.composition.cancellations.watch(cancelled.tenant, cancelled.correlation), 20)

    async def all_done(self) -> None:
        """Wait until every question is acknowledged."""
        await until(lambda: self.pump.lag == 0 and self.pump.in_flight == 0)

    def of_tenant(self, topic: Topic) -> list[Any]:
        return [event for event in self.system.events(topic) if event.tenant == self.tenant]

    def dead_letters(self) -> list[Any]:
        head = f"t/{self.tenant}/".encode()
        return [
            each for each in self.system.records([QUERY_RECEIVED.dead_letters]) if (each.key or b"").startswith(head)
        ]


@asynccontextmanager
async def bench(system: System) -> AsyncIterator[Bench]:
    reader = SlowReader(f"tenant-{secrets.token_hex(6)}")
    async with (
        system.inside(reader.agents()) as inside,
        system.client(tenant=reader.tenant) as millrace,
    ):
        yield Bench(system, inside, reader, millrace)


def question(tenant: str, correlation: str) -> QueryReceived:
    """A question as a client of someone else's writes it."""
    return _with_meta(
        QueryReceived(tenant=tenant, conversation="talk", question="Who has the key?"), correlation,
        deadline_ms=time.time_ns() // 1_000_000 + 60_000, reply_to=REPLY.name, reply_partition=0,
    )  # fmt: skip


def cancellation(tenant: str, correlation: str) -> QueryCancelled:
    return _with_meta(QueryCancelled(tenant=tenant, conversation="talk", correlation=correlation), correlation)


def _with_meta(event: E, correlation: str, **fields: Any) -> E:
    kind = type(event).type_name()
    meta = Meta(
        id=f"{kind}-{correlation}", type=kind, source="test", time_us=1, tenant=event.tenant,
        correlation_id=correlation, **fields,
    )  # fmt: skip
    return event.with_meta(meta)


def of(events: list[Any], correlation: str) -> list[Any]:
    return [event for event in events if event.correlation == correlation]


async def test_the_stage_at_work_is_stopped_and_the_question_ends_once(system: System) -> None:
    async with bench(system) as at:
        asking = asyncio.create_task(at.millrace.ask("Who has the key?", timeout_s=60))
        await until(lambda: len(at.reader.waiting) == 1)
        (correlation,) = at.reader.waiting
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: at.reader.sent_away == {correlation})
        await until(lambda: at.ended(correlation) is not None)
        await at.all_done()
        assert at.pump.counters.errors["cancelled", "read"] == 1
    (record,) = at.of_tenant(ANSWER_PRODUCED)
    (frame,) = of(at.of_tenant(REPLY), correlation)
    assert (record.correlation, record.status, record.error_type) == (correlation, "failed", "cancelled")
    assert isinstance(frame, AnswerFailed)
    assert frame.error_type == "cancelled"
    assert at.dead_letters() == []


async def test_a_hundred_cancelled_questions_leave_nothing_in_the_client_or_the_worker(system: System) -> None:
    async with bench(system) as at:
        cancellations = at.inside.composition.cancellations
        assert cancellations is not None
        at.reader.gate.set()
        await at.millrace.ask("first of all", timeout_s=60)
        at.reader.gate.clear()
        tasks_before = len(asyncio.all_tasks())
        asking = [asyncio.create_task(at.millrace.ask(f"q{n}", timeout_s=60)) for n in range(100)]
        await until(lambda: at.pump.counters.consumed >= 101 and len(at.reader.waiting) == at.pump.in_flight > 1)
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)
        assert at.millrace.pending_questions == 0
        await at.all_done()
        await until(lambda: not at.reader.waiting and cancellations.n_watched == 0)
        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
        assert len(cancellations) >= 100
    records = [record for record in at.of_tenant(ANSWER_PRODUCED) if record.error_type]
    assert len({record.correlation for record in records}) == len(records) == 100
    assert {(record.status, record.error_type) for record in records} == {("failed", "cancelled")}
    assert at.dead_letters() == []


async def test_a_question_that_waits_for_a_change_can_be_cancelled(system: System) -> None:
    async with bench(system) as at:
        never = Receipt(at.tenant, "never-written", 1)
        asking = asyncio.create_task(at.millrace.ask("Who has the key?", after=never, timeout_s=60))
        await until(lambda: len(at.pump.parking) == 1)
        asking.cancel()
        await until(lambda: len(at.pump.parking) == 0)
        await at.all_done()
    (record,) = at.of_tenant(ANSWER_PRODUCED)
    assert record.error_type == "cancelled"
    assert at.of_tenant(QUERY_ADMITTED) == []


async def test_a_cancellation_that_comes_before_its_question_holds(system: System) -> None:
    tenant, correlation = f"tenant-{secrets.token_hex(6)}", secrets.token_hex(16)
    async with system.client(tenant=tenant) as millrace:
        await millrace.produce(cancellation(tenant, correlation))
        await millrace.produce(question(tenant, correlation))
    async with bench(system) as at:
        await until(lambda: at.ended(correlation, tenant) is not None)
        await at.all_done()
    (record,) = of(system.events(ANSWER_PRODUCED), correlation)
    assert record.error_type == "cancelled"
    assert [event for event in system.events(QUERY_ADMITTED) if event.tenant == tenant] == []


async def test_another_tenant_cannot_cancel_and_the_end_of_a_question_stays(system: System) -> None:
    async with bench(system) as at:
        correlation = secrets.token_hex(16)
        asked = question(at.tenant, correlation)
        await at.millrace.produce(asked)
        await until(lambda: correlation in at.reader.waiting)
        foreign = cancellation("stranger", correlation)
        await at.millrace.produce(foreign)
        await at.known(foreign)
        at.reader.gate.set()
        await until(lambda: at.ended(correlation) is not None)
        late = cancellation(at.tenant, correlation)
        await at.millrace.produce(late)
        await at.known(late)
        await at.millrace.produce(asked)  # a redelivery
        await at.all_done()
        await until(lambda: at.pump.counters.consumed >= 2)
        await at.all_done()
    (record,) = of(system.events(ANSWER_PRODUCED), correlation)
    assert (record.status, record.error_type) == ("not_found", "")
    frames = of(system.events(REPLY), correlation)
    assert [type(frame) for frame in frames] == [AnswerCompleted, AnswerCompleted]
    assert at.reader.sent_away == set()
