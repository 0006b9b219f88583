"""Laws about inputs that nobody waits for any more: they end soon, once, and are told from a shutdown."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest

from millrace.abandoning import NEVER
from millrace.agent import CATALOGUE, AgentSpec, Batch, Result, agent, fuse, spec_of
from millrace.cutting import split
from millrace.errors import ConfigurationError, InputAbandoned, Unavailable, error_type
from millrace.event import Event
from millrace.invoke import Invoker, Output, Progress
from millrace.topics import Topic
from tests.streams.pump_world import Frame, Handled, Ordered, handled, key_of, ordered

SOURCE = Topic(name="source", events=(Ordered,), key=key_of)
MIDDLE = Topic(name="middle", events=(Handled,), key=key_of)
REPLY = Topic(name="reply", events=(Frame,), key=key_of, reply=True)
TURNS = 8


class Asker:
    """Whoever waits for one input."""

    def __init__(self) -> None:
        self.signal: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked_for: list[str] = []

    def cancel(self, event: Event, _: Any) -> Awaitable[None]:
        self.asked_for.append(event.meta.id)
        return self.signal

    def give_up(self) -> None:
        if not self.signal.done():
            self.signal.set_result(None)


class Sink:
    """What an input led to; `then` runs with each piece."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.events: list[Event] = []
        self._then = then

    async def __call__(self, _: str, outputs: Sequence[Output]) -> None:
        self.events += [output.event for output in outputs]
        self._then()


class Slow:
    """An agent that waits for a gate, and says whether it was let go on."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left: list[str] = []

    async def work(self, event: Ordered) -> Handled:
        self.entered.set()
        try:
            await self.gate
        except BaseException as error:
            self.left.append(type(error).__name__)
            raise
        return handled(event)


def spec(function: Any, **options: Any) -> AgentSpec:
    fields: dict[str, Any] = {
        "name": function.__name__, "function": function, "sources": (SOURCE,), "sinks": (MIDDLE,), "form": "single",
        **options,
    }  # fmt: skip
    return AgentSpec(**fields)


def fused(*stages: AgentSpec, **options: Any) -> AgentSpec:
    return spec(stages[0].function, name="run", form="fused", stages=stages, sinks=(MIDDLE, REPLY), **options)


def answer(event: Handled) -> Frame:
    return Frame(tenant=event.tenant, lane=event.lane)


def start(asker: Asker, chosen: AgentSpec, sink: Sink, progress: Progress | None = None) -> "asyncio.Task[None]":
    invoker = Invoker(chosen)
    return asyncio.create_task(invoker.run(ordered("a", 1), None, sink, progress or Progress()))


async def turns() -> None:
    """Let the event loop go round a few times, without waiting for anything."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_what_a_stage_awaits_is_interrupted_as_soon_as_nobody_waits() -> None:
    asker, slow, sink = Asker(), Slow(), Sink()
    running = start(asker, spec(slow.work, cancel=asker.cancel), sink)
    await slow.entered.wait()
    asker.give_up()
    await turns()
    assert running.done()
    with pytest.raises(InputAbandoned, match="input a-1 of agent 'work' was cancelled") as found:
        running.result()
    assert error_type(found.value) == "cancelled"
    assert (slow.left, sink.events, asker.asked_for) == (["CancelledError"], [], ["a-1"])


async def test_an_input_that_was_given_up_before_is_not_begun() -> None:
    asker, slow = Asker(), Slow()
    asker.give_up()
    with pytest.raises(InputAbandoned):
        await start(asker, spec(slow.work, cancel=asker.cancel), Sink())
    assert not slow.entered.is_set()


async def test_the_next_stage_is_not_begun_and_the_run_names_it() -> None:
    asker = Asker()
    progress, sink = Progress(), Sink(asker.give_up)

    def first(event: Ordered) -> Handled:
        return handled(event)

    run = fused(spec(first), spec(answer, sources=(MIDDLE,), sinks=(REPLY,)), cancel=asker.cancel)
    with pytest.raises(InputAbandoned):
        await start(asker, run, sink, progress)
    assert [type(event) for event in sink.events] == [Handled]
    assert progress.stage == "answer"


@pytest.mark.parametrize("also_given_up", [False, True])
async def test_a_shutdown_stays_a_cancellation(*, also_given_up: bool) -> None:
    asker, slow = Asker(), Slow()
    running = start(asker, spec(slow.work, cancel=asker.cancel), Sink())
    await slow.entered.wait()
    if also_given_up:
        asker.give_up()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def test_a_shutdown_while_a_given_up_stage_cleans_up_stays_a_cancellation() -> None:
    asker, cleaning = Asker(), asyncio.Event()

    async def work(event: Ordered) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.Event().wait()

    running = start(asker, spec(work, cancel=asker.cancel), Sink())
    await turns()
    asker.give_up()
    await cleaning.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def test_a_stage_that_ends_in_the_same_moment_keeps_its_result() -> None:
    asker, slow = Asker(), Slow()
    left = asyncio.Event()

    class Late(Sink):
        async def __call__(self, stage: str, outputs: Sequence[Output]) -> None:
            left.set()
            await turns()  # an interruption that comes too late would hit this
            await super().__call__(stage, outputs)

    sink = Late()
    running = start(asker, spec(slow.work, cancel=asker.cancel), sink)
    await slow.entered.wait()
    slow.gate.set_result(None)
    asker.give_up()
    await running
    assert left.is_set()
    assert sink.events == [handled(ordered("a", 1))]


async def test_after_its_terminal_frame_an_input_cannot_be_given_up() -> None:
    asker = Asker()

    async def streaming(event: Ordered) -> AsyncIterator[Frame | Handled]:
        yield Frame(tenant=event.tenant, lane=event.lane)
        yield handled(event)

    sink = Sink(asker.give_up)
    await start(asker, spec(streaming, sinks=(MIDDLE, REPLY), cancel=asker.cancel), sink)
    assert [type(event) for event in sink.events] == [Frame, Handled]
    assert asker.signal.cancelled()


async def test_what_follows_a_terminal_frame_is_finished_even_if_it_is_tried_again() -> None:
    asker, tries = Asker(), []

    def first(event: Ordered) -> Sequence[Event]:
        return [Frame(tenant=event.tenant, lane=event.lane), handled(event)]

    def second(event: Handled) -> Handled:
        tries.append(event.n)
        if len(tries) == 1:
            raise Unavailable("down")
        return event

    run = fused(spec(first, sinks=(MIDDLE, REPLY)), spec(second, sources=(MIDDLE,)), cancel=asker.cancel)
    progress, again = Progress(), Sink()
    with pytest.raises(Unavailable):
        await Invoker(msgspec.structs.replace(run, cancel=None)).run(ordered("a", 1), None, Sink(), progress)
    asker.give_up()
    await start(asker, run, again, progress)
    assert [type(event) for event in again.events] == [Frame, Handled]


async def test_a_frame_that_waited_for_acknowledgements_is_sent_again_and_nothing_else() -> None:
    asker = Asker()

    def first(event: Ordered) -> Handled:
        return handled(event)

    run = fused(spec(first), spec(answer, sources=(MIDDLE,), sinks=(REPLY,)))
    progress, again = Progress(), Sink()
    await Invoker(run).run(ordered("a", 1), None, Sink(), progress)
    asker.give_up()
    await start(asker, fused(*run.stages, cancel=asker.cancel), again, progress)
    assert [type(event) for event in again.events] == [Frame]


async def test_a_stream_is_closed_when_it_is_interrupted() -> None:
    asker, closed = Asker(), asyncio.Event()

    async def streaming(event: Ordered) -> AsyncIterator[Frame]:
        try:
            yield Frame(tenant=event.tenant, lane=event.lane, terminal=False)
            await asyncio.Event().wait()
        finally:
            closed.set()

    sink = Sink()
    running = start(asker, spec(streaming, sinks=(REPLY,), cancel=asker.cancel), sink)
    await turns()
    assert len(sink.events) == 1
    asker.give_up()
    with pytest.raises(InputAbandoned):
        await running
    assert closed.is_set()


async def test_a_stream_is_closed_when_it_is_given_up_between_two_pieces() -> None:
    asker, closed = Asker(), asyncio.Event()

    async def streaming(event: Ordered) -> AsyncIterator[Frame]:
        try:
            for n in range(3):
                yield Frame(tenant=event.tenant, lane=event.lane, n=n, terminal=False)
        finally:
            closed.set()

    sink = Sink(asker.give_up)
    with pytest.raises(InputAbandoned):
        await start(asker, spec(streaming, sinks=(REPLY,), cancel=asker.cancel), sink)
    assert closed.is_set()
    assert len(sink.events) == 1


@pytest.mark.parametrize("end", [asyncio.Future.cancel, lambda signal: signal.set_exception(ValueError("lost"))])
async def test_a_signal_that_fails_says_nothing(end: Callable[["asyncio.Future[None]"], object]) -> None:
    asker, slow, sink = Asker(), Slow(), Sink()
    running = start(asker, spec(slow.work, cancel=asker.cancel), sink)
    await slow.entered.wait()
    end(asker.signal)
    await turns()
    slow.gate.set_result(None)
    await running
    assert len(sink.events) == 1


async def test_a_limit_of_time_holds_while_somebody_may_give_up() -> None:
    asker, slow = Asker(), Slow()
    with pytest.raises(TimeoutError):
        await start(asker, spec(slow.work, cancel=asker.cancel, timeout_s=0.001), Sink())
    assert slow.left == ["CancelledError"]


async def test_a_coroutine_may_say_when_to_give_up() -> None:
    given_up, slow = asyncio.Event(), Slow()

    async def cancel(event: Event, ports: Any) -> None:
        await given_up.wait()

    running = start(Asker(), spec(slow.work, cancel=cancel), Sink())
    await slow.entered.wait()
    given_up.set()
    with pytest.raises(InputAbandoned):
        await running


async def test_inputs_that_ended_leave_no_task_and_no_watcher() -> None:
    before, askers = asyncio.all_tasks(), []
    for n in range(100):
        asker, slow = Asker(), Slow()
        askers.append(asker)
        running = start(asker, spec(slow.work, cancel=asker.cancel), Sink())
        await slow.entered.wait()
        if n % 2:
            asker.give_up()
        else:
            slow.gate.set_result(None)
        await asyncio.wait([running])
        assert (running.exception() is not None) == bool(n % 2)
    await turns()
    assert asyncio.all_tasks() == before
    assert all(asker.signal.done() and not asker.signal._callbacks for asker in askers)


def test_without_a_hook_nothing_is_watched_and_a_plain_function_runs_inline() -> None:
    def relay(event: Ordered) -> Handled:
        return handled(event)

    assert Invoker(spec(relay)).watch(ordered("a", 1), None) is NEVER
    assert Invoker(spec(relay)).inline
    assert not Invoker(spec(relay, cancel=lambda *_: None)).inline
    assert Invoker(spec(relay, cancel=lambda *_: None)).watch(ordered("a", 1), None) is NEVER


def test_a_run_has_the_hook_of_its_first_stage_and_so_have_its_parts() -> None:
    def cancel(event: Event, ports: Any) -> None:
        return None

    @agent(source=SOURCE, sinks=(MIDDLE,), cancel=cancel, name="abandoning.first")
    def first(event: Ordered) -> Handled:
        return handled(event)

    @agent(source=MIDDLE, sinks=(REPLY,), name="abandoning.second")
    def second(event: Handled) -> Frame:
        return answer(event)

    assert spec_of(first).cancel is cancel
    run = fuse("abandoning.run", first, second)
    CATALOGUE.pop(run.name)
    assert [part.cancel for part in split(run, {"abandoning.second"})] == [cancel, cancel]


def test_an_agent_of_many_inputs_cannot_give_up_one() -> None:
    with pytest.raises(ConfigurationError, match="for agents of one event"):

        @agent(source=SOURCE, batch=Batch(), cancel=lambda *_: None)
        async def many(events: Sequence[Ordered]) -> Sequence[Result]:
            return []
