"""What is large, tampered with, or written by another release: taken in whole, or refused with an outcome."""

from __future__ import annotations

import asyncio
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.settings import process_environment
from millrace import schema_folder
from millrace.client import Millrace, Outcome
from millrace.codec import Codec
from millrace.connection import find_connection
from millrace.events.corpus import AclChanged, SourceChanged
from millrace.objects import reference
from millrace.topics import ACL_CHANGED, SOURCE_CHANGED
from tests.conditions import wait_until
from tests.faults.handlers_tally import GROUP, TALLIED
from tests.faults.harness import FaultStack
from tests.faults.job_runs import HANDLERS, Jobs, start
from tests.faults.jobs import DONE, GROUPS, JobDone, JobSubmitted
from tests.faults.log_access import Raw
from tests.faults.oracle import Oracle
from tests.faults.report import FaultRow
from tests.faults.workload import MARKER, Change, marker, paragraph, scaled

CORPUS = ("agents.corpus",)
RECORD_BYTES = 1_048_576
Note = Callable[[FaultRow], None]


def text_of(tag: str, number: int, n_bytes: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """A text of exactly `n_bytes` in paragraphs, and their markers."""
    parts: list[str] = []
    marks: list[str] = []
    size = 0
    while size < n_bytes - 1200:
        marks.append(marker(tag, 0, number, len(marks), 0))
        parts.append(paragraph(rng, marks[-1], n_words=150))
        size += len(parts[-1]) + 2
    text = "\n\n".join(parts)
    filler = " meadow" * ((n_bytes - len(text)) // 7 + 1)
    return (text + filler)[:n_bytes], tuple(marks)


def sources(stack: FaultStack, tenant: str) -> Iterator[tuple[Raw, SourceChanged]]:
    codec = Codec()
    for raw in stack.records((SOURCE_CHANGED.name,)):
        if raw.header("ce_tenant") == tenant and raw.value:
            event = codec.decode(raw.value)
            assert isinstance(event, SourceChanged)
            yield raw, event


def acknowledge_log(stack: FaultStack, oracle: Oracle, tenant: str, texts: dict[str, tuple[str, ...]]) -> None:
    """Give the oracle what a client was told is written: each source record, and its access."""
    for raw, event in sources(stack, tenant):
        kind = "delete" if event.op == "delete" else "upsert"
        marks = texts[event.document]
        oracle.acknowledge(Change(kind, tenant, event.document, event.version, "", marks), raw.place)  # type: ignore[arg-type]
    codec = Codec()
    for raw in stack.records((ACL_CHANGED.name,)):
        acl = codec.decode(raw.value)
        if isinstance(acl, AclChanged) and acl.tenant == tenant:
            oracle.acknowledge(Change("access", tenant, acl.document, acl.version, groups=acl.groups), raw.place)


def test_documents_over_the_limit_of_a_record_travel_by_reference_and_arrive_whole(
    stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """C4: 900 kB, 1 MB and a byte, and 20 MB (5 MB in the ordinary run)."""
    rng, tenant = random.Random(9), f"{tag}-00"
    sizes = (900_000, 1_000_001, scaled(20_000_000, 5_000_000))
    documents = {f"{n}.md": text_of(tag, i, n, rng) for i, n in enumerate(sizes)}
    stack.start(f"large-{tag}", agents=CORPUS)

    async def put() -> list[Outcome]:
        async with Millrace(find_connection(home=stack.home), tenant=tenant) as client:
            sent = [await client.put_document(name, text, groups=["*"]) for name, (text, _) in documents.items()]
            return await client.wait(sent, 300)

    outcomes = asyncio.run(put())
    assert [outcome.outcome for outcome in outcomes] == ["indexed"] * len(sizes)
    for raw, event in sources(stack, tenant):
        assert len(raw.value or b"") < RECORD_BYTES
        assert (event.text is None) == (event.content is not None)
    oracle = Oracle([tenant])
    acknowledge_log(stack, oracle, tenant, {name: marks for name, (_, marks) in documents.items()})
    stack.judge(oracle, tmp_path, f"large-{tag}").assert_none()
    fault_row(FaultRow("C4 large documents", stack.kind, note=f"{', '.join(map(str, sizes))} bytes"))


def test_a_tampered_object_is_refused_with_an_outcome(stack: FaultStack, tag: str, fault_row: Note) -> None:
    """C4."""
    outcome = _tampered(stack, tag)
    assert (outcome.outcome, outcome.reason) == ("rejected", "object_tampered")
    fault_row(FaultRow("C4 tampered object", stack.kind, note=outcome.outcome))


def test_a_store_that_does_not_check_digests_lets_a_tampered_object_in(stack: FaultStack, tag: str) -> None:
    """Control of C4."""
    assert _tampered(stack, tag, without="digests").outcome == "indexed"


def _tampered(stack: FaultStack, tag: str, without: str = "") -> Outcome:
    data = b"What was agreed. " * 400

    async def put() -> Outcome:
        async with Millrace(find_connection(home=stack.home), tenant=tag) as client:
            receipt = await client.put_document("contract.md", data, groups=["*"])
            digest = reference(data).removeprefix("sha256:")
            stored = next(stack.objects.rglob(digest))
            stored.chmod(0o600)
            stored.write_bytes(data.replace(b"agreed", b"forged"))
            stack.start(agents=CORPUS, without=without)
            return (await client.wait(receipt, 60))[0]

    return asyncio.run(put())


def test_old_and_new_releases_run_side_by_side_and_read_each_other(
    stack: FaultStack, tag: str, fault_row: Note
) -> None:
    """C3: jobs done by two releases at once are tallied by the old one; what the gate refuses is tested with it."""
    n_letters, releases, n_lost = _mixed(stack, tag)
    assert (n_letters, n_lost) == (0, 0)
    assert releases == {True, False}
    fault_row(FaultRow("C3 two releases at once", stack.kind))


def test_releases_that_do_not_share_their_schemas_cannot_read_each_other(stack: FaultStack, tag: str) -> None:
    """Control of C3."""
    n_letters, _, _ = _mixed(stack, tag, without="schemas")
    assert n_letters > 0


def _mixed(stack: FaultStack, tag: str, without: str = "") -> tuple[int, set[bool], int]:
    jobs = Jobs(stack, tag)
    stack.create_topics((TALLIED.name,))
    schema_folder.publish(stack.objects, Codec((JobSubmitted, JobDone)))
    tally = stack.start(agents=["tests.faults.handlers_tally"], without=without)
    start(stack, HANDLERS)
    start(stack, "tests.faults.handlers_next")
    jobs.send([jobs.job(f"lane-{i % 40}", work_ms=5) for i in range(800)])
    stack.drained({**GROUPS, GROUP: (DONE.name,)})
    assert tally.running
    letters = [raw for raw in stack.records((DONE.dead_letters,)) if raw.header("ce_tenant") == tag]
    done = [raw for raw in stack.records((DONE.name,)) if raw.header("ce_tenant") == tag]
    old = Codec((JobDone,)).schemas()
    releases = {int.from_bytes((raw.value or b"")[1:5], "big") in old for raw in done}
    tallied = {raw.header("ce_causationid") for raw in stack.records((TALLIED.name,))}
    return len(letters), releases, len({raw.header("ce_id") for raw in done} - tallied)


@pytest.mark.slow
def test_a_folder_ingested_while_no_worker_ran_is_complete_once_one_does(
    roomy_stack: FaultStack, tag: str, tmp_path: Path, fault_row: Note
) -> None:
    """100 MB; 5 MB in the ordinary run. The expectation comes from the files themselves.

    Kafka takes all of it at once. The small log of the embedded broker does not: there `ingest` stops where the log
    could lose something, says that it waits for workers, and goes on when they do.
    """
    stack = roomy_stack
    rng, folder = random.Random(11), tmp_path / "pages"
    folder.mkdir()
    n_bytes, size = scaled(100_000_000, 5_000_000), 20_000
    texts: dict[str, tuple[str, ...]] = {}
    for number in range(n_bytes // size):
        text, texts[f"{number:05}.md"] = text_of(tag, number, size, rng)
        (folder / f"{number:05}.md").write_text(text)
    program = "from millrace.cli import main; main()"
    command = [sys.executable, "-c", program, "ingest", str(folder), "--tenant", tag, "--json"]
    environment = process_environment(home=str(stack.home))
    said, wrote = tmp_path / "ingest.err", tmp_path / "ingest.json"
    with (
        said.open("wb") as err,
        wrote.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=err, env=environment) as run,
    ):
        try:
            wait_until(lambda: run.poll() is not None or b"waiting for workers" in said.read_bytes(), timeout_s=900)
            assert stack.kind == "embedded" or run.poll() == 0, said.read_text()[-2000:]
            stack.start(f"late-{tag}", agents=CORPUS)
            began = time.monotonic()
            assert run.wait(1500) == 0, said.read_text()[-2000:]
        finally:
            run.kill()
    assert json.loads(wrote.read_bytes())["sent"] == len(texts)
    oracle = Oracle([tag])
    acknowledge_log(stack, oracle, tag, texts)
    assert len(oracle.documents()) == len(texts)
    stack.drained(timeout_s=1500)
    seconds = time.monotonic() - began
    found = stack.judge(oracle, tmp_path, f"late-{tag}")
    found.assert_none()
    shown = {m for row in stack.rows([tag]) for m in re.findall(MARKER, row.text)}
    assert shown == {mark for marks in texts.values() for mark in marks}
    note = f"{n_bytes / 1e6:g} MB in {len(texts)} files, caught up in {seconds:.0f} s"
    fault_row(FaultRow("backlog of a stopped worker", stack.kind, note=note))
