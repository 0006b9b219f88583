"""Quiet conversations are closed by what follows the log: once, by any worker, and after a restart."""

from collections.abc import Callable

import pytest

from millrace.client import Millrace
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven, SessionDue
from millrace.events.query import QueryReceived
from millrace.reader import read
from millrace.topics import CATALOGUE, SESSION_DUE
from streams.embedded_broker import EmbeddedBroker
from streams.producer import Producer
from streams.quiet import QuietConversations
from streams.sessions import SessionCloser

GAP_S, LATE_S = 100.0, 10.0
SECOND = 1_000_000


@pytest.fixture
def connection(start_embedded: Callable[[], EmbeddedBroker]) -> Connection:
    broker = start_embedded()
    for topic in CATALOGUE.values():
        broker.create_topic(topic.name, 2)
    return Connection(bootstrap=broker.bootstrap, profile="embedded")


async def put(connection: Connection, *events: Event) -> int:
    """Write events; gives the time of the last one."""
    async with Millrace(connection) as millrace:
        for event in events:
            await millrace.produce(event)
    return max(event.meta.time_us for event in read(connection, list(CATALOGUE.values())))


class Worker:
    """A closer with a clock of its own, for one test."""

    def __init__(self, connection: Connection, now_us: list[int]) -> None:
        self.producer = Producer(connection.aiokafka())
        self.closer = SessionCloser(
            connection.aiokafka(),
            self.producer,
            Codec(),
            gap_s=GAP_S,
            lateness_s=LATE_S,
            wall_us=lambda: now_us[0],
            fetch_max_wait_ms=5,
        )

    async def __aenter__(self) -> SessionCloser:
        await self.producer.start()
        await self.closer.start()
        return self.closer

    async def __aexit__(self, *_: object) -> None:
        await self.closer.stop()
        await self.producer.stop()


def dues(connection: Connection) -> list[SessionDue]:
    return [event for event in read(connection, [SESSION_DUE]) if isinstance(event, SessionDue)]


def fresh(conversation: str, n: int = 1) -> Event:
    """A question without metadata, so that the client gives it a time."""
    return QueryReceived(tenant="acme", conversation=conversation, question=f"Who approves travel {n}?")


async def test_a_quiet_conversation_is_closed_once(connection: Connection) -> None:
    now_us = [await put(connection, fresh("a"))]
    async with Worker(connection, now_us) as closer:
        await closer.look()
        assert dues(connection) == []
        now_us[0] += round((GAP_S + LATE_S + 60) * SECOND)
        await closer.look()
        await closer.look()
    [due] = dues(connection)
    assert (due.tenant, due.conversation) == ("acme", "a")
    assert due.positions == {"query.request.received.v1": 0}


async def test_a_session_that_was_open_when_the_worker_ended_is_closed_by_the_next_one(connection: Connection) -> None:
    now_us = [await put(connection, fresh("a"))]
    async with Worker(connection, now_us) as closer:
        await closer.look()
    assert dues(connection) == []
    now_us[0] += round(3600 * SECOND)
    async with Worker(connection, now_us) as closer:
        await closer.look()
    assert len(dues(connection)) == 1
    async with Worker(connection, now_us) as third:
        await third.look()
    assert len(dues(connection)) == 1, "it reads that the session was closed"


async def test_two_workers_close_a_session_by_one_id(connection: Connection) -> None:
    now_us = [await put(connection, fresh("a"))]
    async with Worker(connection, now_us) as one, Worker(connection, now_us) as other:
        now_us[0] += round(3600 * SECOND)
        await one.look()
        await other.look()
    assert len({due.meta.id for due in dues(connection)}) == 1


async def test_conversations_that_are_forgotten_are_told_of_once(
    connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    now_us = [await put(connection, *(fresh(name) for name in "abc"))]
    worker = Worker(connection, now_us)
    worker.closer._quiet = QuietConversations(round(GAP_S * SECOND), round(LATE_S * SECOND), most=1)
    async with worker as closer:
        await closer.look()
        await closer.look()
        [told] = [line for line in caplog.messages if "not followed" in line]
        assert told.startswith("2 conversations")
        now_us[0] += round(3600 * SECOND)
        assert await closer.look() == 1
    assert len(dues(connection)) == 1


async def test_a_conclusion_keeps_no_conversation_open(connection: Connection) -> None:
    concluded = FeedbackGiven(tenant="acme", conversation="a", correlation="q", kind="copied", implicit=True)
    now_us = [await put(connection, concluded)]
    async with Worker(connection, now_us) as closer:
        now_us[0] += round(3600 * SECOND)
        await closer.look()
    assert dues(connection) == []
    said = concluded.replace(implicit=False, kind="up")
    now_us[0] = await put(connection, said)
    async with Worker(connection, now_us) as closer:
        now_us[0] += round(3600 * SECOND)
        await closer.look()
    assert len(dues(connection)) == 1, "what a person says does: the control of the line above"
