"""The scan's cost is that of the scanner's processes, and a run ends when all of its documents are scanned."""

import asyncio

from agents.ports import GuardPorts, Rank
from bench.scanning import CountedScans, Ingested, scanner_seconds
from inference.injection import ScannerPool
from tests.fakes import Stack


async def test_a_run_is_over_when_all_of_its_documents_are_scanned() -> None:
    counted, stack = CountedScans(), Stack()
    ports: GuardPorts = counted.adapt(stack.guard)
    waiting = asyncio.create_task(counted.until(2))
    for text in ("one", "two"):
        await asyncio.sleep(0)
        assert not waiting.done()
        await ports.scanner.scan(text, Rank.DOCUMENT)
    await asyncio.wait_for(waiting, 10)
    assert [text for text, _ in stack.scanner.scans] == ["one", "two"]


async def test_scans_of_questions_are_not_counted() -> None:
    counted, stack = CountedScans(), Stack()
    await counted.adapt(stack.query).scanner.scan("what?", Rank.QUESTION)
    assert counted.n_done == 0


async def test_the_processor_time_of_the_scanner_is_that_of_its_processes() -> None:
    assert scanner_seconds() == 0.0
    pool = ScannerPool()
    try:
        await pool.scan("A text that is looked at with all rules.", Rank.DOCUMENT)
        assert scanner_seconds() > 0.0
    finally:
        await pool.stop()


def test_a_cost_is_told_for_a_megabyte() -> None:
    run = Ingested(n_bytes=500_000, visible_s=2.0, scanned_s=3.0, worker_s=4.0, scanner_s=1.0)
    assert run.a_mb(run.scanner_s) == 2.0
