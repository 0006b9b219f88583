"""One question that fails is one failure; a stack that is gone ends the run with its own error."""

import asyncio
from typing import Any

import pytest

from millrace.client import Answer, Millrace
from millrace.connection import Connection
from millrace.errors import InputRejected, TooLarge, Unavailable
from millrace.evaluation.asking import AskingOptions, ask_all
from millrace.evaluation.questions import KnownQuestion
from tests.millrace.evaluation.evaluations import answer

QUESTIONS = [KnownQuestion(id=str(n), question=f"question {n}", doc="a.md") for n in range(12)]


class Scripted(Millrace):
    """A client whose stack answers everything but one question, and notes how many wait at the same time."""

    def __init__(self, connection: Connection, error: Exception | None = None) -> None:
        super().__init__(connection)
        self._error = error
        self.asking = self.most = 0

    async def ask(self, question: str, **_: Any) -> Answer:
        self.asking += 1
        self.most = max(self.most, self.asking)
        for _turn in range(5):
            await asyncio.sleep(0)
        self.asking -= 1
        if self._error is not None and question == "question 3":
            raise self._error
        return answer("a.md:0")


async def test_no_more_are_asked_at_a_time_than_allowed_and_progress_is_told(embedded: Connection, tenant: str) -> None:
    told: list[tuple[int, int]] = []
    async with Scripted(embedded) as client:
        options = AskingOptions(tenant=tenant, concurrency=3)
        asked = await ask_all(client, QUESTIONS, options, lambda done, total: told.append((done, total)))
    assert client.most == 3
    assert told == [(n, 12) for n in range(1, 13)]
    assert [found.id for found in asked.judgements] == [question.id for question in QUESTIONS]
    assert asked.missing == ("a.md",)


@pytest.mark.parametrize("error", [InputRejected("no such tenant"), TooLarge("too long")])
async def test_a_question_that_cannot_be_sent_has_failed_and_the_others_go_on(
    embedded: Connection, tenant: str, error: Exception
) -> None:
    async with Scripted(embedded, error) as client:
        asked = await ask_all(client, QUESTIONS, AskingOptions(tenant=tenant))
    assert [found.id for found in asked.judgements if found.status == "failed"] == ["3"]
    assert str(error) in asked.judgements[3].error


async def test_a_stack_that_is_gone_ends_the_run_with_that_error(embedded: Connection, tenant: str) -> None:
    async with Scripted(embedded, Unavailable("the broker is gone")) as client:
        with pytest.raises(Unavailable, match="the broker is gone"):
            await ask_all(client, QUESTIONS, AskingOptions(tenant=tenant))
