"""Questions on the manual are answered, and what is timed is the first piece that is streamed."""

import pytest

from agents.ports import QueryPorts
from bench.asking import Ports, in_process
from bench.manual import N_CHAMBERS, TENANT, manual, questions
from bench.null_adapters import GuardSwitch
from millrace.errors import InputRejected
from tests.agents_in_memory import publish
from tests.builders import changed
from tests.fakes import Stack


async def stocked(n_chambers: int = 3) -> Stack:
    stack = Stack()
    for name, text in manual(n_chambers):
        await publish(stack, changed(text, document=name, tenant=TENANT))
    return stack


def test_no_two_questions_are_alike_and_each_run_has_the_same_ones() -> None:
    asked = questions("a", 200)
    assert len(set(asked)) == 200
    assert asked == questions("a", 200)
    assert not set(asked) & set(questions("b", 200))


@pytest.mark.parametrize("n_chambers", [3, N_CHAMBERS])
async def test_every_kind_of_question_is_answered_from_the_manual(n_chambers: int) -> None:
    stack = await stocked(n_chambers)
    asked = questions("kinds", 24, n_chambers)
    times = await in_process(stack.query, asked)
    assert len(times) == len(asked)
    assert min(times) > 0


async def test_a_question_without_a_streamed_answer_is_no_measurement() -> None:
    with pytest.raises(InputRejected, match="nothing was streamed"):
        await in_process((await stocked()).query, ["Who won the cup in 1954?"])


async def test_guards_that_are_switched_off_look_at_nothing() -> None:
    stack, switch = await stocked(), GuardSwitch()
    ports: QueryPorts = switch.adapt(stack.query)
    switch.on = False
    await in_process(ports, questions("off", 4, 3))
    assert (stack.scanner.begun, stack.scanner.scans) == ([], [])
    switch.on = True
    await in_process(ports, questions("on", 4, 3))
    assert stack.scanner.begun == questions("on", 4, 3)


async def test_the_switch_leaves_everything_else_as_it_was_set() -> None:
    stack, switch = Stack(), GuardSwitch()
    switch.on = False
    ports: QueryPorts = switch.adapt(stack.query)
    assert ports.guard.link_hosts == stack.guard_policy.link_hosts
    assert not ports.guard.questions
    assert switch.adapt(stack.corpus) == stack.corpus
    assert not switch.adapt(stack.guard).guard.documents


def test_ports_of_questions_are_known_once_their_agents_run() -> None:
    ports, stack = Ports(), Stack()
    ports.adapt(stack.corpus)
    with pytest.raises(LookupError, match="question path"):
        _ = ports.of_questions
    assert ports.adapt(stack.query) == ports.of_questions
