"""A worker killed, ended, frozen or cut off loses no job and repeats no effect, and keeps the order of each lane."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.settings import process_environment
from tests.faults.harness import FaultStack
from tests.faults.job_runs import HANDLERS, MENDED, Jobs, start
from tests.faults.jobs import DONE, GROUPS, JOBS, JobFindings, JobSubmitted, submitted
from tests.faults.log_access import ends, scan, until
from tests.faults.report import FaultRow
from tests.faults.workload import POISON, scaled

Note = Callable[[FaultRow], None]


@pytest.fixture
def jobs(stack: FaultStack, tag: str) -> Jobs:
    return Jobs(stack, tag)


def slow_heads(jobs: Jobs, n_jobs: int, slow_ms: int) -> list[JobSubmitted]:
    """Many quick jobs behind a slow one in each of sixteen lanes, so that every partition has a slow head."""
    heads = [jobs.job(f"slow-{lane}", work_ms=slow_ms) for lane in range(16)]
    return [*heads, *(jobs.job(f"lane-{i % 40}", work_ms=3) for i in range(n_jobs))]


def test_a_worker_killed_at_random_points_loses_nothing_though_slow_jobs_stand_at_the_head(
    stack: FaultStack, jobs: Jobs, fault_row: Note
) -> None:
    """A1. A kill repeats at most `max_uncommitted` records of each of the four partitions."""
    n_kills, most = scaled(20, 4), 100
    rng = random.Random(1)
    settings = {"worker__max_uncommitted": str(most), "worker__commit_interval_ms": "50"}
    jobs.send(slow_heads(jobs, 400 * n_kills, slow_ms=700))
    worker = start(stack, **settings)
    slowest = 0.0
    for _ in range(n_kills):
        jobs.wait_done(jobs.n_done() + rng.randint(1, 250))
        worker.kill()
        began = time.monotonic()
        jobs.send(slow_heads(jobs, 50, slow_ms=300))
        n_done = jobs.n_done()
        worker = start(stack, **settings)
        jobs.wait_done(n_done + 1, 30)
        slowest = max(slowest, time.monotonic() - began)
    found = jobs.judge()
    assert found.violations == {}
    assert found.letters == {}
    assert found.n_repeated <= n_kills * most * 4
    assert slowest <= 30
    note = f"{n_kills} kills, {found.n_repeated} of {len(jobs.oracle.acknowledged)} records repeated"
    fault_row(FaultRow("A1 kill -9, slow heads", stack.kind, progress_s=slowest, note=note))


def test_a_worker_that_commits_past_gaps_loses_the_slow_jobs(stack: FaultStack, jobs: Jobs) -> None:
    """Control of A1."""
    slow = [jobs.job(f"slow-{lane}", work_ms=60_000) for lane in range(8)]
    jobs.send([*slow, *(jobs.job(f"lane-{i}") for i in range(100))])
    worker = start(stack, without="prefix")
    jobs.wait_done(100)
    stack.drained(GROUPS)  # committed, as if the slow jobs were done
    worker.kill()
    start(stack)
    assert len(jobs.judge().lost) == len(slow)


def test_a_worker_told_to_end_finishes_what_is_in_flight_and_repeats_nothing(
    stack: FaultStack, jobs: Jobs, fault_row: Note
) -> None:
    """A2. Nothing is committed between times here, so only the last commit can spare the repetition."""
    code, seconds, found = _ended_under_load(stack, jobs)
    assert code == 0
    assert seconds <= 10
    assert found.violations == {}
    assert found.n_repeated <= 16
    note = f"exit code {code} after {seconds:.1f} s, {found.n_repeated} records repeated"
    fault_row(FaultRow("A2 SIGTERM under load", stack.kind, note=note))


def test_a_worker_that_ends_without_its_last_commit_repeats_its_work(stack: FaultStack, jobs: Jobs) -> None:
    """Control of A2."""
    _, _, found = _ended_under_load(stack, jobs, without="last_commit")
    assert found.n_repeated > 16


def test_a_worker_that_hands_over_what_it_has_only_read_loses_it(stack: FaultStack, jobs: Jobs) -> None:
    """Control of A2 and A7."""
    _, _, found = _ended_under_load(stack, jobs, without="drain")
    assert found.lost


def _ended_under_load(stack: FaultStack, jobs: Jobs, without: str = "") -> tuple[int, float, JobFindings]:
    settings = {"worker__commit_interval_ms": "600000", "worker__max_uncommitted": "100000"}
    jobs.send([jobs.job(f"lane-{i % 40}", work_ms=30) for i in range(1500)])
    worker = start(stack, without=without, **settings)
    jobs.wait_done(200)
    code, seconds = worker.stop()
    start(stack)
    return code, seconds, jobs.judge()


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
    for letters in found.letters.values():
        kind = letters[0].header("note")
        assert [each.value for each in letters] == [POISON[kind]] * len(letters)
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
    n_poison = 0
    before = sum(ends(jobs.stack.bootstrap, (JOBS.dead_letters,)).values())
    for i in range(200):
        jobs.send([jobs.job(f"lane-{i % 40}")])
        if i % 8 == 0:
            kind = sorted(POISON)[n_poison % len(POISON)]
            record = submitted(jobs.job(f"poison-{i}"))._replace(value=POISON[kind], headers=[("note", kind.encode())])
            jobs.feeder.send(record, lambda place: jobs.oracle.acknowledge(None, place))
            n_poison += 1
    jobs.feeder.flush()
    began = time.monotonic()
    if letters:
        until(lambda: sum(ends(jobs.stack.bootstrap, (JOBS.dead_letters,)).values()) >= before + n_poison, 20)
    return time.monotonic() - began, n_poison


def test_failures_are_tried_by_class_and_dead_letters_take_effect_once_after_the_fix(
    stack: FaultStack, jobs: Jobs, tmp_path: Path, fault_row: Note
) -> None:
    """C2: mistakes are tried three times, refusals once, outages until they are over; replaying twice is once."""
    flag = tmp_path / "up-again"
    worker = start(stack)
    jobs.send([jobs.job(f"lane-{i % 40}", kind=_kind_of(i)) for i in range(1000)])
    found = jobs.judge()
    kinds = [jobs.oracle.acknowledged[place] for place in found.letters]
    assert found.lost == []
    assert sorted(job.kind for job in kinds if job) == ["bug"] * 10 + ["reject"] * 10
    attempts = {
        (job.kind, letters[0].header("mr-error-attempt"))
        for place, letters in found.letters.items()
        if (job := jobs.oracle.acknowledged[place])
    }
    assert attempts == {("bug", "3"), ("reject", "1")}
    jobs.send([jobs.job("down", kind="down", flag=str(flag))])
    until(lambda: "down" in worker.log.read_text() or worker.running, 10)
    assert jobs.oracle.check(jobs.outputs()).lost
    flag.touch()
    assert jobs.judge().violations == {}
    assert len(jobs.judge().letters) == 20
    worker.stop()
    start(stack, MENDED)
    for _ in range(2):
        _replay(jobs, found)
        jobs.stack.drained(GROUPS)
    mended = jobs.judge()
    done = {raw.header("ce_causationid") for raw in scan(stack.bootstrap, (DONE.name,))}
    bugs = [raw for letters in found.letters.values() for raw in letters if raw.header("mr-error-attempt") == "3"]
    assert {raw.header("ce_id") for raw in bugs} <= done
    assert mended.doubled == []
    fault_row(FaultRow("C2 failing handler, dlq replay", stack.kind, dead_letters=len(found.letters)))


def test_replayed_letters_take_effect_twice_where_ids_are_not_derived(stack: FaultStack, jobs: Jobs) -> None:
    """Control of C2."""
    start(stack)
    jobs.send([jobs.job("lane", kind="bug")])
    found = jobs.judge()
    stack.end_workers()
    start(stack, MENDED, without="derived_ids")
    for _ in range(2):
        _replay(jobs, found)
    assert jobs.judge().doubled


def _kind_of(i: int) -> str:
    return {7: "bug", 57: "reject"}.get(i % 100, "ok")


def _replay(jobs: Jobs, found: JobFindings) -> None:
    """Put letters back by the command that people use."""
    names = [
        f"{raw.place.topic}/{raw.place.partition}/{raw.place.offset}" for some in found.letters.values() for raw in some
    ]
    environment = process_environment(bootstrap=jobs.stack.bootstrap, profile=jobs.stack.kind)
    program = "from millrace.cli import main; main()"
    command = [sys.executable, "-c", program, "dlq", "replay", *names, "--agents", HANDLERS]
    run = subprocess.run(command, check=False, capture_output=True, env=environment, timeout=60, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
