"""What the learning loop is given in a worker: a follower of sessions where an agent waits for it, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from agents.learn import conclude_feedback, measure_signals
from agents.learn.policy import LearnPolicy
from infra.learning import closing_sessions
from infra.rights import worker_rights
from millrace.agent import spec_of
from millrace.client import Millrace
from millrace.connection import Connection
from millrace.events.feedback import SessionDue
from millrace.events.query import QueryReceived
from millrace.reader import read
from millrace.topics import CATALOGUE, SESSION_DUE
from streams.embedded_broker import EmbeddedBroker
from tests.conditions import until


async def test_sessions_are_closed_where_the_agent_runs_that_waits_for_it(
    start_embedded: Callable[[], EmbeddedBroker],
) -> None:
    broker = start_embedded()
    for topic in CATALOGUE.values():
        broker.create_topic(topic.name, 1)
    connection = Connection(bootstrap=broker.bootstrap, profile="embedded")
    policy = LearnPolicy(session_gap_s=0.2, session_lateness_s=0.1)
    async with Millrace(connection) as millrace, AsyncExitStack() as services:
        await millrace.produce(QueryReceived(tenant="acme", conversation="c", question="Who approves travel?"))
        none = await closing_sessions(policy, [spec_of(measure_signals)], connection.aiokafka(), services)
        assert none == []
        specs = [spec_of(conclude_feedback)]
        [closer] = await closing_sessions(policy, specs, connection.aiokafka(), services, fetch_max_wait_ms=5)
        await until(lambda: bool(list(read(connection, [SESSION_DUE]))), timeout_s=60)
        assert closer.failure is None
    [due] = read(connection, [SESSION_DUE])
    assert isinstance(due, SessionDue)
    assert due.conversation == "c"


def test_a_worker_that_waits_for_sessions_may_say_that_they_are_over() -> None:
    def allowed(*agents: object) -> frozenset[str]:
        specs = [spec_of(each) for each in agents]  # type: ignore[arg-type]
        return worker_rights(specs, lambda _: "LearnPorts", lambda spec: f"{spec.name}-changelog", "g.").writes

    assert SESSION_DUE.name in allowed(conclude_feedback)
    assert SESSION_DUE.name not in allowed(measure_signals)
