"""One trace for each question and each document, through every process, at a server that takes spans by OTLP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.lineage import question_trace
from millrace.telemetry import names
from tests.faults.harness import FaultStack, embedded_stack
from tests.spans import Receiver, Seen, path, traced, whole

STAGES = ("admit", "retrieve", "read", "guard_answer", "answer")
PAGE = "# Harbour\n\nThe north gate of Oulu opens at six o'clock.\n"
QUESTION = "When does the north gate of Oulu open?"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver.running() as found:
        yield found


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[FaultStack]:
    with embedded_stack(tmp_path / "home") as found:
        yield found


def start(stack: FaultStack, receiver: Receiver, *agents: str) -> None:
    stack.start(
        agents=agents,
        telemetry__export="true",
        telemetry__endpoint=receiver.endpoint,
        telemetry__headers="x-key=k3y-of-the-collector",
        telemetry__interval_s="0.1",
    )


def of(spans: list[Seen], trace_id: str) -> list[Seen]:
    return [span for span in spans if span.trace_id == trace_id]


def named(spans: list[Seen], name: str) -> Seen:
    [found] = [span for span in spans if span.name == name]
    return found


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_a_question_and_a_document_have_one_trace_each_across_processes(
    stack: FaultStack, receiver: Receiver
) -> None:
    await asyncio.gather(
        asyncio.to_thread(start, stack, receiver, "agents.corpus"),
        asyncio.to_thread(start, stack, receiver, "agents.query"),
    )
    with traced() as (tracing, ended):
        async with Millrace(
            find_connection(home=stack.home), tenant="acme", timeout_s=30.0, tracer=tracing.tracer
        ) as millrace:
            receipt = await millrace.put_document("harbour.md", PAGE, groups=["*"])
            await millrace.wait(receipt)
            answer = await millrace.ask(QUESTION, after=receipt)
        ours = ended()
    assert answer.found
    asked, put = named(ours, "ask"), named(ours, "put_document")
    assert asked.trace_id == answer.trace_id == answer.correlation_id
    spans = receiver.until(
        lambda found: (
            {"answer_question", "publish"} <= {span.name for span in of(found, asked.trace_id)}
            and "index" in {span.name for span in of(found, put.trace_id)}
        )
    )

    question = [*of(spans, asked.trace_id), asked]
    run = named(question, "answer_question")
    assert path(question, run) == ["ask", "answer_question"]
    assert path(question, named(question, "answer")) == ["ask", "answer_question", *STAGES]
    embedding = next(span for span in question if span.name.startswith("embeddings "))
    assert path(question, embedding)[-2:] == ["retrieve", embedding.name]
    assert embedding.attributes[names.GEN_AI_OPERATION] == "embeddings"
    searched = [span for span in question if names.DB_OPERATION in span.attributes]
    assert {path(question, span)[-2] for span in searched} <= {"retrieve", "read", "guard_answer"}
    assert searched

    document = [*of(spans, put.trace_id), put]
    assert path(document, named(document, "featurize"))[:2] == ["put_document", "featurize"]
    indexed = [path(document, span) for span in document if span.name == "index"]
    assert ["put_document", "featurize", "index"] in indexed
    assert "upsert lancedb" in {span.name for span in document}

    assert {span.service for span in spans} == {"millrace"}
    assert len({span.instance for span in question}) == 2, "the asker and one worker"
    assert {key for span in spans for key in span.attributes} <= names.ATTRIBUTES
    assert {event for span in [*spans, *ours] for event in span.events} <= names.EVENTS
    for told in (*spans, *ours):
        assert not any(text in told.text for text in ("north gate", "Oulu", "harbour.md")), told.name
    assert {headers.get("x-key") for _, headers in receiver.requests} == {"k3y-of-the-collector"}


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_a_cut_run_keeps_one_trace_over_two_workers_though_its_asker_traces_nothing(
    stack: FaultStack, receiver: Receiver
) -> None:
    await asyncio.gather(
        asyncio.to_thread(start, stack, receiver, "agents.corpus", "tests.system.cut_front", "agents.query.admit"),
        asyncio.to_thread(start, stack, receiver, "tests.system.cut_back", "agents.query.read"),
    )
    async with Millrace(find_connection(home=stack.home), tenant="acme", timeout_s=30.0) as millrace:
        await millrace.wait(await millrace.put_document("harbour.md", PAGE, groups=["*"]))
        answers = [await millrace.ask(f"{QUESTION} {n}") for n in range(3)]

    def complete(spans: list[Seen]) -> bool:
        traces = [of(spans, answer.trace_id) for answer in answers]
        return all("answer" in {span.name for span in found} and whole(found) for found in traces)

    spans = receiver.until(complete)
    for answer in answers:
        found = of(spans, answer.trace_id)
        ends = path(found, named(found, "answer"))
        assert ends == ["answer_question", "admit", "retrieve", "read", "read", "guard_answer", "answer"]
        assert len({span.instance for span in found}) == 2, "each worker had a part of it"
        assert question_trace(millrace.connection, answer.trace_id).entries, "the log knows it by the same name"


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_an_endpoint_that_is_away_costs_spans_and_nothing_else(stack: FaultStack, receiver: Receiver) -> None:
    worker = stack.start(
        telemetry__export="true",
        telemetry__endpoint="http://127.0.0.1:9/v1/traces",
        telemetry__interval_s="0.1",
        telemetry__queue="16",
        telemetry__batch="8",
        telemetry__timeout_s="1",
    )
    async with Millrace(find_connection(home=stack.home), tenant="acme", timeout_s=30.0) as millrace:
        receipts = [await millrace.put_document(f"{n}.md", PAGE, groups=["*"]) for n in range(10)]
        await millrace.wait(receipts)
        await millrace.ask(QUESTION, after=receipts[-1])
    code, seconds = await asyncio.to_thread(worker.stop)
    assert code == 0
    assert seconds < 20
