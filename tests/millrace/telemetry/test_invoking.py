"""Spans of agents: one for each input, below what caused it; a batch linked; nothing for what is not sampled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from millrace.agent import AgentSpec, Batch, Result
from millrace.cutting import split
from millrace.errors import InputRejected
from millrace.event import Event
from millrace.invoke import Invoker, Output, Progress
from millrace.stepping import Suspended
from millrace.telemetry import TraceContext, names
from millrace.telemetry.invoking import TracedInvoker, invoker_of
from millrace.telemetry.tracing import undecided
from millrace.topics import Topic
from tests.spans import path, traced
from tests.streams.pump_world import Handled, Ordered, handled, key_of, ordered

SOURCE = Topic(name="source", events=(Ordered,), key=key_of)
MIDDLE = Topic(name="middle", events=(Handled,), key=key_of)
TRACE = "0af7651916cd43dd8448eb211c80319c"
SAMPLED = f"00-{TRACE}-b7ad6b7169203331-01"
UNSAMPLED = f"00-{TRACE}-b7ad6b7169203331-00"


def spec(function: Any, **options: Any) -> AgentSpec:
    fields: dict[str, Any] = {
        "name": function.__name__, "function": function, "sources": (SOURCE,), "sinks": (MIDDLE,), "form": "single",
        "wants_ports": function.__code__.co_argcount == 2, **options,
    }  # fmt: skip
    return AgentSpec(**fields)


def relay(event: Ordered) -> Handled:
    return handled(event)


async def waiting(event: Ordered) -> Handled:
    await asyncio.sleep(0)
    return handled(event)


async def streaming(event: Ordered) -> AsyncIterator[Handled]:
    yield handled(event)


async def closing(event: Handled) -> None:
    await asyncio.sleep(0)


def refusing(event: Ordered) -> Handled:
    raise InputRejected("it is not for us")


def broken(event: Ordered) -> Handled:
    raise ValueError("ann@example.org")


async def batched(events: Sequence[Ordered]) -> list[Result]:
    return [Result.fail(InputRejected("no")) if event.n == 13 else Result.ok(handled(event)) for event in events]


class Sink:
    def __init__(self) -> None:
        self.outputs: list[Output] = []

    async def __call__(self, stage: str, outputs: Sequence[Output]) -> None:
        self.outputs += outputs


def trace_of(event: Event) -> TraceContext:
    return TraceContext(event.meta.traceparent, event.meta.tracestate)


def test_without_a_tracer_the_plain_invoker_runs() -> None:
    assert type(invoker_of(spec(relay))) is Invoker


def test_an_input_has_a_span_below_its_cause_and_its_output_carries_that_span() -> None:
    with traced() as (tracing, ended):
        [output] = TracedInvoker(spec(relay), tracing.tracer).begin(ordered("a", 1, traceparent=SAMPLED))  # type: ignore[misc]
        [span] = ended()
    assert (span.name, span.kind, span.trace_id, span.parent_id) == ("relay", "consumer", TRACE, "b7ad6b7169203331")
    assert trace_of(output.event).traceparent.split("-")[1:3] == [TRACE, span.span_id]
    assert trace_of(output.event).wanted
    assert span.attributes[names.OUTPUTS] == 1
    assert span.attributes.keys() <= names.ATTRIBUTES


@pytest.mark.parametrize("function", [relay, waiting, streaming])
async def test_what_is_not_sampled_has_no_span_and_goes_on_as_it_came(function: Any) -> None:
    with traced() as (tracing, ended):
        sink = Sink()
        invoker = TracedInvoker(spec(function), tracing.tracer)
        await invoker.run(ordered("a", 1, traceparent=UNSAMPLED, tracestate="x=y"), None, sink, Progress())
        assert [trace_of(output.event) for output in sink.outputs] == [TraceContext(UNSAMPLED, "x=y")]
        assert not ended()


async def test_an_agent_that_waits_has_one_span_that_ends_with_it() -> None:
    with traced() as (tracing, ended):
        invoker = TracedInvoker(spec(waiting), tracing.tracer)
        event = ordered("a", 1, traceparent=SAMPLED)
        begun = invoker.begin(event)
        assert isinstance(begun, Suspended)
        assert not ended()
        [output] = await invoker.resume(event, begun, asyncio.get_running_loop().time())
        [span] = ended()
    assert trace_of(output.event).traceparent.split("-")[2] == span.span_id


def fused() -> AgentSpec:
    stages = (spec(streaming), spec(closing, sources=(MIDDLE,), sinks=()))
    return spec(streaming, name="both", form="fused", stages=stages, sinks=(MIDDLE,))


async def paths(specs: Sequence[AgentSpec]) -> set[tuple[str, ...]]:
    """Ways from the root to each span when an event goes through agents, each on its own topic."""
    with traced() as (tracing, ended):
        events: list[Event] = [ordered("a", 1, correlation_id=TRACE, traceparent="", tracestate="")]
        for each in specs:
            sink = Sink()
            for event in events:
                await TracedInvoker(each, tracing.tracer).run(event, None, sink, Progress())
            events = [output.event for output in sink.outputs]
        spans = ended()
        assert {span.trace_id for span in spans} == {TRACE}
        return {tuple(path(spans, span)) for span in spans}


async def test_stages_are_in_one_tree_whether_they_run_fused_or_cut() -> None:
    assert await paths([fused()]) == {("both",), ("both", "streaming"), ("both", "streaming", "closing")}
    cut = await paths(split(fused(), frozenset({"closing"})))
    assert cut == {
        ("both",),
        ("both", "streaming"),
        ("both", "streaming", "closing"),  # the other process
        ("both", "streaming", "closing", "closing"),
    }


@pytest.mark.parametrize("ratio", [0.0, 1.0])
async def test_an_undecided_trace_is_decided_at_its_first_agent_and_keeps_its_id(ratio: float) -> None:
    context = undecided(TRACE)
    with traced(sample_ratio=ratio) as (tracing, ended):
        event = ordered("a", 1, traceparent=context.traceparent, tracestate=context.tracestate)
        [output] = TracedInvoker(spec(relay), tracing.tracer).begin(event)  # type: ignore[misc]
        found = trace_of(output.event)
        assert (found.trace_id, found.undecided, found.wanted) == (TRACE, False, bool(ratio))
        assert [(span.trace_id, span.parent_id) for span in ended()] == [(TRACE, "")] * int(ratio)


async def test_agents_decide_alike_about_the_same_trace() -> None:
    ids = random.Random(5)
    with traced(sample_ratio=0.5) as (one, _), traced(sample_ratio=0.5) as (other, _):
        decided = set()
        for n in range(64):
            event = ordered("a", n, correlation_id=f"{ids.getrandbits(128):032x}")
            verdicts = {
                trace_of(TracedInvoker(spec(relay), each.tracer).begin(event)[0].event).wanted  # type: ignore[index]
                for each in (one, other)
            }
            assert len(verdicts) == 1
            decided |= verdicts
    assert decided == {True, False}


async def test_a_batch_is_linked_to_its_inputs_and_each_input_has_a_span_of_its_own() -> None:
    with traced() as (tracing, ended):
        invoker = TracedInvoker(spec(batched, form="batch", batch=Batch(max_items=3)), tracing.tracer)
        events = [ordered("a", n, traceparent=f"00-{n:032x}-b7ad6b7169203331-01") for n in (1, 2, 13)]
        results = await invoker.run_batch(events, None)
        spans = ended()
    [batch] = [span for span in spans if span.name == "batched batch"]
    own = [span for span in spans if span.name == "batched"]
    assert {span.trace_id for span in own} == {f"{n:032x}" for n in (1, 2, 13)}
    assert set(batch.links) == {(span.trace_id, span.span_id) for span in own}
    assert batch.trace_id not in {span.trace_id for span in own}
    assert [span.trace_id for span in spans if span.failed] == [f"{13:032x}"]
    assert isinstance(results[2], InputRejected)


async def test_a_batch_of_one_needs_no_span_beside_its_input() -> None:
    with traced() as (tracing, ended):
        invoker = TracedInvoker(spec(batched, form="batch", batch=Batch(max_items=3)), tracing.tracer)
        await invoker.run_batch([ordered("a", 1, traceparent=SAMPLED)], None)
        assert [span.name for span in ended()] == ["batched"]


@pytest.mark.parametrize("function", [refusing, broken])
def test_a_failure_is_told_by_its_type_and_what_it_may_quote_is_left_out(function: Any) -> None:
    with traced() as (tracing, ended):
        with pytest.raises((InputRejected, ValueError)):
            TracedInvoker(spec(function), tracing.tracer).begin(ordered("a", 1, traceparent=SAMPLED))
        [span] = ended()
    assert span.failed
    assert span.events == (names.EXCEPTION,)
    assert "ann@example.org" not in span.text
    assert "not for us" not in span.text
    assert span.attributes[names.ERROR_TYPE] == ("rejected" if function is refusing else "exception")


async def test_what_is_called_meanwhile_is_below_the_input_and_afterwards_below_nothing() -> None:
    with traced() as (tracing, ended):

        async def asking(event: Ordered) -> Handled:
            await asyncio.sleep(0)
            span = tracing.tracer.below("embeddings", "client")
            assert span is not None
            span.end()
            return handled(event)

        await TracedInvoker(spec(asking), tracing.tracer).run(
            ordered("a", 1, traceparent=SAMPLED), None, Sink(), Progress()
        )
        assert tracing.tracer.below("embeddings", "client") is None
        spans = ended()
    [call] = [span for span in spans if span.name == "embeddings"]
    [agent] = [span for span in spans if span.name == "asking"]
    assert call.parent_id == agent.span_id
