"""Weaviate is away or killed in a batch, or a worker is: each chunk is there once, and is found."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from millrace.client import Millrace
from millrace.connection import find_connection
from millrace.errors import RequestFailed
from millrace.topics import DOCUMENT_INDEXED
from tests.faults.log_access import Feeder, ends, until
from tests.faults.native import NativeStack
from tests.faults.oracle import DEAD_LETTERS, Findings, Oracle
from tests.faults.report import FaultRow
from tests.faults.workload import Change, Size, Workload, scaled

AGENTS = ("agents.corpus", "agents.query")
CORPUS = ("agents.corpus",)
OUTAGE_S = scaled(300, 24)
QUESTION_S = 2.0
GRACE_S = 0.5
Note = Callable[[FaultRow], None]


def changes_of(workload: Workload) -> list[Change]:
    """All but poison: what is dead-lettered here is a mistake."""
    return [change for change in workload.changes() if change.kind != "poison"]


def n_indexed(stack: NativeStack) -> int:
    return sum(ends(stack.bootstrap, (DOCUMENT_INDEXED.name,)).values())


def n_letters(stack: NativeStack) -> int:
    return sum(ends(stack.bootstrap, DEAD_LETTERS).values())


def test_while_weaviate_is_down_workers_wait_without_giving_anything_up(
    native: NativeStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """B1. Questions that need no row from the server go on; the others end by their deadline."""
    workload = Workload(21, tag, Size(2, scaled(500, 12)))
    oracle, changes = native.oracle(workload.tenants), changes_of(workload)
    feeder, before = native.feeder(), n_letters(native)
    worker = native.start(f"down-{tag}", agents=AGENTS)
    feeder.feed(changes[: len(changes) // 2], oracle.acknowledge)
    native.drained()
    native.kill("weaviate")
    feeder.feed(changes[len(changes) // 2 :], oracle.acknowledge)
    began = time.monotonic()
    asked = asyncio.run(_asked_for(native, workload.tenants, OUTAGE_S / 3))  # what needs no server is done meanwhile
    share = processor_share(worker.pid, OUTAGE_S / 3)
    asked += asyncio.run(_asked_for(native, workload.tenants, OUTAGE_S / 3))
    assert native.behind()
    outage_s, n_done = time.monotonic() - began, n_indexed(native)
    began = time.monotonic()
    native.mend()
    until(lambda: n_indexed(native) > n_done, 30, native.logs)
    progress_s = time.monotonic() - began
    native.drained(timeout_s=2 * outage_s + 30)
    caught_up_s = time.monotonic() - began
    found = native.judge(oracle, tmp_path, f"down-{tag}")
    found.assert_none()
    assert n_letters(native) == before
    assert asked.slowest_s <= QUESTION_S + GRACE_S
    assert share <= 0.2
    assert caught_up_s <= max(2 * outage_s, 30)
    note = (
        f"away for {outage_s:.0f} s, {share:.0%} of a processor meanwhile, caught up after {caught_up_s:.0f} s; "
        f"{asked.n_failed} of {asked.n} questions ended unanswered, at the latest {asked.slowest_s:.1f} s after they "
        f"were asked, with a deadline of {QUESTION_S:g} s"
    )
    fault_row(FaultRow("B1 Weaviate down", "native", progress_s=progress_s, note=note))


def processor_share(pid: int, seconds: float, n: int = 8) -> float:
    """Processor time of a process for each second that passes: median of `n` parts, so that no burst counts."""
    process = psutil.Process(pid)
    shares: list[float] = []
    for _ in range(n):
        began, used = time.monotonic(), sum(process.cpu_times()[:2])
        time.sleep(seconds / n)
        shares.append((sum(process.cpu_times()[:2]) - used) / (time.monotonic() - began))
    return statistics.median(shares)


class Asked(NamedTuple):
    """Questions, those that ended without an answer, and the longest wait for an end in seconds."""

    n: int
    n_failed: int
    slowest_s: float

    def __add__(self, other: Asked) -> Asked:  # type: ignore[override]
        return Asked(self.n + other.n, self.n_failed + other.n_failed, max(self.slowest_s, other.slowest_s))


async def _asked_for(stack: NativeStack, tenants: tuple[str, ...], seconds: float) -> Asked:
    """Ask twice a second."""
    asked, end = Asked(0, 0, 0.0), time.monotonic() + seconds
    async with Millrace(find_connection(home=stack.home)) as client:
        while (began := time.monotonic()) < end:
            failed = 0
            try:
                await client.search("mill stones", tenant=tenants[asked.n % len(tenants)], timeout_s=QUESTION_S)
            except RequestFailed:
                failed = 1
            asked += Asked(1, failed, time.monotonic() - began)
            await asyncio.sleep(max(0.0, began + 0.5 - time.monotonic()))
    return asked


def test_a_worker_that_takes_an_outage_for_a_mistake_gives_documents_up(native: NativeStack, tag: str) -> None:
    """Control of B1."""
    workload = Workload(21, tag, Size(1, 4, 1))
    before = n_letters(native)
    native.start(agents=CORPUS, without="classes", worker__version_retention_s="1e10")  # no garbage of others before it
    native.kill("weaviate")
    native.feeder().feed(changes_of(workload), native.oracle(workload.tenants).acknowledge)
    until(lambda: n_letters(native) > before, 150, native.logs)


def test_a_weaviate_that_is_killed_in_the_middle_of_batches_keeps_each_chunk_once_and_finds_it(
    native: NativeStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """B2."""
    n_kills = scaled(10, 2)
    found, oracle, slowest = _killed_in_batches(native, tag, tmp_path, n_kills)
    found.assert_none()
    assert found.n_dead_letters == 0
    note = f"{n_kills} kills, {len(oracle.acknowledged)} changes"
    fault_row(FaultRow("B2 Weaviate kill -9 in a batch", "native", progress_s=slowest, note=note))


def test_a_store_that_takes_a_write_for_done_when_it_is_answered_hides_chunks(
    native: NativeStack, tag: str, tmp_path: Path
) -> None:
    """Control of B2: the server has the rows, and no search finds them."""
    found, _, _ = _killed_in_batches(native, tag, tmp_path, 2, without="certainty")
    assert any("no search finds" in each for each in found.lost), found.violations


def _killed_in_batches(
    native: NativeStack, tag: str, tmp_path: Path, n_kills: int, without: str = ""
) -> tuple[Findings, Oracle, float]:
    """Kill the server while documents come in, again and again; findings, oracle and the longest time to progress."""
    workload = Workload(22, tag, Size(scaled(20, 4), scaled(100, 16), 1))
    oracle, rng = native.oracle(workload.tenants), random.Random(3)
    name, slowest = f"batches-{tag}", 0.0
    native.start(name, agents=CORPUS, without=without)
    feeder = native.feeder()
    for part in _parts(feeder, workload, oracle, n_kills):
        before = n_indexed(native)
        feeder.feed(part, oracle.acknowledge)
        wanted = rng.randint(2, max(3, len(part) // 4))
        until(lambda: n_indexed(native) >= before + wanted, scaled(180, 60), native.logs)  # noqa: B023 - called at once
        native.kill("weaviate")
        began, n_done = time.monotonic(), n_indexed(native)
        native.mend()
        until(lambda: n_indexed(native) > n_done or not native.behind(), 30, native.logs)  # noqa: B023
        slowest = max(slowest, time.monotonic() - began)
    native.drained()
    return native.judge(oracle, tmp_path, name), oracle, slowest


def _parts(feeder: Feeder, workload: Workload, oracle: Oracle, n: int) -> Iterator[list[Change]]:
    """Feed who may read the documents, which comes before all of them; give the documents in `n` parts."""
    changes = changes_of(workload)
    first = next(number for number, change in enumerate(changes) if change.kind != "access")
    feeder.feed(changes[:first], oracle.acknowledge)
    size = -(-(len(changes) - first) // n)
    for start in range(first, len(changes), size):
        yield changes[start : start + size]


def test_a_worker_killed_in_the_middle_of_its_batches_leaves_no_chunk_twice_and_none_hidden(
    native: NativeStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A1: the server has rows of a batch, and no version lists them yet."""
    _killed_in_a_batch(native, tag, tmp_path).assert_none()
    fault_row(FaultRow("A1 kill -9 in a batch of Weaviate", "native", note=f"{scaled(10, 1)} kills"))


def test_a_worker_that_commits_what_it_has_only_read_loses_its_batches(
    native: NativeStack, tag: str, tmp_path: Path
) -> None:
    """Control of A1 in a batch."""
    assert _killed_in_a_batch(native, tag, tmp_path, without="waiting").lost


def _killed_in_a_batch(native: NativeStack, tag: str, tmp_path: Path, without: str = "") -> Findings:
    """Kill workers of whose batch the server has some rows, then let another one go on.

    They say nothing of what they have written. One that commits what it has only read is given the time to do so.
    """
    n_documents, n_kills = (14, 1) if without else (scaled(100, 14), scaled(10, 1))
    workload = Workload(23, tag, Size(2, n_documents, 1))
    oracle, name, feeder = native.oracle(workload.tenants), f"batch-{tag}", native.feeder()
    for part in _parts(feeder, workload, oracle, n_kills):
        seen = native.chunk_ids(oracle.tenants)
        feeder.feed(part, oracle.acknowledge)
        worker = native.start(name, agents=CORPUS, without=f"versions_held{without and '+'}{without}")
        until(lambda: native.chunk_ids(oracle.tenants) - seen, 60, native.logs)  # noqa: B023 - called at once
        if without:
            until(lambda: not native.behind(), 60, native.logs)
        worker.kill()
        written = native.chunk_ids(oracle.tenants) - seen
        listed = {chunk for *_, chunk in oracle.listed(native.records((DOCUMENT_INDEXED.name,)))}
        assert written
        assert not written & listed
    native.start(name, agents=CORPUS)
    native.drained()
    if not without:
        native.collect_garbage(oracle)
    return native.judge(oracle, tmp_path, name, collected=True)
