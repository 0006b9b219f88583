"""Laws about streamed answers: in order, at once, each once, taken up again anywhere, by their own caller alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import httpx
import msgspec
import pytest

from gateway.settings import GatewaySettings, Limits
from millrace.event import Event
from millrace.events.query import AnswerDelta, AnswerFailed, AnswerRetracted, QueryCancelled, QueryReceived
from millrace.reader import read
from millrace.topics import QUERY_CANCELLED
from tests.conditions import until
from tests.gateway.conftest import Gateway, Gateways
from tests.gateway.serving import SentEvent, asking, serving
from tests.millrace.workers import completed


def delta(question: QueryReceived, n: int, text: str, attempt: int = 0) -> AnswerDelta:
    return AnswerDelta(
        tenant=question.tenant, correlation=question.meta.correlation_id, attempt=attempt, n=n, text=text
    )


async def collected(events: AsyncIterator[SentEvent]) -> list[SentEvent]:
    return [event async for event in events if event.name != ":"]


def whole(question: QueryReceived) -> Iterable[Event]:
    yield from (delta(question, n, f"{n} ") for n in range(3))
    yield completed(question, "0 1 2 ")


async def test_an_answer_comes_in_pieces_and_then_whole(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(whole):
            async with asking(client, gateways.bearer()) as stream:
                events = await collected(stream)
    assert [event.name for event in events] == ["accepted", "delta", "delta", "delta", "completed"]
    assert "".join(event.data["text"] for event in events[1:4]) == events[4].data["text"] == "0 1 2 "
    assert len({event.id for event in events}) == 5
    assert len({event.data["question"] for event in events}) == 1


@pytest.mark.parametrize("seen", range(5))
async def test_a_stream_goes_on_at_another_replica_wherever_it_broke_off(gateways: Gateways, seen: int) -> None:
    async with gateways.replica() as one, gateways.replica() as other, serving(one.app) as first:
        with gateways.answering(whole) as worker:
            async with asking(first, gateways.bearer()) as stream:
                events = await collected(stream)
            async with serving(other.app) as second:
                if seen == 4:
                    response = await second.post(
                        "/v1/questions",
                        headers={**gateways.bearer(), "Accept": "text/event-stream", "Last-Event-ID": events[4].id},
                    )
                    assert response.status_code == 204
                    return
                async with asking(second, gateways.bearer(), last=events[seen].id) as stream:
                    rest = await collected(stream)
    assert numbered(rest) == numbered(events[seen + 1 :])
    assert len(worker.seen) == 1


def numbered(events: list[SentEvent]) -> list[tuple[str, object, object]]:
    return [(event.name, event.data.get("n"), event.data.get("text")) for event in events]


async def test_the_id_of_an_event_is_nobody_elses(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(whole):
            async with asking(client, gateways.bearer()) as stream:
                events = await collected(stream)
        found = events[1].id
        strangers = [
            gateways.bearer("eve"),
            gateways.bearer("ada", tenant="umbrella"),
        ]
        damaged = found[:-2] + ("AA" if found[-2:] != "AA" else "BB")
        statuses = [await status_of(client, headers, found) for headers in strangers]
        statuses += [await status_of(client, gateways.bearer(), wrong) for wrong in (damaged, "0:0:0", "x" * 4000)]
    assert statuses == [404] * 5


async def test_a_forged_place_in_clear_is_no_id(gateways: Gateways) -> None:
    """The control: an id that were not sealed would name any question of anyone."""
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(whole):
            async with asking(client, gateways.bearer()) as stream:
                events = await collected(stream)
        clear = msgspec.json.encode([events[0].data["question"], "", 0, 0, 0, -1, False, 2**50]).hex()
        assert await status_of(client, gateways.bearer(), clear) == 404


async def status_of(client: httpx.AsyncClient, headers: dict[str, str], last: str) -> int:
    response = await client.post(
        "/v1/questions", headers={**headers, "Accept": "text/event-stream", "Last-Event-ID": last}
    )
    return response.status_code


async def test_ids_tell_nothing_of_offsets(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(whole):
            async with asking(client, gateways.bearer()) as stream:
                events = await collected(stream)
    assert all(len(one.id) == len(other.id) or abs(len(one.id) - len(other.id)) < 8 for one, other in pairwise(events))
    assert not any(events[0].data["question"] in event.id for event in events)


async def test_a_silent_stream_shows_that_it_is_alive(gateways: Gateways) -> None:
    settings = GatewaySettings(heartbeat_s=0.05)
    async with gateways.replica(settings) as replica, serving(replica.app) as client:
        with gateways.answering(lambda question: [delta(question, 0, "a")]):
            async with asking(client, gateways.bearer()) as stream:
                names = [(await anext(stream)).name for _ in range(6)]
    assert names[0] == "accepted"
    assert names.count(":") >= 3


async def test_a_caller_that_goes_gives_its_question_up_within_a_second(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(lambda question: [delta(question, 0, "a")]):
            async with asking(client, gateways.bearer()) as stream:
                events = [await anext(stream), await anext(stream)]
            await asyncio.wait_for(cancelled(gateways, events[0].data["question"]), 1.0 + PATIENCE_S)
        await until(lambda: replica.service.millrace.pending_questions == 0)
        assert replica.service.admission.n_asking == 0


async def test_a_caller_that_goes_before_its_json_answer_gives_its_question_up(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(lambda question: []) as worker:
            calling = asyncio.create_task(
                client.post("/v1/questions", json={"question": "what?"}, headers=gateways.bearer())
            )
            await until(lambda: bool(worker.seen))
            calling.cancel()
            await asyncio.wait_for(cancelled(gateways, worker.seen[0].meta.correlation_id), 1.0 + PATIENCE_S)


PATIENCE_S = 5.0


async def cancelled(gateways: Gateways, question: str) -> None:
    def seen() -> bool:
        events = read(gateways.connection, [QUERY_CANCELLED], on_error=lambda _record, _error: None)
        return any(isinstance(event, QueryCancelled) and event.correlation == question for event in events)

    while not await asyncio.to_thread(seen):  # noqa: ASYNC110 - a look into the log has no event
        await asyncio.sleep(0.02)


async def test_a_replica_that_ends_sends_its_streams_on_and_cancels_nothing(gateways: Gateways) -> None:
    flushed = InTwoGoes()
    async with gateways.replica() as one, gateways.replica() as other, serving(one.app) as first:
        with gateways.answering(flushed.first):
            async with asking(first, gateways.bearer()) as stream:
                events = [await anext(stream), await anext(stream)]
                one.service.millrace.leave_questions()
                await one.service.health.drain(0.0)
                events.append(await anext(stream))
            assert [event.name for event in events] == ["accepted", "delta", "moved"]
        with gateways.answering(flushed.rest):
            async with serving(other.app) as second, asking(second, gateways.bearer(), last=events[1].id) as stream:
                await other.service.millrace.produce(flushed.asked[0].replace())  # wakes the scripted worker
                rest = await collected(stream)
    assert [event.name for event in rest] == ["delta", "completed"]
    assert rest[-1].data["text"] == "ab"
    assert not any(
        isinstance(event, QueryCancelled) and event.correlation == events[0].data["question"]
        for event in read(gateways.connection, [QUERY_CANCELLED], on_error=lambda _record, _error: None)
    )


@dataclass
class InTwoGoes:
    """Answers in two goes: the first piece when asked, the others when the question is sent again."""

    asked: list[QueryReceived] = field(default_factory=list)

    def first(self, question: QueryReceived) -> Iterable[Event]:
        self.asked.append(question)
        return [delta(question, 0, "a")]

    def rest(self, question: QueryReceived) -> Iterable[Event]:
        return [delta(question, 1, "b"), completed(question, "ab")]


@pytest.mark.parametrize(
    ("limits", "status", "name"),
    [
        (Limits(concurrent_per_tenant=3), 429, "too_many_questions"),
        (Limits(concurrent=3), 503, "overloaded"),
    ],
)
async def test_a_stream_that_finds_no_place_is_told_when_to_come_again_and_goes_on_then(
    gateways: Gateways, limits: Limits, status: int, name: str
) -> None:
    async with moving(gateways, limits) as (other, second, halves, own, moved):
        for last in moved:
            headers = {**gateways.bearer(), "Accept": "text/event-stream", "Last-Event-ID": last}
            posted = await second.post("/v1/questions", headers=headers)
            got = await second.get("/v1/questions/events/rest", headers=headers)
            for refused in (posted, got):
                assert (refused.status_code, refused.json()["name"]) == (status, name)
                assert refused.headers["retry-after"] == "1"
        assert other.service.admission.n_asking == 3
        await halves.finish(other, "own")
        assert [await names_of(stream) for stream in own] == [["delta", "completed"]] * 3
        await halves.finish(other, "moved")
        for last in moved:
            async with asking(second, gateways.bearer(), last=last) as rest:
                assert await names_of(rest) == ["delta", "completed"]
        assert other.service.admission.n_asking == 0
    given_up = read(gateways.connection, [QUERY_CANCELLED], on_error=lambda _record, _error: None)
    assert not [event for event in given_up if isinstance(event, QueryCancelled) and event.tenant == gateways.tenant]


async def test_where_there_is_room_for_all_streams_of_two_replicas_none_is_refused(gateways: Gateways) -> None:
    """Control: the same streams with twice the places."""
    async with (
        moving(gateways, Limits(concurrent_per_tenant=6)) as (other, second, halves, own, moved),
        AsyncExitStack() as held,
    ):
        going_on = [await held.enter_async_context(asking(second, gateways.bearer(), last=last)) for last in moved]
        await halves.finish(other, "")
        ends = [await names_of(stream) for stream in (*going_on, *own)]
    assert ends == [["delta", "completed"]] * 6


class Moving(NamedTuple):
    """Three streams at a replica, and as many that another replica has sent there."""

    other: Gateway
    second: httpx.AsyncClient
    halves: Halves
    own: list[AsyncIterator[SentEvent]]
    moved: list[str]
    """Of each stream that is to go on, the id of the last event."""


@asynccontextmanager
async def moving(gateways: Gateways, limits: Limits) -> AsyncIterator[Moving]:
    settings, halves = GatewaySettings(limits=limits), Halves()
    async with (
        gateways.replica(settings) as one,
        gateways.replica(settings) as other,
        serving(one.app) as first,
        serving(other.app) as second,
        AsyncExitStack() as held,
    ):
        held.enter_context(gateways.answering(halves))
        own = [await begun(held, second, gateways.bearer(), f"own {n}") for n in range(3)]
        moved = [await begun(held, first, gateways.bearer(), f"moved {n}") for n in range(3)]
        one.service.millrace.leave_questions()
        await one.service.health.drain(0.0)
        assert [await names_of(stream) for stream, _ in moved] == [["moved"]] * 3
        yield Moving(other, second, halves, [stream for stream, _ in own], [seen[-1].id for _, seen in moved])


class Halves:
    """Answers the first half of a question when it is asked, and the other half when it is sent again."""

    def __init__(self) -> None:
        self._asked: dict[str, QueryReceived] = {}

    def __call__(self, question: QueryReceived) -> list[Event]:
        known = question.question in self._asked
        self._asked[question.question] = question
        if not known:
            return [delta(question, 0, "a")]
        return [delta(question, 1, "b"), completed(question, "ab")]

    async def finish(self, gateway: Gateway, beginning: str) -> None:
        """Send the questions with a beginning again."""
        for question in [each for text, each in self._asked.items() if text.startswith(beginning)]:
            await gateway.service.millrace.produce(question)


async def begun(
    held: AsyncExitStack, client: httpx.AsyncClient, headers: dict[str, str], question: str
) -> tuple[AsyncIterator[SentEvent], list[SentEvent]]:
    """A stream with its first two events."""
    stream = await held.enter_async_context(asking(client, headers, question, timeout_s=100))
    return stream, [await anext(stream), await anext(stream)]


async def names_of(stream: AsyncIterator[SentEvent]) -> list[str]:
    return [event.name for event in await collected(stream)]


@pytest.mark.parametrize("end", ["failed", "retracted"])
async def test_a_stream_ends_with_what_became_of_the_answer(gateways: Gateways, end: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        correlation = question.meta.correlation_id
        yield delta(question, 0, "a")
        if end == "failed":
            yield AnswerFailed(tenant=question.tenant, correlation=correlation, error_type="x", message="no")
        else:
            yield AnswerRetracted(tenant=question.tenant, correlation=correlation, reason="leaking")

    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(behaviour):
            async with asking(client, gateways.bearer()) as stream:
                events = await collected(stream)
    assert [event.name for event in events] == ["accepted", "delta", end]


async def test_a_question_that_nobody_answers_ends_at_its_time(gateways: Gateways) -> None:
    async with gateways.replica() as replica, serving(replica.app) as client:
        with gateways.answering(lambda question: []):
            async with asking(client, gateways.bearer(), timeout_s=0.3) as stream:
                events = await collected(stream)
    assert [event.name for event in events] == ["accepted", "failed"]
    assert events[-1].data["name"] == "deadline_exceeded"
    assert events[-1].data["retry_after_ms"] > 0
