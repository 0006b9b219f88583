"""Faults that only a real broker shows: zombies, members that come and go, answers that never arrive."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.jobs import DONE, JobDone, JobFindings, decoded
from tests.faults.log_access import Feeder, ends, until
from tests.faults.oracle import Oracle
from tests.faults.report import FaultRow
from tests.faults.worker import Worker
from tests.faults.workload import Change, marker, paragraph, scaled

SESSION_S = 2.0
CHANGE_S = 3.0
Note = Callable[[FaultRow], None]


@pytest.fixture
def jobs(kafka_only: FaultStack, tag: str) -> Jobs:
    return Jobs(kafka_only, tag)


def frozen_for_three_sessions(worker: Worker, meanwhile: Callable[[], object]) -> None:
    """SIGSTOP, something meanwhile, and SIGCONT after three session timeouts."""
    worker.freeze()
    began = time.monotonic()
    try:
        meanwhile()
        until(lambda: time.monotonic() - began > 3 * SESSION_S, 60)
    finally:
        worker.thaw()


def test_a_worker_frozen_for_three_sessions_writes_nothing_when_it_wakes(jobs: Jobs, fault_row: Note) -> None:
    """A4: its jobs were in flight; another worker has done them by then."""
    found, late, log = _woken(jobs)
    assert found.violations == {}
    assert late == []
    assert "commit failed" in log
    fault_row(FaultRow("A4 zombie, jobs", "kafka", note=f"{found.n_repeated} records repeated, 0 by the zombie"))


def test_a_worker_that_does_not_ask_whether_it_still_owns_a_partition_writes_late(jobs: Jobs) -> None:
    """Control of A4."""
    _, late, _ = _woken(jobs, without="ownership")
    assert late


def _woken(jobs: Jobs, without: str = "") -> tuple[JobFindings, list[str], str]:
    zombie = start(jobs.stack, without=without)
    jobs.send([jobs.job(f"lane-{i}", work_ms=1000) for i in range(64)])
    jobs.wait_done(8)
    before: list[int] = []

    def others() -> None:
        start(jobs.stack)
        until(lambda: len({each.lane for each in _done(jobs)}) == 64, 60, jobs.stack.logs)
        before.append(sum(each.pid == zombie.pid for each in _done(jobs)))

    frozen_for_three_sessions(zombie, others)
    jobs.send([jobs.job(f"lane-{i}", work_ms=5) for i in range(64)])
    until(lambda: "failed" in zombie.log.read_text() or bool(without), 30, lambda: zombie.log.read_text()[-2000:])
    found = jobs.judge()
    old = [f"{each.lane}/{each.n}" for each in _done(jobs) if each.pid == zombie.pid and each.n == 0]
    return found, old[before[0] :], zombie.log.read_text()


def _done(jobs: Jobs) -> list[JobDone]:
    events = [decoded(raw) for raw in jobs.outputs() if raw.place.topic == DONE.name]
    return [each for each in events if isinstance(each, JobDone) and each.tenant == jobs.tenant]


def test_documents_edited_while_their_worker_was_frozen_never_show_an_older_version(
    kafka_only: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A4 with documents."""
    stack, rng = kafka_only, random.Random(4)
    oracle, feeder = Oracle([f"{tag}-00"]), Feeder(kafka_only.bootstrap)

    def edit(version: int) -> list[Change]:
        changes = []
        for number in range(scaled(500, 60)):
            marks = tuple(marker(tag, 0, number, part, version) for part in range(2))
            text = "\n\n".join(paragraph(rng, mark) for mark in marks)
            changes.append(Change("upsert", f"{tag}-00", f"{number:04}", version, text, marks))
        return changes

    access = [Change("access", f"{tag}-00", change.document, 1, groups=("*",)) for change in edit(1)]
    zombie = stack.start(f"zombie-{tag}", agents=["agents.corpus"])
    feeder.feed([*access, *edit(1)], oracle.acknowledge)

    def meanwhile() -> None:
        feeder.feed(edit(2), oracle.acknowledge)
        stack.start(f"heir-{tag}", agents=["agents.corpus"])
        feeder.feed(edit(3), oracle.acknowledge)

    frozen_for_three_sessions(zombie, meanwhile)
    found = stack.judge(oracle, tmp_path, f"heir-{tag}")
    found.assert_none()
    fault_row(FaultRow("A4 zombie, documents", "kafka", dead_letters=found.n_dead_letters))


def test_members_that_come_and_go_stall_no_partition_and_lose_nothing(jobs: Jobs, fault_row: Note) -> None:
    """A7: one joins or leaves every three seconds, whether or not the work has gone on since; for three minutes."""
    start(jobs.stack)
    n_changes = scaled(60, 6)
    longest, joiners = _restless(jobs, n_changes)
    found = jobs.judge()
    assert found.violations == {}
    assert longest <= 20
    busy = {each.pid for each in _done(jobs)} & joiners
    assert len(busy) >= n_changes / 4, "the joiners were given no work"
    note = (
        f"{n_changes} changes, one every {CHANGE_S:g} s, longest pause of a partition {longest:.1f} s, "
        f"{found.n_repeated} of {len(jobs.oracle.acknowledged)} repeated"
    )
    fault_row(FaultRow("A7 members come and go", "kafka", progress_s=longest, note=note))


def test_members_that_hand_over_what_they_have_only_read_lose_it(jobs: Jobs) -> None:
    """Control of A7."""
    start(jobs.stack, without="drain")
    _restless(jobs, n_changes=6, without="drain")
    assert jobs.judge().lost


def _restless(jobs: Jobs, n_changes: int, without: str = "") -> tuple[float, set[int]]:
    """Jobs all the while; another worker joins and leaves by the clock.

    Returns
    -------
    tuple
        The longest pause of a partition, in seconds, and the process ids of those who joined.
    """
    stop = threading.Event()
    moved: dict[tuple[str, int], tuple[int, float]] = {}
    pauses = [0.0]

    def watch() -> None:
        feeding = Jobs(jobs.stack, jobs.tenant)
        feeding.oracle, feeding._numbers = jobs.oracle, jobs._numbers
        while not stop.is_set():
            until(lambda: len(jobs.oracle.acknowledged) - jobs.n_done() < 400 or stop.is_set(), 60)
            feeding.send([feeding.job(f"lane-{i}", work_ms=20) for i in range(40)])
            now = time.monotonic()
            for place, end in ends(jobs.stack.bootstrap, (DONE.name,)).items():
                at, since = moved.get(place, (-1, now))
                if at != end:
                    moved[place] = (end, now)
                pauses.append(now - since)

    thread = threading.Thread(target=watch)
    thread.start()
    joiners: set[int] = set()
    other: Worker | None = None
    try:
        jobs.wait_done(100)
        due = time.monotonic()
        for _ in range(n_changes):
            if other is None:
                other = start(jobs.stack, without=without)  # ready once it has its partitions
                joiners.add(other.pid)
            else:
                other.stop()
                other = None
            # However long its start took, who joined stays for its three seconds.
            due = max(due, time.monotonic() if other else 0.0) + CHANGE_S
            until(lambda: time.monotonic() >= due, 2 * CHANGE_S)  # noqa: B023 - called at once
    finally:
        stop.set()
        thread.join()
    return max(pauses), joiners


def test_answers_of_the_broker_that_never_arrive_lose_and_double_nothing(jobs: Jobs, fault_row: Note) -> None:
    """A9: what the worker writes and commits reaches the broker, which is never heard."""
    found, seconds = _unheard(jobs)
    assert found.violations == {}
    note = f"{found.n_repeated} records repeated"
    fault_row(FaultRow("A9 produce and commit unanswered", "kafka", progress_s=seconds, note=note))


def test_a_worker_whose_ids_are_not_derived_doubles_what_was_unanswered(jobs: Jobs) -> None:
    """Control of A9."""
    found, _ = _unheard(jobs, without="derived_ids")
    assert found.doubled


def _unheard(jobs: Jobs, without: str = "") -> tuple[JobFindings, float]:
    proxied = jobs.stack.proxied
    assert proxied is not None
    worker = start(jobs.stack, home=proxied.home, without=without)
    jobs.send([jobs.job(f"lane-{i % 40}", work_ms=10) for i in range(3000)])
    jobs.wait_done(100)
    proxied.proxy.drop_responses()
    try:
        began = time.monotonic()
        until(lambda: time.monotonic() - began > scaled(30, 6), 60)
    finally:
        proxied.proxy.forward()
    n_done, began = jobs.n_done(), time.monotonic()
    jobs.wait_done(n_done + 50)
    seconds = time.monotonic() - began
    n_done = jobs.n_done()
    # Slow enough to be in the middle of them however fast the machine is.
    jobs.send([jobs.job(f"lane-{i % 40}", work_ms=50) for i in range(scaled(2000, 800))])
    jobs.wait_done(n_done + 50)
    proxied.proxy.drop_responses()
    dropped = proxied.proxy.n_dropped_bytes
    try:
        until(lambda: proxied.proxy.n_dropped_bytes > dropped + 200, 30)
        worker.kill()
    finally:
        proxied.proxy.forward()
    start(jobs.stack, home=proxied.home, without=without)
    return jobs.judge(), seconds
