"""Every question ends once, by its deadline, whoever dies (I6)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from millrace.client import Answer, Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from millrace.topics import QUERY_RECEIVED, REPLY
from tests.faults.ends import End, broken_ends, ends_of
from tests.faults.harness import FaultStack
from tests.faults.log_access import ends
from tests.faults.report import FaultRow
from tests.faults.workload import scaled

GROUPS = {"millrace.answer_question": (QUERY_RECEIVED.name,)}
Note = Callable[[FaultRow], None]


@dataclass
class Asked:
    """Answers as the askers had them, and what the reply topic says of each question."""

    before: list[Answer]
    during: list[Answer]
    after: list[Answer]
    told: dict[str, list[End]]
    slowest_s: float


def test_a_question_asked_of_a_killed_worker_ends_once_in_one_way(stack: FaultStack, tag: str, fault_row: Note) -> None:
    """I6: what was answered or in flight is delivered again, to a worker that would answer otherwise by now."""
    asked = _across_a_kill(stack, tag)
    every = [answer.correlation_id for answer in (*asked.before, *asked.during, *asked.after)]
    assert broken_ends(every, asked.told) == []
    assert all(len(asked.told[each.correlation_id]) == 1 for each in asked.after), "more frames than deliveries"
    assert any(len(asked.told[each.correlation_id]) > 1 for each in asked.before), "nothing was delivered again"
    note = f"{len(every)} questions, {len(asked.during)} of them in flight, slowest end after {asked.slowest_s:.1f} s"
    fault_row(FaultRow("I6 kill -9, questions", stack.kind, note=note))


def test_a_worker_that_does_not_know_what_was_answered_ends_questions_in_two_ways(stack: FaultStack, tag: str) -> None:
    """Control of I6."""
    assert broken_ends([], _across_a_kill(stack, tag, without="ends").told)


def _across_a_kill(stack: FaultStack, tag: str, without: str = "") -> Asked:
    """Ask, kill the worker while more is asked, change what would be answered, and let another worker go on."""
    tenant, n_each = f"{tag}-00", scaled(400, 40)
    stack.start(agents=["agents.corpus"])
    # Without a commit, all is delivered again.
    worker = stack.start(f"asked-{tag}", agents=["agents.query"], worker__commit_interval_ms="600000")

    async def put(client: Millrace, version: int) -> None:
        texts = {f"{n}.md": f"The mill of village {n} has {version} stones. " * 3 for n in range(4)}
        receipts = [await client.put_document(name, text, groups=["*"]) for name, text in texts.items()]
        assert {each.outcome for each in await client.wait(receipts, 60)} == {"indexed"}

    async def run() -> tuple[list[Answer], list[Answer], list[Answer], float]:
        async with Millrace(find_connection(home=stack.home), tenant=tenant) as client:

            def ask(n: int) -> list[asyncio.Task[Answer]]:
                return [asyncio.create_task(client.search("mill stones", timeout_s=60)) for _ in range(n)]

            await put(client, 1)
            before = await asyncio.gather(*ask(n_each))
            began, asked = time.monotonic(), ask(n_each)
            await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            worker.kill()
            await put(client, 2)
            await asyncio.to_thread(stack.start, f"asked-{tag}", agents=["agents.query"], without=without)
            during = await asyncio.gather(*asked)
            seconds = time.monotonic() - began
            return list(before), list(during), list(await asyncio.gather(*ask(5))), seconds

    before, during, after, seconds = asyncio.run(run())
    stack.drained(GROUPS)
    return Asked(before, during, after, ends_of(stack.records((REPLY.name,)), [tenant]), seconds)


def test_a_question_that_no_worker_hears_ends_at_its_deadline_at_the_asker(stack: FaultStack, tag: str) -> None:
    """I6 with every worker dead. That no reply is in the log shows that only the asker can have ended it."""

    async def ask() -> tuple[str, float]:
        async with Millrace(find_connection(home=stack.home), tenant=tag) as client:
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                await client.search("anything", timeout_s=1.5)
            except RequestFailed as failure:
                return failure.reason, loop.time() - began
        return "answered", 0.0

    before = ends(stack.bootstrap, (REPLY.name,))
    reason, seconds = asyncio.run(ask())
    assert reason == "deadline_exceeded"
    assert 1.5 <= seconds <= 2.0
    assert ends(stack.bootstrap, (REPLY.name,)) == before
