"""Break one stage of many questions and see whether it is named: ``python -m bench.stages --data DIR``."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from agents.learn.policy import LearnPolicy
from agents.query.policy import QueryPolicy
from bench.datasets import load
from bench.quality.stack import open_stack
from bench.stages.cases import Case, Found, Part, cases_of, confusion, parts_of
from bench.stages.chain import Chain
from bench.stages.faults import STAGES
from infra.settings import load as load_settings
from millrace.events.learn import Stage

SETS = ("xquad", "policyqa")
LEAST_AGREEMENT = 0.9


async def run(data: Path, part: Part, n_each: int, seed: int, cache: Path) -> list[Found]:
    """Index both data sets together and break questions of one part of each."""
    sets = {name: load(name, data) for name in SETS}
    models = load_settings().settings.cache / "models"
    with tempfile.TemporaryDirectory(prefix="millrace-stages-") as folder:
        async with open_stack(Path(folder), models, cache, QueryPolicy()) as stack:
            await stack.ingest([document for each in sets.values() for document in each.documents])
            chain = Chain(stack, sorted(stack.groups), LearnPolicy())
            found = []
            for name, each in sets.items():
                chosen = [
                    (question, of) for question, of in zip(each.questions, parts_of(each), strict=True) if of == part
                ]
                found.append(await cases_of(name, chosen, chain, n_each // len(SETS), seed))
            return found


def agreement(cases: Sequence[Case]) -> float:
    """Share of cases whose broken stage was named."""
    return sum(case.agrees for case in cases) / max(len(cases), 1)


def markdown(cases: Sequence[Case]) -> str:
    """Confusion matrix, and the agreement by set and by what the asker said."""
    stages: tuple[str, ...] = (*get_args(Stage), "none")
    matrix = confusion(cases)
    lines = ["| broken | " + " | ".join(stages) + " | agreement |", "|---|" + "---|" * (len(stages) + 1)]
    for fault, stage in STAGES.items():
        row, n = matrix[fault], matrix[fault].total()
        lines.append(f"| {fault} | " + " | ".join(str(row[each]) for each in stages) + f" | {row[stage]} of {n} |")
    lines += ["", "| cases | n | agreement |", "|---|---|---|"]
    subsets = {
        "all": list(cases),
        **{f"of {name}": [case for case in cases if case.set == name] for name in SETS},
        "corrected": [case for case in cases if case.corrected],
        "disliked alone": [case for case in cases if not case.corrected],
    }
    lines += [f"| {name} | {len(each)} | {agreement(each):.1%} |" for name, each in subsets.items() if each]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, print; status 1 where too few stages are named rightly."""
    parser = argparse.ArgumentParser(prog="python -m bench.stages", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with the data sets")
    parser.add_argument("--part", choices=get_args(Part), default="held out", help="which half of the articles")
    parser.add_argument("--each", type=int, default=50, metavar="N", help="cases of each fault")
    parser.add_argument("--seed", type=int, default=0, help="which questions, and which fault meets which")
    parser.add_argument("--cache", type=Path, default=Path("build") / "quality.embeddings.db", help="kept vectors")
    parser.add_argument("--json", type=Path, default=Path("build") / "stages.json", help="write the cases as JSON")
    given = parser.parse_args(arguments)
    given.cache.parent.mkdir(parents=True, exist_ok=True)
    found = asyncio.run(run(given.data, given.part, given.each, given.seed, given.cache))
    cases = [case for each in found for case in each.cases]
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    print(markdown(cases))
    return 0 if agreement(cases) >= LEAST_AGREEMENT else 1


if __name__ == "__main__":
    sys.exit(main())
