"""A zombie's late record wins nowhere: neither in the table nor in what a search returns."""

from __future__ import annotations

import asyncio
import random

from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from millrace.topics import DOCUMENT_INDEXED, REPLY
from tests.faults.harness import FaultStack
from tests.faults.log_access import Feeder, Outgoing, ends, scan
from tests.faults.oracle import Oracle
from tests.faults.workload import Change, marker, paragraph

AGENTS = ("agents.corpus", "agents.query")


def test_a_late_record_of_an_older_version_is_never_returned(stack: FaultStack, tag: str) -> None:
    """A4 and A6, at their worst: the older version is written again, under another id, after the newer one."""
    assert _version_shown_after_a_late_write(stack, tag) == {2}


def test_a_table_that_takes_the_last_record_shows_the_older_version(stack: FaultStack, tag: str) -> None:
    """Control of A4 and A6."""
    assert _version_shown_after_a_late_write(stack, tag, without="order") == {1}


def _version_shown_after_a_late_write(stack: FaultStack, tag: str, without: str = "") -> set[int]:
    rng, tenant, document = random.Random(14), f"{tag}-00", "late.md"
    oracle, feeder = Oracle([tenant]), Feeder(stack.bootstrap)
    changes = [Change("access", tenant, document, 1, groups=("*",))]
    for version in (1, 2):
        mark = marker(tag, 0, 0, 0, version)
        changes.append(Change("upsert", tenant, document, version, paragraph(rng, mark), (mark,)))
    stack.start(agents=AGENTS, without=without)
    for change in changes:
        feeder.feed([change], oracle.acknowledge)
        stack.drained()
    first = next(
        raw for raw in scan(stack.bootstrap, (DOCUMENT_INDEXED.name,)) if raw.header("ce_tenant") == tenant and raw.key
    )
    headers = [(name, f"late-{tag}".encode() if name == "ce_id" else value) for name, value in first.headers]
    feeder.send(Outgoing(first.place.topic, first.key or b"", first.value, headers))
    feeder.flush()
    stack.drained()
    wanted = 1 if without else 2
    seen: set[int] = set()

    async def search() -> None:
        async with Millrace(find_connection(home=stack.home), tenant=tenant) as client:
            for _ in range(20):
                answer = await client.search("river stone mill", exact=True)
                seen.clear()
                seen.update(hit.version for hit in answer.hits)
                if without and seen == {wanted}:
                    return

    asyncio.run(search())
    return seen


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
