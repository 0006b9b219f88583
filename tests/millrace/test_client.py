"""Laws about asking: one terminal result, in order, in time, and nothing of anyone else's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from millrace.client import Answer, Millrace
from millrace.connection import Connection
from millrace.errors import RequestFailed
from millrace.event import Event
from millrace.events.query import QueryReceived
from tests.millrace.workers import answering, completed


async def test_a_question_comes_back_with_its_answer(stack: Connection, tenant: str) -> None:
    with answering(stack, tenant, lambda question: [completed(question)]) as worker:
        async with Millrace(stack, tenant=tenant) as millrace:
            answer = await millrace.ask("where is the river?", user="ada", groups=["staff"])
    assert answer.text == "echo: where is the river?"
    (question,) = worker.seen
    assert (question.user, question.groups) == ("ada", ("staff",))
    assert question.meta.correlation_id == answer.correlation_id
    assert question.meta.traceparent.split("-")[1] == answer.trace_id


async def test_many_questions_share_one_reader_and_get_their_own_answers(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        async with Millrace(embedded, tenant=tenant) as millrace:
            answers = await asyncio.gather(*(millrace.ask(f"q{n}") for n in range(50)))
            assert millrace.pending_questions == 0
    assert [answer.text for answer in answers] == [f"echo: q{n}" for n in range(50)]
