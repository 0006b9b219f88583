"""A partition that takes long keeps no other waiting, and whoever works on it stays a member of its group."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.jobs import JobFindings, lanes
from tests.faults.report import FaultRow
from tests.faults.workload import scaled

SESSION_S = 2.0
QUICK_MS, N_QUICK = 40, 60
EVICTED = ("Heartbeat session expired", "commit failed")
Note = Callable[[FaultRow], None]


def test_a_partition_slower_than_the_session_keeps_no_other_waiting_and_evicts_nobody(
    kafka_only: FaultStack, tag: str, fault_row: Note
) -> None:
    """A10."""
    n = scaled(500, N_QUICK)
    alone_s, _, _ = _quick_ones(kafka_only, f"{tag}a", n, slow_ms=0)
    beside_s, found, log = _quick_ones(kafka_only, f"{tag}b", n, slow_ms=round(2.5 * SESSION_S * 1000))
    assert found.violations == {}
    assert found.n_repeated == 0
    assert not any(sign in log for sign in EVICTED)
    share = alone_s / beside_s
    assert share >= 0.9
    note = f"others keep {min(share, 1.0):.0%}; jobs of {2.5 * SESSION_S:g} s in a session of {SESSION_S:g} s"
    fault_row(FaultRow("A10 one slow partition", "kafka", note=note))


def test_a_worker_that_does_one_thing_at_a_time_keeps_others_waiting(kafka_only: FaultStack, tag: str) -> None:
    """Control of A10's others."""
    alone_s, _, _ = _quick_ones(kafka_only, f"{tag}a", N_QUICK, slow_ms=0, worker__max_in_flight="1")
    beside_s, _, _ = _quick_ones(kafka_only, f"{tag}b", N_QUICK, slow_ms=6000, worker__max_in_flight="1")
    assert alone_s / beside_s < 0.9


def test_a_worker_whose_handler_holds_the_event_loop_is_evicted(kafka_only: FaultStack, tag: str) -> None:
    """Control of A10's membership."""
    _, _, log = _quick_ones(kafka_only, tag, N_QUICK, slow_ms=round(2.5 * SESSION_S * 1000), without="yielding")
    assert any(sign in log for sign in EVICTED)


def _quick_ones(
    stack: FaultStack, tenant: str, n_each: int, *, slow_ms: int, without: str = "", **settings: str
) -> tuple[float, JobFindings, str]:
    """Seconds that quick jobs of three partitions take, beside slow ones of a fourth; findings and the worker's log."""
    jobs = Jobs(stack, tenant)
    [[slow], *quick] = lanes(tenant, 1, "lane")
    every = [lane for some in quick for lane in some]
    if slow_ms:
        jobs.send([jobs.job(slow, work_ms=slow_ms) for _ in range(2)])
    worker = start(stack, without=without, **settings)
    before = jobs.n_done()
    began = time.monotonic()
    jobs.send([jobs.job(lane, work_ms=QUICK_MS) for _ in range(n_each) for lane in every])
    jobs.wait_done(before + n_each * len(every), 120)
    seconds = time.monotonic() - began
    found = jobs.judge()
    log = worker.log.read_text()
    worker.stop()
    return seconds, found, log
