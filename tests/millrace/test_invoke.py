"""Execution of agents without any runner: outputs, metadata, deadlines, fused stages."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from millrace.agent import AgentSpec, Batch, Result
from millrace.cutting import split
from millrace.errors import (
    ConfigurationError,
    ContractError,
    DeadlineExceeded,
    InputRejected,
    TenantMismatch,
    Unavailable,
    WrongEventType,
)
from millrace.event import Event, attach
from millrace.events.feedback import FeedbackGiven
from millrace.ids import output_id
from millrace.invoke import CLOCK_SKEW_S, Invoker, Output, Progress
from millrace.topics import FEEDBACK_GIVEN, Topic
from tests.streams.pump_world import Frame, Handled, Ordered, handled, key_of, ordered

SOURCE = Topic(name="source", events=(Ordered,), key=key_of)
MIDDLE = Topic(name="middle", events=(Handled,), key=key_of)
ASKED_MS = 1_700_000_000_000  # the time of `ordered` events
REPLY = Topic(name="reply", events=(Frame,), key=key_of, reply=True)


def spec(function: Any, **options: Any) -> AgentSpec:
    fields: dict[str, Any] = {
        "name": function.__name__, "function": function, "sources": (SOURCE,), "sinks": (MIDDLE,), "form": "single",
        "wants_ports": function.__code__.co_argcount == 2, **options,
    }  # fmt: skip
    return AgentSpec(**fields)


class Sink:
    def __init__(self) -> None:
        self.outputs: list[tuple[str, Event]] = []

    async def __call__(self, stage: str, outputs: Sequence[Output]) -> None:
        self.outputs += [(stage, output.event) for output in outputs]


def relay(event: Ordered) -> Handled:
    return handled(event)


def outputs(invoker: Invoker, event: Event) -> list[Output]:
    found = invoker.begin(event)
    assert isinstance(found, list)
    return found


def test_an_output_carries_an_id_and_metadata_derived_from_its_cause() -> None:
    event = ordered("a", 1, traceparent="00-x-y-01", reply_to="r", reply_partition=2, deadline_ms=5)
    [(topic, output)] = outputs(Invoker(spec(relay)), event)
    meta = output.meta
    assert topic is MIDDLE
    assert meta.id == output_id("a-1", "relay", "test.pump.Handled", "")
    assert (meta.causation_id, meta.correlation_id, meta.time_us) == ("a-1", "c-a-1", event.meta.time_us)
    assert (meta.traceparent, meta.reply_to, meta.reply_partition, meta.deadline_ms) == ("00-x-y-01", "r", 2, 5)
    assert (meta.source, meta.tenant) == ("millrace/agent/relay", "acme")


def test_an_output_that_is_one_event_whatever_caused_it_has_one_id() -> None:
    def conclude(event: Ordered) -> FeedbackGiven:
        return FeedbackGiven(tenant="acme", conversation="c", correlation="q", kind="copied", implicit=event.n < 3)

    invoker = Invoker(spec(conclude, sinks=(FEEDBACK_GIVEN,)))
    one, other, said, said_again = (outputs(invoker, ordered("a", number))[0].event.meta.id for number in (1, 2, 3, 4))
    assert one == other
    assert len({one, said, said_again}) == 3, "what a cause tells apart is not one event"


def test_an_input_without_correlation_begins_one() -> None:
    [(_, output)] = outputs(Invoker(spec(relay)), ordered("a", 1, correlation_id=""))
    assert output.meta.correlation_id == "a-1"


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (Frame(tenant="acme", lane="a"), WrongEventType),
        (Handled(tenant="other", lane="a", n=1), TenantMismatch),
        ([Handled(tenant="acme", lane="a", n=1), Handled(tenant="acme", lane="a", n=2)], ContractError),
    ],
)
def test_an_output_that_breaks_the_contract_is_refused(returned: Any, error: type[Exception]) -> None:
    def wrong(event: Ordered) -> Any:
        return returned

    with pytest.raises(error, match="agent 'wrong' emitted"):
        Invoker(spec(wrong)).begin(ordered("a", 1))


def test_two_sinks_for_one_event_type_are_refused() -> None:
    other = Topic(name="other", events=(Handled,), key=key_of)
    with pytest.raises(ConfigurationError, match="could go to middle or other"):
        Invoker(spec(relay, sinks=(MIDDLE, other)))


async def test_pieces_of_a_generator_go_out_as_they_come() -> None:
    sink = Sink()
    seen: list[int] = []

    async def stream(event: Ordered) -> AsyncIterator[Frame]:
        for n in range(3):
            seen.append(len(sink.outputs))
            yield Frame(tenant=event.tenant, lane=event.lane, n=n, terminal=n == 2)

    await Invoker(spec(stream, sinks=(REPLY,))).run(ordered("a", 1), None, sink, Progress())
    assert seen == [0, 1, 2]


async def test_a_batch_that_raises_is_tried_one_by_one() -> None:
    async def batch(events: Sequence[Ordered]) -> Sequence[Result]:
        if any(event.n == 2 for event in events):
            raise InputRejected("two")
        return [Result.ok(handled(event)) for event in events]

    invoker = Invoker(spec(batch, form="batch", batch=Batch(max_items=8)))
    one, two, three = await invoker.run_batch([ordered("a", 1), ordered("b", 2), ordered("c", 3)], None)
    assert isinstance(two, InputRejected)
    assert [output.event for result in (one, three) for output in result] == [  # type: ignore[union-attr]
        handled(ordered("a", 1)), handled(ordered("c", 3)),
    ]  # fmt: skip


async def test_an_outage_in_a_batch_is_not_repeated_per_input() -> None:
    calls: list[int] = []

    async def batch(events: Sequence[Ordered]) -> Sequence[Result]:
        calls.append(len(events))
        raise Unavailable("down")

    invoker = Invoker(spec(batch, form="batch", batch=Batch(max_items=8)))
    results = await invoker.run_batch([ordered("a", 1), ordered("b", 2)], None)
    assert calls == [2]
    assert all(isinstance(result, Unavailable) for result in results)


async def test_a_batch_owes_one_result_per_input() -> None:
    async def batch(events: Sequence[Ordered]) -> Sequence[Result]:
        return []

    [result] = await Invoker(spec(batch, form="batch", batch=Batch())).run_batch([ordered("a", 1)], None)
    assert isinstance(result, ContractError)


def fused(*stages: AgentSpec, **options: Any) -> AgentSpec:
    first = stages[0]
    sinks = tuple(dict.fromkeys(topic for stage in stages for topic in stage.sinks))
    return spec(first.function, name="run", form="fused", stages=stages, sinks=sinks, **options)


def second(event: Handled) -> Frame:
    return Frame(tenant=event.tenant, lane=event.lane, n=event.meta.attempt)


async def test_a_stage_gets_the_attempt_and_the_time_of_the_stages_before() -> None:
    times = iter(range(100))
    got: list[Any] = []

    def look(event: Handled) -> None:
        got.append(event.meta)

    run = fused(spec(relay), spec(look, sources=(MIDDLE,), sinks=()))
    event = ordered("a", 1, attempt=7)
    sink = Sink()
    await Invoker(run, clock=lambda: float(next(times))).run(event, None, sink, Progress())
    assert got[0].attempt == 7
    assert list(got[0].timings_ms) == ["relay"]
    assert [stage for stage, _ in sink.outputs] == ["relay"]


async def test_a_finished_stage_is_not_run_again_but_its_terminal_frame_is_sent_again() -> None:
    calls: list[str] = []

    def count(event: Ordered) -> Handled:
        calls.append("count")
        return handled(event)

    run = fused(spec(count), spec(second, sources=(MIDDLE,), sinks=(REPLY,)))
    progress, sink, again = Progress(), Sink(), Sink()
    await Invoker(run).run(ordered("a", 1), None, sink, progress)
    await Invoker(run).run(ordered("a", 1), None, again, progress)
    assert calls == ["count"]
    assert [type(event) for _, event in again.outputs] == [Frame]


def asked(*, allowed_ms: int) -> Ordered:
    """A question with so much time, by its asker's clock."""
    return ordered("a", 1, deadline_ms=ASKED_MS + allowed_ms)


@pytest.mark.parametrize("ahead_ms", [-3_600_000, 0, 3_600_000])
async def test_a_clock_that_is_off_by_an_hour_fails_no_question_and_gives_none_more_time(ahead_ms: int) -> None:
    now = [100.0]
    invoker = Invoker(
        spec(relay, on_failure=lambda *_: []), clock=lambda: now[0], wall_ms=lambda: float(ASKED_MS + ahead_ms)
    )
    question, sink = asked(allowed_ms=2000), Sink()
    await invoker.run(question, None, sink, Progress(received_s=99.0))
    assert len(sink.outputs) == 1
    now[0] = 101.5  # a retry: the budget counts from receipt, not from the last try
    with pytest.raises(DeadlineExceeded):
        await invoker.run(question, None, Sink(), Progress(received_s=99.0))


async def test_a_question_whose_asker_is_long_gone_is_not_computed() -> None:
    invoker = Invoker(spec(relay, on_failure=lambda *_: []), wall_ms=lambda: ASKED_MS + 2000 + CLOCK_SKEW_S * 1000 + 1)
    with pytest.raises(DeadlineExceeded):
        await invoker.run(asked(allowed_ms=2000), None, Sink(), Progress())


def test_the_smaller_of_timeout_and_deadline_is_the_budget() -> None:
    class Timed(Ordered, frozen=True, kw_only=True):
        timeout_ms: int = 500

    plain = asked(allowed_ms=2000)
    timed = attach(Timed(tenant=plain.tenant, lane="a", n=1), plain.meta)
    invoker = Invoker(spec(relay, on_failure=lambda *_: []), wall_ms=lambda: plain.meta.time_us / 1000)
    assert (invoker.budget_s(plain), invoker.budget_s(timed)) == (2.0, 0.5)
    assert Invoker(spec(relay)).budget_s(timed) is None


async def test_the_deadline_is_looked_at_before_each_stage() -> None:
    now = [0.0]
    called: list[str] = []

    def slow(event: Ordered) -> Handled:
        now[0] += 3
        return handled(event)

    def late(event: Handled) -> None:
        called.append("late")

    run = fused(spec(slow), spec(late, sources=(MIDDLE,), sinks=()), on_failure=lambda *_: [])
    progress = Progress()
    with pytest.raises(DeadlineExceeded):
        await Invoker(run, clock=lambda: now[0], wall_ms=lambda: 1000.0).run(
            asked(allowed_ms=2000), None, Sink(), progress
        )
    assert called == []
    assert progress.stage == "late"


def test_a_run_is_cut_before_a_stage_and_each_part_reads_its_own_input() -> None:
    run = fused(spec(relay), spec(second, sources=(MIDDLE,), sinks=(REPLY,)), on_failure=lambda *_: [])
    first_part, second_part = split(run, {"second"})
    assert (first_part.name, second_part.name) == ("run", "second")
    assert second_part.sources == (MIDDLE,)
    assert [stage.name for stage in first_part.stages] == ["relay"]
    assert split(run, set()) == [run]
    assert all(part.on_failure is run.on_failure for part in (first_part, second_part))
