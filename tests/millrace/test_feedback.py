"""Laws about saying what an answer was like, by the clients and from the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.client import Millrace
from millrace.client.feedback import MAX_TEXT, FeedbackOptions, feedback_of
from millrace.connection import Connection
from millrace.errors import InputRejected
from millrace.events.feedback import FeedbackGiven, InteractionObserved
from millrace.lineage import question_trace
from millrace.reader import read
from millrace.sync_client import Client
from millrace.topics import FEEDBACK_GIVEN, INTERACTION_OBSERVED
from tests.millrace.workers import Run, answering, completed


def written(connection: Connection, tenant: str) -> list[Any]:
    return [event for event in read(connection, [FEEDBACK_GIVEN, INTERACTION_OBSERVED]) if event.tenant == tenant]


async def test_what_is_said_of_an_answer_is_on_the_log_and_in_its_trace(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        async with Millrace(embedded, tenant=tenant) as millrace:
            answer = await millrace.ask("where?", user="ada")
            produced = await millrace.feedback(answer, down=True, comment="out of date", user="ada")
            await millrace.interact(answer, "copied", user="ada")
    said = {type(event): event for event in written(embedded, tenant)}
    feedback, interaction = said[FeedbackGiven], said[InteractionObserved]
    assert (feedback.kind, feedback.text, feedback.user, feedback.value) == ("down", "out of date", "ada", -1.0)
    assert (feedback.conversation, feedback.correlation) == (answer.conversation, answer.correlation_id)
    assert (produced.id, produced.origin) == (feedback.meta.id, feedback.meta.origin)
    assert interaction.kind == "copied"
    trace = question_trace(embedded, answer.correlation_id, sources=False)
    assert {"FeedbackGiven", "InteractionObserved"} <= {entry.type for entry in trace.entries}


def test_a_name_alone_is_found_in_the_log_by_the_sync_client(embedded: Connection, tenant: str) -> None:
    with (
        answering(embedded, tenant, lambda question: [completed(question)]),
        Client(embedded, tenant=tenant) as client,
    ):
        answer = client.ask("where?")
        client.feedback(answer.correlation_id, rating=4)
        client.feedback(answer.trace_id, correction="By the river.")
        client.interact(answer.correlation_id, "escalated")
        found = written(embedded, tenant)
        assert {event.conversation for event in found} == {answer.conversation}
        assert sorted(event.kind for event in found) == ["correction", "escalated", "rating"]
        with pytest.raises(InputRejected, match="the log has no question"):
            client.feedback("0" * 32, up=True)


async def test_a_question_of_another_tenant_is_as_none(embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        async with Millrace(embedded, tenant=tenant) as millrace:
            answer = await millrace.ask("where?")
            with pytest.raises(InputRejected, match="the log has no question"):
                await millrace.feedback(answer.correlation_id, up=True, tenant=f"{tenant}-other")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "nothing is said"),
        ({"comment": "  "}, "nothing is said"),
        ({"up": True, "down": True}, "one of"),
        ({"up": True, "correction": "x"}, "one of"),
        ({"correction": " "}, "stands alone"),
        ({"correction": "x", "comment": "y"}, "stands alone"),
        ({"rating": 6}, "1 to 5"),
        ({"rating": -1}, "1 to 5"),
        ({"comment": "x" * (MAX_TEXT + 1)}, "8001 characters"),
    ],
)
def test_what_says_nothing_too_much_or_several_things_is_refused(options: FeedbackOptions, why: str) -> None:
    with pytest.raises(InputRejected, match=why):
        feedback_of("t", "q", "c", options)


@pytest.mark.parametrize(
    ("options", "kind", "value"),
    [
        ({"up": True, "comment": "nice"}, "up", 1.0),
        ({"down": True}, "down", -1.0),
        ({"rating": 1}, "rating", -1.0),
        ({"rating": 3, "comment": "so so"}, "rating", 0.0),
        ({"correction": "x"}, "correction", -1.0),
        ({"comment": "x"}, "comment", 0.0),
    ],
)
def test_one_thing_is_said_with_or_without_a_comment(options: FeedbackOptions, kind: str, value: float) -> None:
    event = feedback_of("t", "q", "c", options)
    assert (event.kind, event.value) == (kind, value)
    assert event.text == options.get("comment", options.get("correction", ""))


def test_the_command_takes_what_ask_printed(run: Run, embedded: Connection, tenant: str) -> None:
    with answering(embedded, tenant, lambda question: [completed(question)]):
        _, out, _ = run("ask", "where?", "--tenant", tenant, "--json")
    trace = json.loads(out)["trace_id"]
    code, out, err = run("feedback", trace, "--down", "--comment", "old", "--as", "ada", "--tenant", tenant, "--json")
    assert (code, err) == (0, "")
    code, told, _ = run("feedback", trace, "--correct", "By the river.", "--tenant", tenant)
    assert (code, told.startswith("noted: query.feedback.given.v1/")) == (0, True)
    down, correction = written(embedded, tenant)
    assert json.loads(out) == {"id": down.meta.id, "position": str(down.meta.origin)}
    assert (down.kind, down.text, down.user) == ("down", "old", "ada")
    assert (correction.kind, correction.text) == ("correction", "By the river.")


def test_the_command_says_what_is_missing(run: Run, tenant: str) -> None:
    code, _, err = run("feedback", "0" * 32, "--up", "--tenant", tenant)
    assert code == 1
    assert "error (not_found): the log has no question" in err
    code, _, err = run("feedback", "0" * 32, "--tenant", tenant)
    assert code == 1
    assert "nothing is said of the answer" in err
