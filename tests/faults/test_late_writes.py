"""A zombie's late record wins nowhere: neither in the table nor in what a search returns."""

from __future__ import annotations

import random
from pathlib import Path

from millrace.topics import DOCUMENT_INDEXED
from tests.faults.harness import FaultStack
from tests.faults.log_access import Feeder, Outgoing, scan, until
from tests.faults.oracle import Findings, Oracle
from tests.faults.readers import Readers
from tests.faults.workload import Change, marker, paragraph

AGENTS = ("agents.corpus", "agents.query")


def test_a_late_record_of_an_older_version_is_never_returned(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """A4 and A6, at their worst: the older version is written again, under another id, after the newer one."""
    versions, found = _after_a_late_write(stack, tag, tmp_path, then=2)
    assert versions == {2}
    found.assert_none()


def test_a_table_that_takes_the_last_record_goes_back(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """Control of A4, A6 and I3."""
    versions, found = _after_a_late_write(stack, tag, tmp_path, then=1, without="order")
    assert versions == {1, 2}
    assert set(found.violations) == {"stale"}
    assert any("went back from 2 to 1" in each for each in found.stale)


def _after_a_late_write(
    stack: FaultStack, tag: str, tmp_path: Path, then: int, without: str = ""
) -> tuple[set[int], Findings]:
    """Versions that people were shown from the newer one on, and what the oracle finds; `then` is the last one."""
    rng, tenant, document, name = random.Random(14), f"{tag}-00", "late.md", f"late-{tag}"
    oracle, feeder = Oracle([tenant]), Feeder(stack.bootstrap)
    changes = [Change("access", tenant, document, 1, groups=("*",))]
    for version in (1, 2):
        mark = marker(tag, 0, 0, 0, version)
        changes.append(Change("upsert", tenant, document, version, paragraph(rng, mark), (mark,)))
    stack.start(name, agents=AGENTS, without=without)
    for change in changes:
        feeder.feed([change], oracle.acknowledge)
        stack.drained()
    first = next(
        raw for raw in scan(stack.bootstrap, (DOCUMENT_INDEXED.name,)) if raw.header("ce_tenant") == tenant and raw.key
    )
    headers = [(header, name.encode() if header == "ce_id" else value) for header, value in first.headers]
    with Readers(stack.home, oracle) as readers:
        until(lambda: any(version == 2 for *_, version in readers.seen), 30, stack.logs)
        feeder.send(Outgoing(first.place.topic, first.key or b"", first.value, headers))
        feeder.flush()
        stack.drained()
        before = readers.n_answered
        until(lambda: readers.n_answered > before + 20 and then in {at for *_, at in readers.seen}, 30, stack.logs)
    readers.judge(oracle.listed(stack.records()))
    return {version for *_, version in readers.seen}, stack.judge(oracle, tmp_path, name, drain=False)
