"""Measure the budgets: ``python -m bench [P1 P2 ...] [--json FILE] [--markdown FILE] [--profile native] [--quick]``.

Each benchmark runs on a Kafka node of its own, which is ended afterwards. The exit code is 1 if a budget was missed or
a benchmark failed; with ``--quick`` only if one failed.
"""

import argparse
import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import (
    ask,
    codec,
    edits,
    first_frame,
    freshness,
    guards,
    ingest,
    models,
    scanning,
    throughput,
    visibility,
)
from bench.lab import Lab, Profile, open_lab
from bench.measure import REPETITIONS, Outcome
from bench.report import Finding, Report, as_json, environment, print_table, write_markdown

ROOT = Path(__file__).parent.parent


class Benchmark(NamedTuple):
    """One budget's measurement."""

    title: str
    run: Callable[[Lab], Awaitable[Outcome]]
    broker: bool = True


BENCHMARKS = {
    "P1": Benchmark("consume, decode, handle", throughput.consume),
    "P2": Benchmark("one output per input, acknowledged", throughput.transform),
    "P3": Benchmark("codec", codec.measure, broker=False),
    "P4": Benchmark("a question over the topics and back", ask.measure),
    "P5": Benchmark("ingest of a new corpus", ingest.measure),
    "P6": Benchmark("what an edit embeds again", edits.measure),
    "P7": Benchmark("an edit until it is answered from", freshness.edits),
    "P8": Benchmark("a revoked permission until it is enforced", freshness.revocations),
    "P9": Benchmark("model calls through Triton", models.measure, broker=False),
    "P11": Benchmark("the visibility table", visibility.measure, broker=False),
    "F1": Benchmark("the first frame of a streamed answer", first_frame.measure),
    "G1": Benchmark("what the guards add to the first frame", guards.measure),
    "S1": Benchmark("what the scan of documents costs", scanning.measure),
    "T1": Benchmark("what tracing costs", throughput.traces),
}


async def measure(name: str, *, repetitions: int, quick: bool, profile: Profile) -> Finding:
    """Run one benchmark; a failure is a finding too."""
    benchmark = BENCHMARKS[name]
    began = time.monotonic()
    try:
        async with open_lab(repetitions=repetitions, quick=quick, broker=benchmark.broker, profile=profile) as lab:
            outcome = await benchmark.run(lab)
    except Exception as error:
        logging.getLogger(__name__).exception("%s failed", name)
        message = f"{type(error).__name__}: {error}"
        return Finding(id=name, title=benchmark.title, seconds=time.monotonic() - began, error=message)
    return Finding(id=name, title=benchmark.title, seconds=time.monotonic() - began, outcome=outcome)


async def run(names: Sequence[str], *, repetitions: int, quick: bool, profile: Profile) -> Report:
    """Run benchmarks one after the other."""
    about = environment(ROOT, profile)
    findings = []
    task = asyncio.current_task()
    if task is not None:  # SIGTERM, like SIGINT, ends what was started
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    for name in names:
        print(f"==> {name}: {BENCHMARKS[name].title}", file=sys.stderr, flush=True)
        findings.append(await measure(name, repetitions=repetitions, quick=quick, profile=profile))
        print(f"    {findings[-1].seconds:.0f} s", file=sys.stderr, flush=True)
    return Report(findings=tuple(findings), environment=about, repetitions=repetitions, quick=quick)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the budgets side by side with peers.")
    parser.add_argument("names", nargs="*", metavar="P", help=f"budgets to measure: {', '.join(BENCHMARKS)}; all")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "bench.json", help="write the report as JSON")
    parser.add_argument(
        "--markdown", type=Path, default=ROOT / "build" / "bench.md",
        help="write it as Markdown; between the marks of results in a file that has them, such as docs/benchmarks.md",
    )  # fmt: skip
    parser.add_argument(
        "--profile", choices=("kafka", "native"), default="kafka",
        help="native: chunks in Weaviate, models in Triton, schemas in the registry",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: does everything run?")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    repetitions = 1 if chosen.quick else REPETITIONS
    names = chosen.names or list(BENCHMARKS)
    report = asyncio.run(run(names, repetitions=repetitions, quick=chosen.quick, profile=chosen.profile))
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_bytes(as_json(report))
    write_markdown(report, chosen.markdown)
    print_table(report)
    print(f"reports: {chosen.json} and {chosen.markdown}")
    if chosen.quick:
        return int(any(finding.outcome is None for finding in report.findings))
    return int(not report.met)


if __name__ == "__main__":
    sys.exit(main())
