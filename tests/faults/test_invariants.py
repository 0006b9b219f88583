"""Controls of invariants on a whole stack: each kind of damage to the index that a missing defence does is found."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import lancedb
import pyarrow as pa

from tests.faults.harness import FaultStack
from tests.faults.log_access import Feeder, until
from tests.faults.oracle import Findings, Oracle
from tests.faults.readers import Readers
from tests.faults.workload import Size, Workload, repeated

CORPUS = ("agents.corpus",)


def ingested(stack: FaultStack, tag: str, most: int = 1) -> Oracle:
    """Send a small workload, each change up to `most` times."""
    workload = Workload(3, tag, Size(1, 20, 2))
    oracle = Oracle(workload.tenants)
    changes = [change for change in workload.changes() if change.kind != "poison"]
    Feeder(stack.bootstrap).feed(repeated(changes, random.Random(4), most), oracle.acknowledge)
    return oracle


def test_an_index_that_adds_rows_without_looking_for_their_ids_doubles_them(
    stack: FaultStack, tag: str, tmp_path: Path
) -> None:
    """Control of I2, by A5's repetitions."""
    oracle = ingested(stack, tag, most=3)
    stack.start(agents=CORPUS, without="merging+history+memory")
    assert stack.judge(oracle, tmp_path).doubled


def test_rows_that_no_version_lists_are_gone_after_garbage_collection(
    stack: FaultStack, tag: str, tmp_path: Path
) -> None:
    """I4: rows of a writer that died, or whose version came too late."""
    _left_behind(stack, tag, tmp_path).assert_none()


def test_an_index_that_collects_no_garbage_keeps_orphans(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """Control of I4."""
    assert len(_left_behind(stack, tag, tmp_path, without="garbage").orphans) == 3


def _left_behind(stack: FaultStack, tag: str, tmp_path: Path, without: str = "") -> Findings:
    oracle = ingested(stack, tag)
    stack.start(agents=CORPUS, without=without)
    stack.judge(oracle, tmp_path).assert_none()
    [table] = (stack.home / "vectors").glob(f"{tag}*live.lance")
    live = lancedb.connect(stack.home / "vectors").open_table(table.stem)
    some = live.to_arrow().slice(0, 3)
    strange = pa.array([str(uuid.uuid5(uuid.NAMESPACE_OID, f"{tag}-{n}")) for n in range(3)])
    live.add(some.set_column(some.schema.get_field_index("chunk_id"), some.schema.field("chunk_id"), strange))
    assert len(stack.judge(oracle, tmp_path, collected=True, drain=False).orphans) == 3
    stack.collect_garbage(oracle)
    return stack.judge(oracle, tmp_path, collected=True)


def test_a_worker_that_believes_everyone_to_be_in_every_group_shows_forbidden_documents(
    stack: FaultStack, tag: str
) -> None:
    """Control of I5, by the people who ask during A1."""
    oracle = ingested(stack, tag)
    stack.start(agents=(*CORPUS, "agents.query"), without="access")
    stack.drained()
    with Readers(stack.home, oracle) as readers:
        until(lambda: len(readers.seen) > 10, 30, stack.logs)
    readers.judge(oracle.listed(stack.records()))
    assert oracle.foreign


def test_a_table_that_leaves_records_out_is_no_fold_of_the_log(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """Control of I7."""
    oracle, name = ingested(stack, tag), f"forgetful-{tag}"
    stack.start(name, agents=CORPUS, without="every_record")
    stack.drained()
    assert stack.judge(oracle, tmp_path, name, drain=False).diverged
