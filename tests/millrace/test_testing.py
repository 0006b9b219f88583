"""The memory runner: what a user's tests run on."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from millrace.agent import Batch, Result
from millrace.errors import InputRejected, WrongEventType
from millrace.testing import Memory, delivered, run
from tests.millrace.test_invoke import MIDDLE, REPLY, fused, relay, second, spec
from tests.streams.pump_world import Frame, Handled, Ordered, handled, ordered


class Count(msgspec.Struct, frozen=True):
    n: int = 0


def count(state: Count, event: Ordered) -> tuple[Count, Handled]:
    return Count(state.n + 1), Handled(tenant=event.tenant, lane=event.lane, n=state.n + 1)


def test_an_output_reaches_the_agent_that_reads_its_topic() -> None:
    outputs = run([spec(relay), spec(second, sources=(MIDDLE,), sinks=(REPLY,))], [ordered("a", 1)])
    assert [type(event) for event in outputs] == [Handled, Frame]
    assert outputs[1].meta.causation_id == outputs[0].meta.id


def test_a_fused_run_emits_what_its_stages_emit() -> None:
    stages = (spec(relay), spec(second, sources=(MIDDLE,), sinks=(REPLY,)))
    alone, joined = run(list(stages), [ordered("a", 1)]), run(fused(*stages), [ordered("a", 1)])
    assert [(event, event.meta.id) for event in alone] == [(event, event.meta.id) for event in joined]


def test_state_is_kept_per_key() -> None:
    outputs = run(
        spec(count, form="keyed", state=Count, wants_ports=False), [ordered("a", 1), ordered("b", 1), ordered("a", 2)]
    )
    assert [(event.lane, event.n) for event in outputs] == [("a", 1), ("b", 1), ("a", 2)]  # type: ignore[attr-defined]


async def test_a_batch_never_holds_two_events_of_a_key() -> None:
    batches: list[list[str]] = []

    async def gather(events: Sequence[Ordered]) -> Sequence[Result]:
        batches.append([event.lane for event in events])
        return [Result.ok(handled(event)) for event in events]

    memory = Memory(spec(gather, form="batch", batch=Batch(max_items=10)))
    await memory.feed([ordered("a", 1), ordered("b", 1), ordered("a", 2)])
    assert batches == [["a", "b"], ["a"]]


def test_what_a_worker_would_dead_letter_is_raised() -> None:
    def refuse(event: Ordered) -> Any:
        raise InputRejected("no")

    with pytest.raises(InputRejected):
        run(spec(refuse), [ordered("a", 1)])


def test_an_event_that_nobody_reads_is_refused() -> None:
    with pytest.raises(WrongEventType, match="no agent reads Handled"):
        run(spec(relay), [delivered(Handled(tenant="acme", lane="a", n=1))])


def test_events_without_metadata_get_the_same_each_time() -> None:
    plain = Ordered(tenant="acme", lane="a", n=1)
    [first], [again] = run(spec(relay), [plain]), run(spec(relay), [plain])
    assert first.meta.id == again.meta.id
