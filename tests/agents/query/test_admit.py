from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from agents.query import answer_question
from agents.query.admit import admit, cancel, normalised, park
from agents.query.policy import QueryPolicy
from millrace.errors import InputAbandoned
from millrace.event import Event
from millrace.events.query import (
    AnswerCompleted,
    AnswerFailed,
    AnswerProduced,
    AnswerRetracted,
    QueryAdmitted,
    QueryReceived,
    Receipt,
)
from millrace.invoke import Invoker, Output, Progress
from tests.agents_in_memory import ask, publish
from tests.builders import TENANT, asked, changed, granted, only
from tests.fakes import Stack

TEXT = "Rotate the keys every 90 days."
QUESTION = "Rotate the keys every how many days?"


async def admitted(stack: Stack, question: QueryReceived) -> list[Event]:
    found = await admit(question, stack.query)
    return [found] if isinstance(found, Event) else list(found or ())


async def test_groups_in_force_are_everyones_and_the_askers_own() -> None:
    (found,) = await admitted(Stack(), asked(" Why?\n", groups=("b", "a", "a")))
    assert isinstance(found, QueryAdmitted)
    assert (found.question, found.groups) == ("Why?", ("*", "a", "b"))


@pytest.mark.parametrize(
    ("fields", "error_type"),
    [
        ({"question": " \x00\n"}, "empty"),
        ({"question": "x" * 4_001}, "too_long"),
        ({"question": "Why?", "timeout_ms": 300_001}, "timeout"),
        ({"question": "Why?", "timeout_ms": 0}, "timeout"),
        ({"question": "Why?", "top_k": 0}, "top_k"),
        ({"question": "Why?", "top_k": 101}, "top_k"),
        ({"question": "Why?", "after": (Receipt("other", "d", 1),)}, "foreign_receipt"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_question_that_breaks_a_bound_is_refused_with_a_record_and_a_frame(
    fields: dict[str, Any], error_type: str
) -> None:
    record, frame = await admitted(Stack(), asked(**fields))
    assert isinstance(record, AnswerProduced)
    assert isinstance(frame, AnswerFailed)
    assert (record.status, record.error_type, frame.error_type) == ("refused", error_type, error_type)
    assert record.correlation == frame.correlation == asked(**fields).meta.correlation_id


async def test_a_reply_topic_that_is_not_allowed_is_refused_without_writing_to_it() -> None:
    (record,) = await admitted(Stack(), asked("Why?", reply_to="corpus.source.changed.v1"))
    assert isinstance(record, AnswerProduced)
    assert (record.status, record.error_type) == ("refused", "reply_to")


@pytest.mark.parametrize("partition", [4, 9999, -2])
async def test_a_reply_partition_that_does_not_exist_is_refused_without_writing_to_it(partition: int) -> None:
    question = asked("Why?")
    elsewhere = question.with_meta(msgspec.structs.replace(question.meta, reply_partition=partition))
    (record,) = await admitted(Stack(), elsewhere)
    assert isinstance(record, AnswerProduced)
    assert (record.status, record.error_type) == ("refused", "reply_to")
    assert "partitions 0 to 3" in record.text


async def test_a_question_that_allows_more_time_than_any_may_is_not_parked() -> None:
    question = asked("Why?", after=(Receipt(TENANT, "a.md", 1),), timeout_ms=300_001)
    assert park(question, Stack().query) is None


async def test_a_table_that_is_not_confirmed_refuses_questions_and_says_when_to_ask_again() -> None:
    stack = Stack()
    stack.visibility.is_confirmed = False
    record, frame = await admitted(stack, asked("Why?"))
    assert isinstance(record, AnswerProduced)
    assert isinstance(frame, AnswerFailed)
    assert (record.status, frame.error_type) == ("failed", "not_ready")
    assert frame.retry_after_ms > 0


async def test_a_question_without_a_reply_address_gets_a_record_alone() -> None:
    assert [type(event) for event in await admitted(Stack(), asked("", reply_to=""))] == [AnswerProduced]


async def test_a_question_that_has_ended_only_gets_its_frame_again_with_the_new_attempt() -> None:
    stack = Stack()
    question = asked("Why?")
    first = await ask(stack, question)
    stack.embedder.calls.clear()
    again = await ask(stack, asked("Why?", attempt=1))
    assert stack.embedder.calls == []
    (frame,) = again
    assert frame == first[-1].replace(attempt=1)


async def ended() -> Stack:
    """A question of the team's, with its answer."""
    stack = Stack(query_policy=QueryPolicy(answer_threshold=0.1))
    await publish(stack, changed(TEXT), "team")
    first = await ask(stack, asked(QUESTION, user="ada", groups=("team",)))
    assert only(first, AnswerCompleted).text == TEXT
    return stack


async def test_the_end_of_a_question_is_not_repeated_to_whoever_else_knows_its_correlation_id() -> None:
    stack = await ended()
    for user, conversation in (("eve", "c1"), ("ada", "c2")):
        other = asked(QUESTION, user=user, conversation=conversation, groups=("team",))
        record, frame = await admitted(stack, other)
        assert isinstance(record, AnswerProduced)
        assert isinstance(frame, AnswerFailed)
        assert (record.status, frame.error_type) == ("refused", "correlation")
        assert "Rotate" not in repr([record, frame])


async def test_the_end_of_a_question_is_taken_back_where_it_may_no_longer_be_seen() -> None:
    for change in ("revoked", "left the group"):
        stack = await ended()
        if change == "revoked":
            stack.fold([granted("others", version=2)])
        groups = () if change == "left the group" else ("team",)
        (frame,) = await admitted(stack, asked(QUESTION, user="ada", groups=groups, explain=True))
        assert isinstance(frame, AnswerRetracted)
        assert "Rotate" not in repr(frame)


async def test_hits_of_a_repeated_search_are_those_that_may_still_be_seen() -> None:
    stack = Stack()
    await publish(stack, changed(TEXT))
    await publish(stack, changed("Rotate the tyres.", document="b.md"), "team")
    search = asked(QUESTION, mode="search", groups=("team",))
    assert {hit.document for hit in only(await ask(stack, search), AnswerCompleted).hits} == {"a.md", "b.md"}
    stack.fold([granted("others", document="b.md", version=2)])
    (frame,) = await admitted(stack, search)
    assert isinstance(frame, AnswerCompleted)
    assert {hit.document for hit in frame.hits} == {"a.md"}


async def test_an_answer_is_not_repeated_from_a_table_that_is_not_confirmed() -> None:
    stack = await ended()
    stack.visibility.is_confirmed = False
    (frame,) = await admitted(stack, asked(QUESTION, user="ada", groups=("team",)))
    assert isinstance(frame, AnswerFailed)
    assert frame.error_type == "not_ready"


async def test_a_question_has_not_ended_because_another_tenants_with_its_correlation_id_has() -> None:
    stack = await ended()
    found = await admitted(stack, asked(QUESTION, user="ada", groups=("team",), tenant="globex"))
    assert [type(event) for event in found] == [QueryAdmitted]


def test_a_question_is_put_on_one_line_in_composed_form() -> None:
    assert normalised("  Cafe\u0301\r\n\x00open ?\u2028 ") == "Café open ?"


async def test_a_question_is_parked_until_its_receipts_and_watermark_are_visible() -> None:
    stack = Stack()
    receipt = Receipt(TENANT, "a.md", 1)
    assert park(asked("Why?"), stack.query) is None
    for question in (asked("Why?", after=(receipt,)), asked("Why?", watermark="7")):
        waiting = park(question, stack.query)
        assert waiting is not None
        await waiting
    assert stack.visibility.waited == [([receipt], ""), ([], "7")]
    stack.visibility.outcomes[TENANT, "a.md"] = (0, 1)
    assert park(asked("Why?", after=(receipt,)), stack.query) is None


async def test_a_question_that_has_ended_or_names_a_foreign_receipt_is_not_parked() -> None:
    stack = Stack()
    assert park(asked("Why?", after=(Receipt("other", "d", 1),)), stack.query) is None
    await ask(stack, asked("Why?"))
    assert park(asked("Why?", after=(Receipt(TENANT, "late", 9),)), stack.query) is None


async def run(stack: Stack, question: QueryReceived) -> list[Event]:
    """What the whole run gives, and what it says where it is given up."""
    invoker, found = Invoker(answer_question), list[Event]()

    async def emit(_: str, outputs: Sequence[Output]) -> None:
        found.extend(output.event for output in outputs)

    try:
        await invoker.run(question, stack.query, emit, Progress())
    except InputAbandoned as error:
        found.extend(output.event for output in invoker.failed(question, error))
    return found


async def test_a_cancelled_question_is_not_worked_on_and_ends_in_one_record_and_one_frame() -> None:
    stack, question = Stack(), asked("Why?")
    stack.cancellations.known.add((TENANT, question.meta.correlation_id))
    record, frame = await run(stack, question)
    assert isinstance(record, AnswerProduced)
    assert isinstance(frame, AnswerFailed)
    assert (record.status, record.error_type, frame.error_type) == ("failed", "cancelled", "cancelled")
    assert stack.embedder.calls == []


async def test_another_tenant_cannot_cancel_a_question() -> None:
    stack, question = Stack(), asked("Why?")
    stack.cancellations.known.add(("globex", question.meta.correlation_id))
    assert any(isinstance(event, AnswerCompleted) for event in await run(stack, question))


async def test_a_question_that_has_its_end_cannot_be_cancelled() -> None:
    stack, question = Stack(), asked("Why?")
    await ask(stack, question)
    stack.cancellations.known.add((TENANT, question.meta.correlation_id))
    assert cancel(question, stack.query) is None
    assert [type(event) for event in await run(stack, question)] == [AnswerCompleted]
