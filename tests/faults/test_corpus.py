"""Documents survive faults: each change has its outcome; the highest version shows, once, to its readers."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from millrace.topics import CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, MAINTENANCE_DUE, REPLY, SOURCE_CHANGED
from tests.faults.harness import CORPUS_GROUPS, FaultStack
from tests.faults.log_access import ends, until
from tests.faults.oracle import Entity, Row, Shown, digest
from tests.faults.readers import PACE, Readers
from tests.faults.report import FaultRow
from tests.faults.workload import MARKER, Change, Size, Workload, marker, paragraph, repeated, scaled

REPLAYED = (SOURCE_CHANGED.name, CHUNKS_EMBEDDED.name, DOCUMENT_INDEXED.name, MAINTENANCE_DUE.name)
CORPUS = ("agents.corpus",)
CORPUS_AND_QUERY = ("agents.corpus", "agents.query")
Note = Callable[[FaultRow], None]


def n_outcomes(stack: FaultStack) -> int:
    return sum(ends(stack.bootstrap, (DOCUMENT_INDEXED.name, DOCUMENT_SETTLED.name)).values())


def wait_outcomes(stack: FaultStack, n: int, timeout_s: float = 30.0) -> None:
    until(lambda: n_outcomes(stack) >= n, timeout_s, stack.logs)


def test_a_worker_killed_again_and_again_loses_no_change_and_shows_no_half_of_one(
    corpus_stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A1 with the whole workload, people asking all the while: I1 to I7."""
    stack = corpus_stack
    workload = Workload(1, tag, Size.now(stack.kind))
    oracle = stack.oracle(workload.tenants)
    rng = random.Random(2)
    feeder = stack.feeder()
    changes = workload.changes()
    n_kills = scaled(20, 3)
    worker = stack.start(f"killed-{tag}", agents=CORPUS_AND_QUERY)
    slowest, n_first, n_fed = 0.0, n_outcomes(stack), 0
    # Servers beside the worker share its two processors: as many questions as elsewhere would leave documents nothing.
    with Readers(stack.home, oracle, pace=PACE if stack.kind == "embedded" else PACE / 4) as readers:
        for number in range(n_kills):
            part, before = _part(changes, number, n_kills), n_outcomes(stack)
            n_ends = sum(change.kind in {"upsert", "delete"} for change in part)
            n_fed += n_ends
            feeder.feed(part, oracle.acknowledge)
            wait_outcomes(stack, min(before + rng.randint(1, n_ends // 2 or 1), n_first + n_fed), 300)
            worker.kill()
            began, before = time.monotonic(), n_outcomes(stack)
            worker = stack.start(f"killed-{tag}", agents=CORPUS_AND_QUERY)
            wait_outcomes(stack, min(before + 1, n_first + n_fed))  # at most what there is to do
            slowest = max(slowest, time.monotonic() - began)
        stack.drained()
    stack.collect_garbage(oracle)
    readers.judge(oracle.listed(stack.records()))
    readers.judge_ends(stack.records((REPLY.name,)))
    found = stack.judge(oracle, tmp_path, f"killed-{tag}", collected=True)
    found.assert_none()
    assert readers.n_answered > 0
    assert slowest <= 30
    note = f"{n_kills} kills, {len(oracle.acknowledged)} changes, {readers.n_answered} questions answered meanwhile"
    letters = found.n_dead_letters
    fault_row(FaultRow("A1 kill -9, documents", stack.kind, dead_letters=letters, progress_s=slowest, note=note))


def _part(changes: list[Change], part: int, n_parts: int) -> list[Change]:
    size = -(-len(changes) // n_parts)
    return changes[part * size : (part + 1) * size]


def test_events_written_several_times_change_nothing_and_are_not_embedded_again(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A5, across a kill."""
    n = scaled(200, 25)
    plain, n_plain = _ingested(stack, tag + "p", tmp_path, n, most=1, without="nothing")
    again, n_again = _ingested(stack, tag + "d", tmp_path, n, most=5, without="nothing")
    assert again == plain
    assert n_again <= 1.05 * n_plain
    note = f"embedded {n_again} texts, without duplicates {n_plain}"
    fault_row(FaultRow("A5 every event 1 to 5 times, kill -9", stack.kind, note=note))


def test_a_worker_without_memory_embeds_repeated_events_again(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """Control of A5."""
    _, n_plain = _ingested(stack, tag + "p", tmp_path, 12, most=1, without="nothing")
    _, n_again = _ingested(stack, tag + "d", tmp_path, 12, most=5, without="nothing+memory")
    assert n_again > 1.05 * n_plain


def _ingested(
    stack: FaultStack, tag: str, tmp_path: Path, n_documents: int, *, most: int, without: str
) -> tuple[dict[Entity, object], int]:
    """Ingest the same changes under another tag, with a kill if they are repeated; what shows, and texts embedded."""
    workload = Workload(3, tag, Size(2, n_documents))
    oracle = stack.oracle(workload.tenants)
    noted = stack.home / "embedded.txt"
    noted.unlink(missing_ok=True)
    changes = [change for change in workload.changes() if change.kind != "poison"]
    stack.feeder().feed(repeated(changes, random.Random(4), most), oracle.acknowledge)
    before = n_outcomes(stack)
    worker = stack.start(f"dup-{tag}", agents=CORPUS, without=without)
    if most > 1:
        until(lambda: n_outcomes(stack) > before + 20, 60, stack.logs)
        worker.kill()
        worker = stack.start(f"dup-{tag}", agents=CORPUS, without=without)
    found = stack.judge(oracle, tmp_path, f"dup-{tag}")
    found.assert_none()
    shown, rows = stack.shown(f"dup-{tag}", tmp_path, oracle.tenants), stack.rows(oracle.tenants)
    worker.stop()
    return _comparable(shown, rows, tag), sum(map(int, noted.read_text().split()))


def _comparable(shown: Mapping[Entity, Shown], rows: list[Row], tag: str) -> dict[Entity, object]:
    """What shows, without what the tenant's name decides."""
    texts = {row.chunk_id: re.findall(MARKER, row.text) for row in rows}
    return {
        (tenant.removeprefix(tag), document): (
            state.order,
            state.deleted,
            state.groups,
            [] if state.deleted else [each.replace(tag, "") for chunk in state.chunks for each in texts[chunk]],
        )
        for (tenant, document), state in shown.items()
    }


def test_versions_out_of_order_settle_at_the_highest_and_a_deleted_document_stays_deleted(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A6: v1, v3, v2; a delete and a late v2; a new version after that; a delete that comes late."""
    oracle = stack.oracle([f"{tag}-00"])
    rng = random.Random(6)

    def document(name: str, *versions: int) -> list[Change]:
        number = int(name)
        access = Change("access", f"{tag}-00", name, 1, groups=("*",))
        found = [access]
        for version in versions:
            marks = tuple(marker(tag, 0, number, part, abs(version)) for part in range(2))
            text = "\n\n".join(paragraph(rng, mark) for mark in marks)
            change = Change("upsert", f"{tag}-00", name, abs(version), text, marks)
            found.append(change if version > 0 else replace(change, kind="delete", text="", markers=()))
        return found

    cases = [(1, 3, 2), (1, -3, 2), (1, -3, 2, 4), (1, 3, -2), (-2, 1), (1, -2, 3, -4, 2)]
    documents = [document(str(case * 100 + i), *versions) for case, versions in enumerate(cases) for i in range(8)]
    stack.start(f"order-{tag}", agents=CORPUS)
    feeder = stack.feeder()
    for step in range(6):
        feeder.feed([each[step] for each in documents if step < len(each)], oracle.acknowledge)
    found = stack.judge(oracle, tmp_path, f"order-{tag}")
    found.assert_none()
    fault_row(FaultRow("A6 out of order, late after delete", stack.kind, note=f"{len(documents)} documents"))


def test_a_replay_from_the_beginning_changes_nothing_and_fills_an_empty_index_alike(
    corpus_stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A8: twice into the live index, once into an empty one."""
    stack = corpus_stack
    beginning = ends(stack.bootstrap, REPLAYED)
    workload = Workload(8, tag, Size(2, scaled(200, 25)))
    oracle = stack.oracle(workload.tenants)
    stack.feeder().feed(workload.changes(), oracle.acknowledge)
    name = f"replayed-{tag}"
    stack.start(name, agents=CORPUS)
    stack.judge(oracle, tmp_path, name).assert_none()
    stack.end_workers()
    live = digest(stack.shown(name, tmp_path, oracle.tenants))
    for _ in range(2):
        stack.rewind(CORPUS_GROUPS, beginning)
        stack.start(name, agents=CORPUS)
        found = stack.judge(oracle, tmp_path, name)
        found.assert_none()
        stack.end_workers()
        assert digest(stack.shown(name, tmp_path, oracle.tenants)) == live
    stack.rewind(CORPUS_GROUPS, beginning)
    index, settings = stack.another_index(tag)
    stack.start(name, agents=CORPUS, stores__state=str(stack.home / f"s-{tag}"), **settings)
    stack.drained()
    stack.end_workers()
    shown = stack.shown(name, tmp_path, oracle.tenants, f"s-{tag}")
    assert digest(shown) == live
    rows = {(row.tenant, row.chunk_id): row.text for row in stack.rows(oracle.tenants)}
    filled = {(row.tenant, row.chunk_id): row.text for row in stack.rows(oracle.tenants, index)}
    wanted = {(tenant, chunk) for (tenant, _), state in shown.items() if not state.deleted for chunk in state.chunks}
    assert wanted <= filled.keys()
    assert all(filled[each] == rows[each] for each in wanted)
    fault_row(
        FaultRow("A8 replay from offset 0, twice and into nothing", stack.kind, dead_letters=found.n_dead_letters)
    )


def test_a_worker_without_history_and_derived_ids_makes_another_index_of_a_replay(
    stack: FaultStack, tag: str, tmp_path: Path
) -> None:
    """Control of A8."""
    beginning = ends(stack.bootstrap, REPLAYED)
    workload = Workload(8, tag, Size(1, 10))
    oracle, name = stack.oracle(workload.tenants), f"forgetful-{tag}"
    stack.feeder().feed(workload.changes(), oracle.acknowledge)
    stack.start(name, agents=CORPUS)
    stack.judge(oracle, tmp_path, name).assert_none()
    live = digest(stack.shown(name, tmp_path, oracle.tenants))
    stack.end_workers()
    stack.rewind(CORPUS_GROUPS, beginning)
    stack.start(name, agents=CORPUS, without="derived_ids+history+chunk_ids+memory")
    stack.drained()
    stack.end_workers()
    assert digest(stack.shown(name, tmp_path, oracle.tenants)) != live
