"""What a handler raises is tried again by its class, then dead-lettered, and takes effect once when it is put back."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.settings import process_environment
from tests.faults.harness import FaultStack
from tests.faults.job_runs import HANDLERS, MENDED, Jobs, start
from tests.faults.jobs import DONE, GROUPS, JobFindings
from tests.faults.log_access import scan, until
from tests.faults.report import FaultRow
from tests.faults.worker import Worker

N_TRIES = 3  # of a mistake
Note = Callable[[FaultRow], None]


@pytest.fixture
def jobs(stack: FaultStack, tag: str) -> Jobs:
    return Jobs(stack, tag)


def test_failures_are_tried_by_class_and_dead_letters_take_effect_once_after_the_fix(
    stack: FaultStack, jobs: Jobs, tmp_path: Path, fault_row: Note
) -> None:
    """C2: mistakes are tried three times, refusals once, outages until they are over; replaying twice is once."""
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
    _outlasted(jobs, worker, tmp_path / "up-again")
    found = jobs.judge()
    assert found.violations == {}
    assert len(found.letters) == 20
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


def _outlasted(jobs: Jobs, worker: Worker, flag: Path) -> None:
    """An outage of more tries than a mistake is allowed: nothing is given up, nothing else starts, all goes on after.

    A worker that took the outage for a mistake would have written a letter before its fourth try.
    """
    tries = flag.with_name(f"{flag.name}.tries")
    n_letters = len(jobs.oracle.check(jobs.outputs()).letters)
    jobs.send([jobs.job("down", kind="down", flag=str(flag))])
    until(lambda: tries.exists() and len(tries.read_text()) > 2 * N_TRIES, 60, jobs.stack.logs)
    meanwhile = jobs.oracle.check(jobs.outputs())
    assert len(meanwhile.letters) == n_letters
    assert [each.partition(" at ")[0] for each in meanwhile.lost] == ["down/0"]
    assert worker.running
    flag.touch()
    until(lambda: not jobs.oracle.check(jobs.outputs()).lost, 60, jobs.stack.logs)


def test_a_worker_that_takes_an_outage_for_a_mistake_gives_up(stack: FaultStack, jobs: Jobs, tmp_path: Path) -> None:
    """Control of C2's classes: of outages and refusals."""
    start(stack, without="classes")
    outage, refused = jobs.job("down", kind="down", flag=str(tmp_path / "never")), jobs.job("lane", kind="reject")
    jobs.send([outage, refused])
    found = jobs.judge()
    letters = {jobs.oracle.acknowledged[place]: some[0] for place, some in found.letters.items()}
    assert {job: raw.header("mr-error-attempt") for job, raw in letters.items()} == {outage: "3", refused: "3"}


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
