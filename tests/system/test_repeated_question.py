"""A question that is read twice in a row is worked on once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.worker import load_agents
from millrace.event import Meta
from millrace.events.query import QueryReceived
from millrace.topics import ANSWER_PRODUCED, QUERY_ADMITTED, QUERY_RECEIVED, REPLY
from tests.conditions import until
from tests.system.stacks import System, embedded_system

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A stack without workers: the test runs one inside."""
    home: Path = tmp_path_factory.mktemp("repeated") / "home"
    with embedded_system(home) as found:
        yield found


async def test_a_repeated_question_finds_its_end_before_the_tail_has_read_it(system: System, tenant: str) -> None:
    question = QueryReceived(tenant=tenant, conversation="talk", question="Who has the key?").with_meta(
        Meta(
            id=f"question-{tenant}", type=QueryReceived.type_name(), source="test", time_us=1, tenant=tenant,
            correlation_id=f"correlation-{tenant}", reply_to=REPLY.name, reply_partition=0,
            deadline_ms=time.time_ns() // 1_000_000 + 60_000,
        )
    )  # fmt: skip
    async with system.inside(load_agents(["agents.query"])) as inside, system.client(tenant=tenant) as millrace:
        answers = inside.composition.answers
        assert answers is not None
        await answers.stop()  # from here on the worker knows what it wrote itself, and nothing else
        for _ in range(2):
            await millrace.produce(question)
        (pump,) = inside.worker.pumps
        await until(lambda: pump.counters.consumed == 2 and pump.lag == 0 and pump.in_flight == 0)
    of_tenant = {
        topic: [event for event in system.events(topic) if event.tenant == tenant]
        for topic in (QUERY_RECEIVED, QUERY_ADMITTED, ANSWER_PRODUCED, REPLY)
    }
    assert [len(of_tenant[topic]) for topic in of_tenant] == [2, 1, 1, 2]
