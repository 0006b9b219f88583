"""Two workers share the work; one is killed and replaced, and neither a receipt nor a conversation notices."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from millrace.client import Answer, Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from millrace.events.query import Receipt
from millrace.lineage import question_trace
from streams.visibility import watermark
from tests.brokers import KafkaParts
from tests.faults.harness import FaultStack, embedded_stack, kafka_stack
from tests.faults.worker import Worker

N_DOCUMENTS, N_CONVERSATIONS = 300, 4
COUNTER = "What is the reading of the brass counter?"


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FaultStack]:
    """A stack of this test's own, on each broker in turn."""
    if request.param == "embedded":
        with embedded_stack(tmp_path / "home") as found:
            yield found
        return
    parts: KafkaParts = request.getfixturevalue("kafka_installed")
    with kafka_stack(tmp_path / "kafka", jars=parts.jars, java=parts.java) as found:
        yield found


def start(stack: FaultStack, *, wait: bool = True) -> Worker:
    """A worker whose session outlives that it gets little of a busy machine; a killed one is missed for as long."""
    return stack.start(wait=wait, worker__session_timeout_ms="6000", worker__heartbeat_interval_ms="1000")


class Conversation:
    """Asks for a document that changes all the time, again and again."""

    def __init__(self, millrace: Millrace, name: str) -> None:
        self._millrace = millrace
        self._name = name
        self.answers: list[Answer] = []
        self.refusals = 0

    async def run(self, done: asyncio.Event) -> None:
        """Ask until told that it is enough."""
        while not done.is_set():
            await self.ask()

    async def ask(self, after: tuple[Receipt, ...] = ()) -> None:
        """Ask once; where the counter turns meanwhile the answer is taken back, and a worker may be not up to date."""
        try:
            self.answers.append(await self._millrace.ask(COUNTER, conversation=self._name, after=after))
        except RequestFailed as error:
            if error.reason not in {"not_ready", "retracted"}:
                raise AssertionError(f"{error}: {await asyncio.to_thread(self._path, str(error))}") from error
            self.refusals += 1

    def _path(self, message: str) -> list[str]:
        """What the log says of the question that a message names."""
        named = re.search(r"[0-9a-f]{32}", message)
        found = question_trace(self._millrace.connection, named[0]).entries if named else ()
        return [f"{entry.time} {entry.type} {entry.position} {entry.what}" for entry in found]

    def versions(self) -> list[int]:
        """Versions of the counter that were quoted, in the order of the answers."""
        return [quote.version for answer in self.answers for quote in answer.citations if quote.document == "counter"]

    def steps_back(self) -> list[str]:
        """Answers of an older state than the answer before."""
        found = []
        for before, after in pairwise(self.answers):
            _, old = watermark.parse(before.watermark)
            _, new = watermark.parse(after.watermark)
            if not watermark.reached(new, old):
                found.append(f"{before.watermark} before {after.watermark}")
        versions = self.versions()
        return found + [f"version {a} before {b}" for a, b in pairwise(versions) if b < a]


async def turn_counter(millrace: Millrace, done: asyncio.Event) -> Receipt:
    """Write one version after the other, each when the one before is visible."""
    version = 0
    while True:
        version += 1
        text = f"# Counter\n\nThe reading of the brass counter is {version}.\n"
        receipt = await millrace.put_document("counter", text, groups=["*"], version=version, acl_version=1)
        await millrace.wait(receipt, timeout_s=60)
        if done.is_set():
            return receipt


async def put(millrace: Millrace, n: int) -> Receipt:
    text = f"# Note {n}\n\nThe crane number {n} lifts {n * 7} tonnes in the harbour.\n"
    return await millrace.put_document(f"notes/{n}.md", text, groups=["*"], version=1, acl_version=1)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_every_receipt_resolves_and_no_conversation_goes_back_in_time_though_a_worker_is_killed(
    stack: FaultStack,
) -> None:
    killed = await asyncio.to_thread(start, stack, wait=False)
    await asyncio.to_thread(start, stack)
    await asyncio.to_thread(killed.wait_ready)
    done = asyncio.Event()
    async with Millrace(find_connection(home=stack.home), tenant="acme", timeout_s=30.0) as millrace:
        conversations = [Conversation(millrace, f"c{n}") for n in range(N_CONVERSATIONS)]
        async with asyncio.TaskGroup() as others:
            turning = others.create_task(turn_counter(millrace, done))
            for each in conversations:
                others.create_task(each.run(done))
            try:
                receipts = await asyncio.gather(*(put(millrace, n) for n in range(N_DOCUMENTS // 3)))
                await millrace.wait(receipts[: len(receipts) // 2], timeout_s=60)
                receipts += await asyncio.gather(*(put(millrace, n) for n in range(len(receipts), N_DOCUMENTS)))
                killed.kill()
                replacement = asyncio.create_task(asyncio.to_thread(start, stack))
                outcomes = await millrace.wait(receipts, timeout_s=120)
                await replacement
                extra = N_DOCUMENTS
                while any(len(set(each.versions())) < 3 for each in conversations):  # a fast machine is done too soon
                    await millrace.wait(await put(millrace, extra), timeout_s=60)
                    extra += 1
            finally:
                done.set()
        for each in conversations:
            await each.ask(after=(turning.result(),))
    assert [outcome.outcome for outcome in outcomes] == ["indexed"] * N_DOCUMENTS
    assert {each for conversation in conversations for each in conversation.steps_back()} == set()
    for each in conversations:
        assert each.versions()[-1] == turning.result().version > each.versions()[0]
        assert len(set(each.versions())) > 2
