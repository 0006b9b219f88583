"""Laws about giving a question up: the workers are told once, unless it has its end, and nothing stays behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from millrace.client import Millrace
from millrace.client.cancelling import Canceller
from millrace.client.producing import EventProducer
from millrace.codec import Codec
from millrace.connection import Connection
from millrace.errors import RequestFailed
from millrace.event import Event
from millrace.events.query import AnswerDelta, QueryCancelled, QueryReceived
from millrace.sync_client import Client
from millrace.topics import QUERY_CANCELLED
from streams.embedded_broker import EmbeddedBroker
from tests.conditions import until
from tests.millrace.workers import ScriptedWorker, answering, completed, create_catalogue


@contextmanager
def listening(connection: Connection, tenant: str) -> Iterator[list[QueryCancelled]]:
    """Cancellations of a tenant, as they come."""
    with ScriptedWorker(connection, tenant, QUERY_CANCELLED, lambda _: []) as worker:
        yield worker.seen


def silence(_: QueryReceived) -> Iterable[Event]:
    return []


def beginning(question: QueryReceived) -> Iterable[Event]:
    return [AnswerDelta(tenant=question.tenant, correlation=question.meta.correlation_id, text="a")]


async def test_a_cancelled_question_is_cancelled_at_the_workers_too(stack: Connection, tenant: str) -> None:
    with answering(stack, tenant, silence) as worker, listening(stack, tenant) as cancelled:
        async with Millrace(stack, tenant=tenant) as millrace:
            asking = asyncio.create_task(millrace.ask("never answered", conversation="talk"))
            await until(lambda: bool(worker.seen))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await until(lambda: bool(cancelled))
    (question,), (event,) = worker.seen, cancelled
    assert (event.tenant, event.conversation, event.correlation) == (tenant, "talk", question.meta.correlation_id)
    assert event.meta.correlation_id == question.meta.correlation_id
    assert event.meta.traceparent.split("-")[1] == question.meta.traceparent.split("-")[1]


async def test_a_stream_that_is_left_early_is_cancelled(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, beginning) as worker, listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant) as millrace:
            parts = millrace.ask_stream("what?")
            await anext(parts)
            await parts.aclose()
            await until(lambda: bool(cancelled))
    assert [event.correlation for event in cancelled] == [worker.seen[0].meta.correlation_id]


async def test_a_question_that_ran_out_of_time_is_cancelled(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, silence), listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant) as millrace:
            with pytest.raises(RequestFailed, match="no answer within"):
                await millrace.ask("slow", timeout_s=0.2)
            await until(lambda: len(cancelled) == 1)


async def test_closing_the_client_cancels_what_still_waits(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, silence) as worker, listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant) as millrace:
            asking = asyncio.create_task(millrace.ask("never answered"))
            await until(lambda: bool(worker.seen))
        with pytest.raises(RequestFailed, match="closed"):
            await asking
        await until(lambda: len(cancelled) == 1)


async def test_an_answered_question_is_never_cancelled(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        return [] if question.question == "last" else [*beginning(question), completed(question)]

    with answering(embedded, tenant, behaviour), listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant) as millrace:
            assert (await millrace.ask("whole")).text == "echo: whole"
            assert len([part async for part in millrace.ask_stream("in pieces")]) == 2
            parts = millrace.ask_stream("left at its end")
            await anext(parts)
            await anext(parts)
            await parts.aclose()
            with pytest.raises(RequestFailed):  # a marker: cancellations of a conversation keep their order
                await millrace.ask("last", timeout_s=0.2, conversation="last")
            await until(lambda: any(event.conversation == "last" for event in cancelled))
    assert [event.conversation for event in cancelled] == ["last"]


async def test_a_question_that_was_never_sent_is_not_cancelled(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, silence), listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant, max_pending=1) as millrace:
            asking = asyncio.create_task(millrace.ask("first", timeout_s=0.5))
            await until(lambda: millrace.pending_questions == 1)
            with pytest.raises(RequestFailed, match="pending"):
                await millrace.ask("one too many")
            with pytest.raises(RequestFailed, match="no answer"):
                await asking
            await until(lambda: bool(cancelled))
    assert len(cancelled) == 1


async def test_a_hundred_cancelled_questions_leave_nothing_behind(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, silence) as worker, listening(embedded, tenant) as cancelled:
        async with Millrace(embedded, tenant=tenant) as millrace:
            with pytest.raises(RequestFailed):
                await millrace.ask("first of all", timeout_s=2)
            await until(lambda: len(cancelled) == 1)
            before = len(asyncio.all_tasks())
            asking = [asyncio.create_task(millrace.ask(f"q{n}")) for n in range(100)]
            await until(lambda: len(worker.seen) == 101)
            for each in asking:
                each.cancel()
            await asyncio.wait(asking)
            await until(lambda: len({event.correlation for event in cancelled}) == 101)
            await until(lambda: len(asyncio.all_tasks()) <= before)
            assert millrace.pending_questions == 0
    assert len(cancelled) == 101


async def test_a_broker_that_is_gone_holds_no_one_up_who_cancels(
    start_embedded: Callable[[], EmbeddedBroker], tenant: str
) -> None:
    broker = start_embedded()
    create_catalogue(broker.create_topic)
    connection = Connection(bootstrap=broker.bootstrap, profile="embedded")
    async with Millrace(connection, tenant=tenant, timeout_s=1.0) as millrace:
        with answering(connection, tenant, silence) as worker:
            asking = asyncio.create_task(millrace.ask("alive?"))
            await until(lambda: bool(worker.seen))
        broker.kill()
        asking.cancel()
        async with asyncio.timeout(0.5):
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_cancellations_on_their_way_are_bounded(embedded: Connection, tenant: str) -> None:
    producer = EventProducer(embedded, Codec(), source="test", timeout_s=10)
    await producer.start()
    canceller = Canceller(producer, most=2)
    for n in range(5):
        canceller.cancel(tenant, "talk", f"{n:032x}")
    assert canceller.n_dropped == 3
    await canceller.stop(5)
    await producer.stop()
    assert not canceller._sending


def test_the_sync_client_cancels_what_is_left_early_and_what_runs_out_of_time(
    embedded: Connection, tenant: str
) -> None:
    with answering(embedded, tenant, beginning) as worker, listening(embedded, tenant) as cancelled:
        with Client(embedded, tenant=tenant) as client:
            parts = client.ask_stream("what?")
            next(parts)
            parts.close()  # type: ignore[attr-defined]
            with pytest.raises(RequestFailed):
                client.ask("slow", timeout_s=0.2)
        asyncio.run(until(lambda: len(cancelled) == 2))
    assert {event.correlation for event in cancelled} == {question.meta.correlation_id for question in worker.seen}


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_an_interrupt_at_the_command_line_cancels_the_question(
    stack: Connection, tenant: str, stream: list[str]
) -> None:
    # A background job of a shell is started with SIGINT ignored, and so would be all that it starts.
    program = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from millrace.cli import main"
    )
    command = [sys.executable, "-c", f"{program}; sys.exit(main())"]
    where = ["--bootstrap", stack.bootstrap, "--objects", stack.objects]
    with answering(stack, tenant, silence) as worker, listening(stack, tenant) as cancelled:
        process = subprocess.Popen([*command, *where, "ask", "what?", "--tenant", tenant, *stream])
        try:
            asyncio.run(until(lambda: bool(worker.seen) or process.poll() is not None, 40))
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
            asyncio.run(until(lambda: bool(cancelled)))
        finally:
            process.kill()
            process.wait()
    assert [event.correlation for event in cancelled] == [worker.seen[0].meta.correlation_id]
