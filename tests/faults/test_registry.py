"""The schema registry is gone: what runs goes on, and what starts says what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.log_access import until
from tests.faults.native import NativeStack
from tests.faults.report import FaultRow
from tests.faults.workload import Size, Workload

CORPUS = ("agents.corpus",)
Note = Callable[[FaultRow], None]


def test_without_its_registry_a_worker_goes_on_and_a_new_one_says_why_it_does_not_start(
    native: NativeStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """B7."""
    workload, name = Workload(31, tag, Size(1, 10, 1)), f"unregistered-{tag}"
    oracle = native.oracle(workload.tenants)
    native.start(name, agents=CORPUS)
    native.kill("registry")
    native.feeder().feed(workload.changes(), oracle.acknowledge)
    found = native.judge(oracle, tmp_path, name)
    found.assert_none()
    late = native.start(f"late-{tag}", agents=CORPUS, wait=False)
    until(lambda: not late.running, 60, native.logs)
    said = late.log.read_text()
    assert "Traceback" not in said
    assert f"schema registry at {native.registry}" in said
    assert "does not answer" in said
    native.mend()
    native.start(f"late-{tag}", agents=CORPUS)
    note = "a running worker goes on; a new one ends, naming the registry, and starts once it is back"
    fault_row(FaultRow("B7 registry down", "native", dead_letters=found.n_dead_letters, note=note))


def test_a_worker_that_asks_the_registry_only_when_it_must_stands_still_without_it(
    native: NativeStack, tag: str
) -> None:
    """Control of B7."""
    workload = Workload(31, tag, Size(1, 4, 1))
    oracle = native.oracle(workload.tenants)
    native.start(agents=CORPUS, without="warm")
    native.kill("registry")
    native.feeder().feed(workload.changes(), oracle.acknowledge)
    with pytest.raises(AssertionError, match="not within"):
        native.drained(timeout_s=8)
