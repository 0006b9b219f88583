"""Bytes that no reader can take end as dead letters; neither the records beside them nor the worker's memory notice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle, islice

import psutil
import pytest

from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.jobs import DONE, JOBS, lanes, submitted
from tests.faults.log_access import ends, until
from tests.faults.report import FaultRow
from tests.faults.without_pump import LETTERS_HELD, LETTERS_MAY_GO
from tests.faults.workload import POISON, scaled

MB = 2**20
GROWTH = 50 * MB  # what buffers may take; how much poison has passed must not matter
Note = Callable[[FaultRow], None]


@pytest.fixture
def jobs(stack: FaultStack, tag: str) -> Jobs:
    return Jobs(stack, tag)


def poison(jobs: Jobs, lane: str, kind: str, payload: str = "") -> None:
    """Send a job that is spoiled; flush to have it acknowledged."""
    record = submitted(jobs.job(lane, payload=payload))
    record = record._replace(value=POISON[kind](record.value or b""), headers=[("note", kind.encode())])
    jobs.feeder.send(record, lambda place: jobs.oracle.acknowledge_poison(record, place))


def n_letters(jobs: Jobs) -> int:
    return sum(ends(jobs.stack.bootstrap, (JOBS.dead_letters,)).values())


def test_poison_ends_as_identical_dead_letters_and_its_neighbours_flow(
    stack: FaultStack, jobs: Jobs, fault_row: Note
) -> None:
    """C1: each kind of poison in each partition, between jobs that must not notice."""
    worker = start(stack)
    seconds, n_poison = _poisoned(jobs)
    found = jobs.judge()
    assert found.violations == {}
    assert len(found.letters) == n_poison
    assert seconds <= 5
    for place, letters in found.letters.items():
        wanted = jobs.oracle.poison[place]
        assert [(each.key, each.value) for each in letters] == [(wanted.key, wanted.value)] * len(letters)
        assert letters[0].header("mr-error-type") in {"undecodable", "unknown_schema"}
    assert worker.running
    fault_row(FaultRow("C1 poison", stack.kind, dead_letters=len(found.letters), progress_s=seconds))


def test_a_worker_without_dead_letters_loses_poison_and_what_fails(stack: FaultStack, jobs: Jobs) -> None:
    """Control of C1 and C2."""
    start(stack, without="dead_letters")
    jobs.send([jobs.job("lane", kind="reject"), jobs.job("lane", kind="bug"), jobs.job("lane")])
    _, n_poison = _poisoned(jobs, letters=False)
    assert len(jobs.judge().lost) == n_poison + 2


def _poisoned(jobs: Jobs, *, letters: bool = True) -> tuple[float, int]:
    """Each kind of poison in each partition with jobs around; seconds until all have letters, and how many."""
    before, n_poison = n_letters(jobs), 0
    for kind in sorted(POISON):
        for i, [lane] in enumerate(lanes(jobs.tenant, 1, "poison")):
            jobs.send([jobs.job(f"lane-{(n_poison + i) % 40}") for i in range(5)])
            poison(jobs, lane if i % 2 else f"lane-{n_poison % 40}", kind)
            n_poison += 1
    jobs.feeder.flush()
    began = time.monotonic()
    if letters:
        until(lambda: n_letters(jobs) >= before + n_poison, 20)
    return time.monotonic() - began, n_poison


def test_neighbours_of_poison_are_done_while_its_letter_is_still_to_be_written(stack: FaultStack, jobs: Jobs) -> None:
    """C1: poison delays nobody, however long it takes to deal with it."""
    done = _done_beside_held_poison(jobs, without="letters_held", n_done=80)
    assert done == [20, 20, 20, 20]
    found = jobs.judge()
    assert found.violations == {}
    assert len(found.letters) == 3


def test_a_worker_that_takes_the_records_of_a_partition_one_by_one_delays_the_neighbours_of_poison(
    stack: FaultStack, jobs: Jobs
) -> None:
    """Control of C1's delay: the partition without poison is done, the others have not begun."""
    assert _done_beside_held_poison(jobs, without="letters_held+lanes", n_done=20) == [0, 0, 0, 20]
    jobs.judge()  # nothing is left to the worker of the next test


def _done_beside_held_poison(jobs: Jobs, without: str, n_done: int) -> list[int]:
    """Jobs done of each partition before any letter is written; poison is at the head of each but the last."""
    held, may_go = (jobs.stack.home / name for name in (LETTERS_HELD, LETTERS_MAY_GO))
    for file in (held, may_go):
        file.unlink(missing_ok=True)
    names = lanes(jobs.tenant, 5)
    for some in names[:-1]:
        poison(jobs, some[0], "cut body")
    jobs.feeder.flush()
    jobs.send([jobs.job(lane) for _ in range(4) for some in names for lane in some])
    ended, letters = ends(jobs.stack.bootstrap, (DONE.name,)), n_letters(jobs)
    start(jobs.stack, without=without)
    jobs.wait_done(n_done)
    until(lambda: held.exists() and len(held.read_text()) == len(names) - 1, 30, jobs.stack.logs)
    now = ends(jobs.stack.bootstrap, (DONE.name,))
    assert n_letters(jobs) == letters
    may_go.touch()
    return [now[place] - ended[place] for place in sorted(now)]


def test_a_worker_that_has_seen_much_poison_holds_no_more_memory(
    stack: FaultStack, jobs: Jobs, fault_row: Note
) -> None:
    """C1: poison of many times the allowed growth passes."""
    grown, passed = _grown_by_poison(jobs, scaled(150, 40))
    assert grown <= GROWTH < passed / 2
    note = f"{passed // MB} MB of poison, worker grew by {grown / MB:.0f} MB"
    fault_row(FaultRow("C1 memory", stack.kind, note=note))


def test_a_worker_that_keeps_what_it_has_given_up_grows_with_it(stack: FaultStack, jobs: Jobs) -> None:
    """Control of C1's memory."""
    grown, passed = _grown_by_poison(jobs, 40, without="forgetting")
    assert GROWTH < grown < 2 * passed


def _grown_by_poison(jobs: Jobs, n_rounds: int, without: str = "") -> tuple[int, int]:
    """By how many bytes a worker grew at most, once warm, and the bytes of poison that passed meanwhile.

    Never more at a time than the embedded broker keeps.
    """
    worker = start(jobs.stack, without=without)
    process = psutil.Process(worker.pid)
    kinds, names = cycle(["cut body", "endless text"]), [lane for [lane] in lanes(jobs.tenant, 1, "poison")]
    payload = "x" * 120_000

    def rounds(n: int) -> list[int]:
        return [_memory_after(jobs, process, list(islice(kinds, 8)), names, payload) for _ in range(n)]

    warm = rounds(4)[-1]
    return max(rounds(n_rounds)) - warm, n_rounds * 4 * 4 * (60_000 + 120_000)


def _memory_after(jobs: Jobs, process: psutil.Process, kinds: Sequence[str], names: Sequence[str], payload: str) -> int:
    before = n_letters(jobs)
    for kind in kinds:
        for lane in names:
            record = submitted(jobs.job(lane, payload=payload))
            jobs.feeder.send(record._replace(value=POISON[kind](record.value or b"")))
    jobs.feeder.flush()
    until(lambda: n_letters(jobs) >= before + len(kinds) * len(names), 60, jobs.stack.logs)
    return int(process.memory_info().rss)
