"""Laws about asking: one terminal result, in order, in time, and nothing of anyone else's."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable

import pytest

from millrace.client import Answer, Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, RequestFailed, RequestRetracted, Unavailable
from millrace.event import Event
from millrace.events.query import (
    AnswerCompleted,
    AnswerDelta,
    AnswerFailed,
    AnswerRetracted,
    QueryReceived,
    Receipt,
)
from streams.embedded_broker import EmbeddedBroker
from tests.conditions import until
from tests.millrace.workers import answering, completed, create_catalogue


def delta(question: QueryReceived, n: int, text: str, attempt: int = 0) -> AnswerDelta:
    return AnswerDelta(
        tenant=question.tenant, correlation=question.meta.correlation_id, attempt=attempt, n=n, text=text
    )


async def test_a_question_comes_back_with_its_answer(stack: Connection, tenant: str) -> None:
    with answering(stack, tenant, lambda question: [completed(question)]) as worker:
        async with Millrace(stack, tenant=tenant) as millrace:
            answer = await millrace.ask("where is the river?", user="ada", groups=["staff"], timeout_s=20)
    assert answer.text == "echo: where is the river?"
    (question,) = worker.seen
    assert (question.user, question.groups, question.timeout_ms) == ("ada", ("staff",), 20_000)
    assert question.meta.correlation_id == answer.correlation_id
    assert question.meta.traceparent.split("-")[1] == answer.trace_id
    assert question.meta.deadline_ms > 0


async def test_many_questions_share_one_reader_and_get_their_own_answers(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        async with Millrace(embedded, tenant=tenant) as millrace:
            answers = await asyncio.gather(*(millrace.ask(f"q{n}") for n in range(50)))
            assert millrace.pending_questions == 0
    assert [answer.text for answer in answers] == [f"echo: q{n}" for n in range(50)]
    assert len({answer.correlation_id for answer in answers}) == 50


async def test_askers_on_one_reply_partition_get_only_their_own_answers(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        async with (
            Millrace(embedded, tenant=tenant, reply_partition=2) as one,
            Millrace(embedded, tenant=tenant, reply_partition=2) as other,
        ):
            answers = await asyncio.gather(one.ask("one"), other.ask("other"))
            assert [answer.text for answer in answers] == ["echo: one", "echo: other"]
            assert (one.late_replies, other.late_replies) == (0, 0)


async def test_a_stream_gives_pieces_in_order_and_then_the_answer(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        yield delta(question, 1, "wide ")
        yield delta(question, 0, "a ")
        yield delta(question, 0, "a ")
        yield delta(question, 2, "river")
        yield completed(question, "a wide river")

    with answering(embedded, tenant, behaviour):
        async with Millrace(embedded, tenant=tenant) as millrace:
            parts = [part async for part in millrace.ask_stream("what?")]
    assert [part.text for part in parts] == ["a ", "wide ", "river", "a wide river"]
    assert isinstance(parts[-1], Answer)


async def test_without_an_answer_the_asker_resolves_by_itself_and_a_late_reply_is_dropped(
    embedded: Connection, tenant: str
) -> None:
    answer_now = threading.Event()

    def behaviour(question: QueryReceived) -> Iterable[Event]:
        if question.question == "slow":
            assert answer_now.wait(20)
        return [completed(question)]

    with answering(embedded, tenant, behaviour):
        async with Millrace(embedded, tenant=tenant) as millrace:
            with pytest.raises(RequestFailed) as failed:
                await millrace.ask("slow", timeout_s=0.3)
            assert failed.value.reason == "deadline_exceeded"
            assert millrace.pending_questions == 0
            answer_now.set()
            assert (await millrace.ask("next")).text == "echo: next"
            await until(lambda: millrace.late_replies == 1)


async def test_a_cancelled_question_frees_its_place(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: []) as worker:
        async with Millrace(embedded, tenant=tenant, max_pending=1) as millrace:
            asking = asyncio.create_task(millrace.ask("never answered"))
            await until(lambda: bool(worker.seen))
            with pytest.raises(RequestFailed, match="1 questions of this client are pending"):
                await millrace.ask("one too many")
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert millrace.pending_questions == 0
    assert [question.question for question in worker.seen] == ["never answered"]


async def test_leaving_a_stream_early_frees_its_place(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [delta(question, 0, "a")]):
        async with Millrace(embedded, tenant=tenant) as millrace:
            parts = millrace.ask_stream("what?")
            assert (await anext(parts)).text == "a"
            await parts.aclose()
            assert millrace.pending_questions == 0


async def test_a_failed_question_raises_its_reason(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        correlation = question.meta.correlation_id
        if question.question == "fail":
            yield AnswerFailed(
                tenant=tenant,
                correlation=correlation,
                error_type="not_yet_visible",
                message="wait",
                retry_after_ms=70_000,
            )
        yield AnswerRetracted(tenant=tenant, correlation=correlation, reason="access_revoked")

    with answering(embedded, tenant, behaviour):
        async with Millrace(embedded, tenant=tenant) as millrace:
            with pytest.raises(RequestFailed, match="wait") as failed:
                await millrace.ask("fail")
            with pytest.raises(RequestRetracted, match="access_revoked"):
                await millrace.ask("retract")
    assert (failed.value.reason, failed.value.retry_after_ms) == ("not_yet_visible", 70_000)


def given_back(question: QueryReceived, retry_after_ms: int = 1) -> Event:
    tenant, correlation = question.tenant, question.meta.correlation_id
    if question.question == "changed meanwhile":
        return AnswerRetracted(tenant=tenant, correlation=correlation, reason="changed", retry_after_ms=retry_after_ms)
    return AnswerFailed(
        tenant=tenant, correlation=correlation, error_type="not_ready", message="wait", retry_after_ms=retry_after_ms
    )


@pytest.mark.parametrize("text", ["not ready", "changed meanwhile"])
async def test_a_question_that_is_given_back_is_asked_again(embedded: Connection, tenant: str, text: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        if len(worker.seen) < 3:
            return [delta(question, 0, "soon "), given_back(question)]
        return [completed(question)]

    with answering(embedded, tenant, behaviour) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            assert (await millrace.ask(text)).text == f"echo: {text}"
            assert millrace.pending_questions == 0
    first, second, third = worker.seen
    assert first.conversation == second.conversation == third.conversation
    assert len({question.meta.correlation_id for question in worker.seen}) == 3
    assert first.timeout_ms > second.timeout_ms >= third.timeout_ms
    assert first.meta.deadline_ms >= third.meta.deadline_ms - 1


async def test_a_stream_is_asked_again_only_before_its_first_piece(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        if question.question == "late":
            yield delta(question, 0, "soon ")
        if len(worker.seen) == 2:
            yield completed(question)
        else:
            yield given_back(question)

    with answering(embedded, tenant, behaviour) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            assert [part.text async for part in millrace.ask_stream("early")] == ["echo: early"]
            worker.seen.clear()
            parts = millrace.ask_stream("late")
            assert (await anext(parts)).text == "soon "
            with pytest.raises(RequestFailed, match="wait"):
                await anext(parts)
    assert len(worker.seen) == 1


async def test_a_question_is_not_asked_again_beyond_its_time(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        return [given_back(question, 400) if question.question == "not ready" else completed(question)]

    with answering(embedded, tenant, behaviour) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            assert (await millrace.ask("are you there?")).found
            worker.seen.clear()
            with pytest.raises(RequestFailed, match="wait"):
                await millrace.ask("not ready", timeout_s=4)
    assert 2 <= len(worker.seen) <= 4  # after 400, 800 and 1,600 ms; 3,200 would be too late


async def test_a_reply_of_another_tenant_is_no_reply(embedded: Connection, tenant: str) -> None:
    def behaviour(question: QueryReceived) -> Iterable[Event]:
        yield AnswerCompleted(tenant="stranger", correlation=question.meta.correlation_id, text="forged")
        yield completed(question)

    with answering(embedded, tenant, behaviour):
        async with Millrace(embedded, tenant=tenant) as millrace:
            assert (await millrace.ask("mine")).text == "echo: mine"


async def test_a_watermark_that_is_given_counts_before_the_one_that_is_kept(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question, watermark="w7")]) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            await millrace.ask("first", conversation="talk")
            await millrace.ask("second", conversation="talk", watermark="w9")
    assert [question.watermark for question in worker.seen] == ["", "w9"]


async def test_a_conversation_sends_its_watermark_back(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question, watermark="w7")]) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            await millrace.ask("first", conversation="talk")
            await millrace.ask("second", conversation="talk")
            await millrace.ask("elsewhere", conversation="other")
    assert [question.watermark for question in worker.seen] == ["", "w7", ""]


async def test_a_question_after_a_strangers_receipt_is_refused(embedded: Connection, tenant: str) -> None:
    async with Millrace(embedded, tenant=tenant) as millrace:
        with pytest.raises(InputRejected, match="stranger"):
            await millrace.ask("what?", after=Receipt("stranger", "a.md", 1))
        assert millrace.pending_questions == 0


async def test_closing_the_client_ends_pending_questions(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: []) as worker:
        async with Millrace(embedded, tenant=tenant) as millrace:
            asking = asyncio.create_task(millrace.ask("never answered"))
            await until(lambda: bool(worker.seen))
        with pytest.raises(RequestFailed, match="closed"):
            await asking


async def test_a_broker_that_is_not_there_fails_fast_and_says_so() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = Connection(bootstrap=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match="millrace doctor"):
            async with asyncio.timeout(5):
                await Millrace(nobody).__aenter__()


async def test_a_broker_that_dies_fails_questions_in_time(
    start_embedded: Callable[[], EmbeddedBroker], tenant: str
) -> None:
    broker = start_embedded()
    create_catalogue(broker.create_topic)
    connection = Connection(bootstrap=broker.bootstrap, profile="embedded")
    async with Millrace(connection, tenant=tenant, timeout_s=1.0) as millrace:
        with answering(connection, tenant, lambda question: [completed(question)]):
            assert (await millrace.ask("alive?")).found
        broker.kill()
        with pytest.raises((RequestFailed, Unavailable)):
            async with asyncio.timeout(10):
                await millrace.ask("alive?", timeout_s=3)
