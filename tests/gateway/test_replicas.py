"""D2 and D3 on real processes: a replica is killed with streams open, or all its callers leave at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import httpx
import pytest

from infra.launch.gateways import gateway_url
from infra.launch.stack import read_stack
from millrace.event import Event
from millrace.events.query import AnswerDelta, QueryCancelled, QueryReceived
from millrace.topics import QUERY_CANCELLED, QUERY_RECEIVED
from tests.conditions import eventually
from tests.gateway.serving import SentEvent, asking
from tests.millrace.workers import ScriptedWorker, completed, derived_meta
from tests.system.stacks import System, embedded_system

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

PEOPLE = [{"name": "ada", "tenant": "acme"}]
ADA = {"X-Demo-Person": "ada"}
SCALE = float(os.environ.get("MILLRACE_FAULT_SCALE", "0.1"))
N_STREAMS = max(10, round(100 * SCALE))
N_LEAVING = max(50, round(1000 * SCALE))
LIMITS = {"concurrent": 2000, "concurrent_per_tenant": 2000, "requests_per_minute": 0, "tokens_per_minute": 0}


@pytest.fixture
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two replicas and no worker: tests answer by themselves."""
    home = tmp_path_factory.mktemp("replicas") / "home"
    gateway: dict[str, Any] = {"count": 2, "people": PEOPLE, "limits": LIMITS}
    with embedded_system(home, gateway=gateway) as found:
        yield found


def urls(system: System) -> list[str]:
    stack = read_stack(system.settings.home)
    assert stack is not None
    return [gateway_url(system.settings, stack.ports[record.name]["http"]) for record in stack.gateways]


def delta(question: QueryReceived, n: int) -> AnswerDelta:
    return AnswerDelta(tenant=question.tenant, correlation=question.meta.correlation_id, n=n, text=f"{n} ")


class TwoGoes:
    """Answers a question's first half at once, and the second half of all when one called `go` comes."""

    def __init__(self) -> None:
        self._asked: list[QueryReceived] = []

    def __call__(self, question: QueryReceived) -> list[Event]:
        if question.question != "go":
            self._asked.append(question)
            return [delta(question, 0), delta(question, 1)]
        rest = [self._rest(each) for each in self._asked]
        return [*(event for events in rest for event in events), completed(question)]

    @staticmethod
    def _rest(question: QueryReceived) -> list[Event]:
        events: list[Event] = [delta(question, 2), completed(question, "0 1 2 ")]
        return [event.with_meta(derived_meta(question, event)) for event in events]


async def taken(stream: AsyncIterator[SentEvent], n: int) -> list[SentEvent]:
    return [await anext(stream) for _ in range(n)]


async def test_streams_of_a_killed_replica_go_on_at_another_without_a_second_answer(system: System) -> None:
    one, other = urls(system)
    stack = read_stack(system.settings.home)
    assert stack is not None
    with ScriptedWorker(system.connection, "acme", QUERY_RECEIVED, TwoGoes()) as worker:
        async with AsyncExitStack() as held:
            first = await held.enter_async_context(httpx.AsyncClient(base_url=one, timeout=60, limits=many()))
            begun: list[list[SentEvent]] = []
            streams = []  # held: a stream that nobody refers to any more is closed
            for n in range(N_STREAMS):
                stream = await held.enter_async_context(asking(first, ADA, f"q{n}", timeout_s=60))
                streams.append(stream)
                begun.append(await taken(stream, 3))
            assert not system.events(QUERY_CANCELLED)
            os.kill(stack.gateways[0].pid, signal.SIGKILL)
        async with httpx.AsyncClient(base_url=other, timeout=60, limits=many()) as second:

            async def rest(events: list[SentEvent]) -> list[SentEvent]:
                async with asking(second, ADA, last=events[-1].id) as stream:
                    return [event async for event in stream if event.name != ":"]

            reading = [asyncio.create_task(rest(events)) for events in begun]
            go = await second.post("/v1/questions", json={"question": "go"}, headers=ADA)
            assert go.status_code == 200
            ends = await asyncio.gather(*reading)
    for events, end in zip(begun, ends, strict=True):
        assert [event.name for event in events] == ["accepted", "delta", "delta"]
        assert [event.name for event in end] == ["delta", "completed"], end
        pieces = [event.data["text"] for event in (*events[1:], *end[:-1])]
        assert "".join(pieces) == end[-1].data["text"]
    assert len(worker.seen) == N_STREAMS + 1, "a stream that goes on elsewhere asks nothing again"
    given_up = [event for event in system.events(QUERY_CANCELLED) if isinstance(event, QueryCancelled)]
    assert not [(event.meta.source, event.correlation) for event in given_up]


async def test_when_all_callers_leave_their_questions_are_given_up_and_nothing_is_left(system: System) -> None:
    one, _ = urls(system)
    with ScriptedWorker(system.connection, "acme", QUERY_RECEIVED, lambda question: [delta(question, 0)]):
        async with httpx.AsyncClient(base_url=one, timeout=60, limits=many()) as client:
            async with AsyncExitStack() as held:
                numbers = count()
                streams = []
                for _ in range(N_LEAVING):
                    stream = await held.enter_async_context(asking(client, ADA, f"q{next(numbers)}", timeout_s=100))
                    streams.append(stream)
                    await taken(stream, 2)
                assert not system.events(QUERY_CANCELLED)

            async def given_up() -> bool:
                events = await asyncio.to_thread(system.events, QUERY_CANCELLED)
                return len({event.correlation for event in events}) == N_LEAVING

            await eventually(given_up)
            text = (await client.get("/metrics")).text
    assert "millrace_gateway_open_streams 0.0" in text
    assert "millrace_gateway_pending_questions 0.0" in text


def many() -> httpx.Limits:
    return httpx.Limits(max_connections=2000)
