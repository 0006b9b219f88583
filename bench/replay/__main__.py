"""``python -m bench.replay --data DIR``: measure P10 on a Kafka node of its own, which is ended afterwards.

The exit code is 1 if a budget was missed.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from bench.__main__ import ROOT
from bench.lab import Lab, open_lab
from bench.measure import Outcome
from bench.replay.beside import beside
from bench.replay.identity import identity, recall
from bench.replay.reading import reading
from bench.replay.recording import Sizes, record
from bench.replay.versions import versions
from bench.report import Finding, Report, as_json, environment, print_table, write_markdown
from bench.stack import running_stack

PARTS: Final = ("identity", "recall", "reading", "versions", "beside")


async def measure(lab: Lab, chosen: argparse.Namespace, sizes: Sizes, n_live: int) -> Outcome:
    """Record, replay, and look at what it costs."""
    hashing = chosen.hashing
    async with running_stack(lab, embedder="hashing" if hashing else "minilm") as connection:
        recording = await record(connection, chosen.data, sizes)
        measures: dict[str, Callable[[], Awaitable[Outcome]]] = {
            "identity": lambda: identity(connection, recording, hashing=hashing),
            "recall": lambda: recall(connection, recording, hashing=hashing),
            "reading": lambda: reading(connection, lab.repetitions),
            "versions": lambda: versions(connection, recording, lab.new_folder("tables")),
            "beside": lambda: beside(connection, recording, n_live, hashing=hashing),
        }
        parts = [await measures[name]() for name in PARTS if name in chosen.parts]
    return Outcome(
        checks=tuple(check for part in parts for check in part.checks),
        numbers={name: value for part in parts for name, value in part.numbers.items()},
        notes=" ".join(part.notes for part in parts),
    )


async def run(chosen: argparse.Namespace) -> Report:
    """Measure in a lab of its own."""
    repetitions = 1 if chosen.quick else 5
    sizes = Sizes(20, 12) if chosen.quick else Sizes(chosen.questions, 0)
    n_live = 6 if chosen.quick else chosen.live
    began = time.monotonic()
    async with open_lab(repetitions=repetitions, quick=chosen.quick, profile=chosen.profile) as lab:
        outcome = await measure(lab, chosen, sizes, n_live)
    finding = Finding(id="P10", title="replay of questions", seconds=time.monotonic() - began, outcome=outcome)
    return Report(
        findings=(finding,), environment=environment(ROOT, chosen.profile), repetitions=repetitions, quick=chosen.quick
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, report."""
    parser = argparse.ArgumentParser(prog="python -m bench.replay", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with the data sets")
    parser.add_argument("--questions", type=int, default=1_000, metavar="N", help="questions recorded")
    parser.add_argument("--live", type=int, default=300, metavar="N", help="live questions with and without a replay")
    parser.add_argument("--hashing", action="store_true", help="hashed words instead of a model: does everything run?")
    parser.add_argument("--profile", choices=("kafka", "native"), default="kafka", help="where rows and models are")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what is measured, by default all")
    parser.add_argument("--json", type=Path, default=ROOT / "build" / "replay.json")
    parser.add_argument("--markdown", type=Path, default=ROOT / "build" / "replay.md")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repetition: does everything run?")
    chosen = parser.parse_args(arguments)
    report = asyncio.run(run(chosen))
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_bytes(msgspec.json.format(as_json(report), indent=1))
    write_markdown(report, chosen.markdown)
    print_table(report)
    print(f"reports: {chosen.json} and {chosen.markdown}")
    return int(not report.met and not chosen.quick)


if __name__ == "__main__":
    sys.exit(main())
