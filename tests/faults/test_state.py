"""What a worker keeps is damaged, half restored or cannot grow, or its clock is wrong: the log decides."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from millrace.client import Millrace
from millrace.connection import Connection, find_connection
from millrace.errors import MillraceError
from millrace.topics import SOURCE_CHANGED
from tests.faults.harness import FaultStack
from tests.faults.job_runs import Jobs, start
from tests.faults.log_access import Place, ends, until
from tests.faults.oracle import DEAD_LETTERS, Findings
from tests.faults.report import FaultRow
from tests.faults.worker import Worker
from tests.faults.workload import Change, Size, Workload, marker, paragraph, scaled

CORPUS = ("agents.corpus",)
FULL_BYTES = 160 * 1024
Note = Callable[[FaultRow], None]


def changes_of(workload: Workload) -> list[Change]:
    return [change for change in workload.changes() if change.kind != "poison"]


# --- A11


def test_damaged_state_is_put_aside_and_restored_from_the_log_though_the_restore_is_killed(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A11: a file full of noise, and one in which a single value was changed."""
    found, n_aside, n_kills = _damaged(stack, tag, tmp_path)
    found.assert_none()
    assert n_aside >= 2
    note = f"{n_kills} kills during the restore"
    fault_row(FaultRow("A11 damaged state, killed restore", stack.kind, note=note))


def test_a_table_that_does_not_check_its_rows_is_no_fold_of_the_log(
    stack: FaultStack, tag: str, tmp_path: Path
) -> None:
    """Control of A11."""
    found, _, _ = _damaged(stack, tag, tmp_path, without="checksums")
    assert found.diverged


def _damaged(stack: FaultStack, tag: str, tmp_path: Path, without: str = "") -> tuple[Findings, int, int]:
    """Damage a worker's files, and kill it while it restores them; findings, files put aside, kills."""
    workload, name, n_kills = Workload(51, tag, Size(2, scaled(200, 25), 1)), f"damaged-{tag}", 0
    oracle, state = stack.oracle(workload.tenants), stack.home / "state"
    stack.feeder().feed(changes_of(workload), oracle.acknowledge)
    stack.start(name, agents=CORPUS)
    stack.judge(oracle, tmp_path, name).assert_none()
    stack.end_workers()
    for damage in (_noise, _another_value):
        damage(state / f"{name}.visibility.db")
        if not without:
            _noise(state / f"{name}.embeddings.db")
            restoring = stack.start(name, agents=CORPUS, wait=False)
            aside = len([*state.glob(f"{name}*.damaged*")])
            until(lambda: len([*state.glob(f"{name}*.damaged*")]) > aside or restoring.ready(), 60)  # noqa: B023
            restoring.kill()
            n_kills += 1
            if (state / f"{name}.visibility.db").exists():
                damage(state / f"{name}.visibility.db")
        stack.start(name, agents=CORPUS, without=without)
        stack.drained()
        stack.end_workers()
    worker = stack.start(name, agents=CORPUS, without=without)
    found = stack.judge(oracle, tmp_path, name, drain=not without)
    worker.stop()
    return found, len([*state.glob(f"{name}.visibility.db*.damaged*")]), n_kills


def _noise(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    data = bytearray(path.read_bytes())
    data[100:9000] = b"\x5a" * 8900
    path.write_bytes(data)


def _another_value(path: Path) -> None:
    """What SQLite cannot notice: every document is open to everybody; nothing in a file that has no table yet."""
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'accesses'").fetchone() is None:
            return
        database.execute('UPDATE accesses SET groups = \'["*", "stranger"]\'')


# --- A12


def test_workers_whose_clocks_are_an_hour_apart_agree_on_what_is_newest(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """A12."""
    _by_clock(stack, tag, tmp_path, "").assert_none()
    fault_row(FaultRow("A12 clocks an hour off", stack.kind, note="one worker ahead, the next one behind, by turns"))


def test_a_table_that_goes_by_the_clock_shows_older_versions(stack: FaultStack, tag: str, tmp_path: Path) -> None:
    """Control of A12."""
    assert _by_clock(stack, tag, tmp_path, "+by_clock").stale


def _by_clock(stack: FaultStack, tag: str, tmp_path: Path, without: str) -> Findings:
    """Let workers of two clocks take turns at the versions of documents."""
    oracle, rng = stack.oracle([f"{tag}-00"]), random.Random(52)
    for version, clock in enumerate(("ahead", "behind", "ahead", "behind")[: scaled(4, 2)], start=1):
        for number in range(scaled(200, 10)):
            document, mark = f"{number}.md", marker(tag, 0, number, 0, version)
            access = Change("access", f"{tag}-00", document, version, groups=("*",))
            text = Change("upsert", f"{tag}-00", document, version, paragraph(rng, mark), (mark,))
            stack.feeder().feed([access, text], oracle.acknowledge)
        name = f"clocks-{tag}-{version}"  # its table is folded from the beginning
        worker = stack.start(name, agents=CORPUS, without=f"{clock}{without}")
        stack.drained()
        if version == scaled(4, 2):
            break
        worker.stop()
    return stack.judge(oracle, tmp_path, name, drain=not without)


# --- B6: no file of a process may grow beyond a size, which is how a full disk looks to it


def test_a_worker_whose_disk_is_full_waits_and_goes_on_when_there_is_room(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """B6: state, and the vector tables where they are files."""
    workload, name = Workload(53, tag, Size(2, scaled(200, 15), 1)), f"full-{tag}"
    oracle, before = stack.oracle(workload.tenants), ends(stack.bootstrap, DEAD_LETTERS)
    worker = _without_room(stack, name, changes_of(workload), oracle.acknowledge)
    until(lambda: _retried(worker) > 20, 60, stack.logs)
    assert ends(stack.bootstrap, DEAD_LETTERS) == before
    began = time.monotonic()
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
    stack.drained()
    seconds = time.monotonic() - began
    stack.judge(oracle, tmp_path, name).assert_none()
    assert ends(stack.bootstrap, DEAD_LETTERS) == before
    fault_row(FaultRow("B6 full disk of a worker", stack.kind, progress_s=seconds, note="waits, and goes on by itself"))


def test_a_worker_that_takes_a_full_disk_for_a_mistake_gives_documents_up(stack: FaultStack, tag: str) -> None:
    """Control of B6."""
    workload, before = Workload(53, tag, Size(1, 8, 1)), sum(ends(stack.bootstrap, DEAD_LETTERS).values())
    changes, oracle = changes_of(workload), stack.oracle(workload.tenants)
    _without_room(stack, f"full-{tag}", changes, oracle.acknowledge, without="classes")
    until(lambda: sum(ends(stack.bootstrap, DEAD_LETTERS).values()) > before, 60, stack.logs)


def _retried(worker: Worker) -> int:
    """How often its agents have tried again because something was away."""
    answer = httpx.get(f"http://127.0.0.1:{worker.report()['health_port']}/numbers", timeout=10)
    errors = [error for agent in answer.json().values() for error in agent["errors"]]
    return sum(error["n"] for error in errors if error["type"] == "unavailable")


def _without_room(
    stack: FaultStack,
    name: str,
    changes: list[Change],
    acknowledge: Callable[[Change, Place], object],
    without: str = "",
) -> Worker:
    """Start a worker none of whose files may grow, and give it work."""
    worker = stack.start(name, agents=CORPUS, without=without)
    _fill(worker.pid)
    stack.feeder().feed(changes, acknowledge)
    return worker


def test_a_client_whose_objects_find_no_room_is_told_and_nothing_is_acknowledged(
    stack: FaultStack, tag: str, fault_row: Note
) -> None:
    """B6: objects."""
    large = "What was agreed. " * 200_000

    async def put() -> None:
        async with Millrace(find_connection(home=stack.home), tenant=tag) as client:
            before = ends(stack.bootstrap, (SOURCE_CHANGED.name,))
            with _no_file_beyond(FULL_BYTES), pytest.raises(MillraceError) as told:
                await client.put_document("large.md", large, groups=["*"])
            assert ends(stack.bootstrap, (SOURCE_CHANGED.name,)) == before
            assert "cannot take" in str(told.value)
            await client.put_document("large.md", large, groups=["*"])
            assert ends(stack.bootstrap, (SOURCE_CHANGED.name,)) != before

    asyncio.run(put())
    fault_row(FaultRow("B6 full disk of the objects", stack.kind, note="the client is told; nothing is acknowledged"))


@contextlib.contextmanager
def _no_file_beyond(n_bytes: int) -> Iterator[None]:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_broker_whose_disk_is_full_acknowledges_nothing_and_goes_on_when_it_has_room(
    kafka_only: FaultStack, tag: str, fault_row: Note
) -> None:
    """B6: the log."""
    node, jobs = kafka_only.node, Jobs(kafka_only, tag)
    assert node is not None
    start(kafka_only)
    jobs.send([jobs.job(f"lane-{i % 40}") for i in range(400)])
    jobs.wait_done(400)
    _fill(node.process.pid)
    for i in range(40):
        jobs.send_later(jobs.job(f"lane-{i}"))
    until(lambda: not node.running, 60)
    node.start()
    jobs.feeder.flush()
    found = jobs.judge()
    assert found.violations == {}
    fault_row(FaultRow("B6 full disk of the broker", "kafka", note="the node ends, is started with room, and goes on"))


def test_who_waits_for_no_acknowledgement_loses_what_a_full_disk_did_not_take(kafka_only: FaultStack, tag: str) -> None:
    """Control of B6."""
    node = kafka_only.node
    assert node is not None
    topic = f"full-{tag}"
    kafka_only.create_topics([topic], 1)
    delivered: list[KafkaError | None] = []
    producer = Producer(Connection(bootstrap=kafka_only.bootstrap).librdkafka() | {"acks": "0", "log_level": 0})
    producer.produce(topic, b"first", on_delivery=lambda error, _: delivered.append(error))
    producer.flush(20)
    _fill(node.process.pid)
    producer.produce(topic, b"second", on_delivery=lambda error, _: delivered.append(error))
    producer.flush(20)
    until(lambda: not node.running, 60)
    node.start()
    assert delivered == [None, None]
    counts: list[int] = []

    def counted() -> bool:
        with contextlib.suppress(KafkaException):  # until it leads its partitions again
            counts.append(sum(ends(kafka_only.bootstrap, (topic,)).values()))
        return bool(counts)

    until(counted, 30)
    assert counts[-1] < 2


def _fill(pid: int) -> None:
    """From now on no file of a process grows."""
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))
