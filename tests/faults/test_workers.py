"""A worker killed, ended, frozen or cut off loses no job and repeats no effect, and keeps the order of each lane."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.jobs import GROUPS, JobFindings, JobSubmitted, lanes
from tests.faults.report import FaultRow
from tests.faults.workload import scaled

WINDOW = 50
Note = Callable[[FaultRow], None]


@pytest.fixture
def jobs(stack: FaultStack, tag: str) -> Jobs:
    return Jobs(stack, tag)


def slow_heads(jobs: Jobs, n_jobs: int, slow_ms: int) -> list[JobSubmitted]:
    """Many quick jobs behind two slow ones in each partition: half as many as a worker does at a time."""
    heads = [jobs.job(lane, work_ms=slow_ms) for some in lanes(jobs.tenant, 2, "slow") for lane in some]
    return [*heads, *(jobs.job(f"lane-{i % 40}", work_ms=3) for i in range(n_jobs))]


def test_a_worker_killed_at_random_points_loses_nothing_though_slow_jobs_stand_at_the_head(
    stack: FaultStack, jobs: Jobs, fault_row: Note
) -> None:
    """A1. A kill repeats at most `max_uncommitted` records of a partition, as the output topic shows."""
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
    assert found.most_repeated <= most
    assert slowest <= 30
    note = (
        f"{n_kills} kills, {found.n_repeated} of {len(jobs.oracle.acknowledged)} records repeated, of a partition at "
        f"most {found.most_repeated} a kill (allowed {most})"
    )
    fault_row(FaultRow("A1 kill -9, slow heads", stack.kind, progress_s=slowest, note=note))


def test_a_kill_repeats_no_more_of_a_partition_than_may_be_uncommitted(
    stack: FaultStack, jobs: Jobs, tmp_path: Path
) -> None:
    """A1 where it is worst: all that may be done behind a head that is not was done."""
    found = _killed_behind_heads(jobs, tmp_path / "go", n_done=WINDOW - 1)
    assert found.violations == {}
    assert 0 < found.most_repeated <= WINDOW


def test_a_worker_that_reads_on_without_bound_repeats_more(stack: FaultStack, jobs: Jobs, tmp_path: Path) -> None:
    """Control of A1's bound."""
    found = _killed_behind_heads(jobs, tmp_path / "go", n_done=3 * WINDOW, without="bound")
    assert found.most_repeated > WINDOW


def _killed_behind_heads(jobs: Jobs, go: Path, n_done: int, without: str = "") -> JobFindings:
    """Kill a worker that has done `n_done` records of each partition, the first of which is held till later."""
    settings = {"worker__max_uncommitted": str(WINDOW), "worker__commit_interval_ms": "50"}
    jobs.send([jobs.job(lane, kind="held", flag=str(go)) for [lane] in lanes(jobs.tenant, 1, "held")])
    quick = [lane for some in lanes(jobs.tenant, 6) for lane in some]
    jobs.send([jobs.job(lane) for _ in range(WINDOW // 2) for lane in quick])
    worker = start(jobs.stack, without=without, **settings)
    jobs.wait_done(4 * n_done)
    worker.kill()
    go.touch()
    start(jobs.stack, **settings)
    return jobs.judge()


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
    jobs.send([jobs.job(f"lane-{i % 40}", work_ms=30) for i in range(scaled(1500, 700))])
    worker = start(stack, without=without, **settings)
    jobs.wait_done(200)
    code, seconds = worker.stop()
    start(stack)
    return code, seconds, jobs.judge()
