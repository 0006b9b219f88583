"""Measure the shipped configuration beside the reference: ``python -m bench.quality --data DIR``."""

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from agents.query.policy import QueryPolicy
from bench.datasets import DataSet, load
from bench.quality import tuning
from bench.quality.measures import NAMES, Ratio, Refusals, compare, cross_fitted, group_of, measure, refusals
from bench.quality.reference import Encoder, Reference
from bench.quality.stack import QualityStack, open_stack
from bench.quality.tuning import Held
from infra.settings import load as load_settings

SETS = {"xquad": 0.5, "policyqa": 0.8}
"""Data sets, each with the weight of the cosine that is best for it alone: the reference's."""
LEAST_RATIO = 0.98
MOST_REFUSED, LEAST_REFUSED = 0.05, 0.85
TARGET = 0.025
"""Share of answerable questions that a threshold may refuse where it is chosen: half of what is allowed elsewhere."""


class Quality(msgspec.Struct, frozen=True):
    """Findings on one data set.

    Attributes
    ----------
    fusion, maxsim : dict of str to Ratio
        By measure: the agents against the reference without and with token vectors.
    shipped, fitted : Refusals
        At the shipped threshold, and at thresholds chosen on other articles.
    """

    name: str
    n_questions: int
    fusion: dict[str, Ratio]
    maxsim: dict[str, Ratio]
    shipped: Refusals
    fitted: Refusals

    @property
    def met(self) -> bool:
        """Whether the requirements hold: against both references for chunks and sentences, and at the threshold."""
        refused = np.isnan(self.shipped.removed) or self.shipped.removed >= LEAST_REFUSED
        ratios = [*self.fusion.values(), *self.maxsim.values()]
        enough = all(ratio.ratio >= LEAST_RATIO for ratio in ratios)
        return bool(enough and refused and self.shipped.answerable <= MOST_REFUSED)


def sampled(data: DataSet, n: int, seed: int) -> DataSet:
    """At most `n` of the questions, at random; all where `n` is 0."""
    if not 0 < n < len(data.questions):
        return data
    return DataSet(data.documents, tuple(random.Random(seed).sample(data.questions, n)))


async def measure_set(
    name: str, data: DataSet, stack: QualityStack, reference: Reference, policy: QueryPolicy
) -> Quality:
    """Ask the agents and the reference the same questions."""
    questions, groups = data.questions, group_of(data)
    everyone = sorted(set(stack.groups))
    vectors, tokens = reference.encoder.encode([question.question for question in questions])
    ours: list[list[float]] = []
    fusion: list[list[float]] = []
    maxsim: list[list[float]] = []
    signals, removed = [], []
    for question, group, vector, words in zip(questions, groups, vectors, tokens, strict=True):
        found = await stack.ask(question.question, everyone, question.labels)
        ours.append(measure(question, found.chunks, stack.chunks(question.documents), found.sentences))
        signals.append(found.signal)
        if not question.labels:  # with a label nothing would be left to search
            rest = [each for each in everyone if each != group]
            removed.append((await stack.ask(question.question, rest, {})).signal)
        among = reference.within(stack.members(group)) if question.labels else range(len(reference.chunks))
        for target, late in ((fusion, False), (maxsim, True)):
            chunks, sentences = reference.ask(question.question, vector, words, among, SETS[name], maxsim=late)
            target.append(measure(question, chunks, reference.chunks, sentences))
    threshold = policy.restricted_threshold if questions[0].labels else policy.answer_threshold
    answerable, gone = np.array(signals), np.array(removed)
    return Quality(
        name=name,
        n_questions=len(questions),
        fusion=_ratios(ours, fusion),
        maxsim=_ratios(ours, maxsim),
        shipped=refusals(answerable, gone, threshold),
        fitted=cross_fitted(answerable, groups, gone, TARGET)[1],
    )


def _ratios(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> dict[str, Ratio]:
    left, right = np.array(ours), np.array(theirs)
    return {name: compare(left[:, i], right[:, i]) for i, name in enumerate(NAMES)}


async def run(data: Path, n: int, seed: int, cache: Path, *, tune: bool) -> list[Quality] | Held:
    """Index both data sets together and measure each, or choose weights for both."""
    policy = QueryPolicy()
    sets = {name: sampled(load(name, data), n, seed) for name in SETS}
    documents = [document for each in sets.values() for document in each.documents]
    models = load_settings().settings.cache / "models"
    with tempfile.TemporaryDirectory(prefix="millrace-quality-") as folder:
        async with open_stack(Path(folder), models, cache, policy) as stack:
            await stack.ingest(documents)
            if tune:
                return await tuning.tune(sets, stack, policy.rerank_chunks)
            reference = await asyncio.to_thread(Reference, documents, Encoder())
            return [await measure_set(name, each, stack, reference, policy) for name, each in sets.items()]


def markdown(found: Sequence[Quality]) -> str:
    """Tables of what was measured."""
    lines = []
    for each in found:
        lines += [f"### {each.name}, {each.n_questions} questions", ""]
        lines += ["| | agents | fusion | ratio [95 %] | with MaxSim | ratio [95 %] |", "|---|---|---|---|---|---|"]
        for name in NAMES:
            plain, late = each.fusion[name], each.maxsim[name]
            lines.append(
                f"| {name} | {plain.ours:.1%} | {plain.reference:.1%} | {plain.ratio:.3f} [{plain.low:.3f}, "
                f"{plain.high:.3f}] | {late.reference:.1%} | {late.ratio:.3f} [{late.low:.3f}, {late.high:.3f}] |"
            )
        lines += ["", "| threshold | refused, answerable | refused, article removed |", "|---|---|---|"]
        for what, rates in (("shipped", each.shipped), ("cross-fitted", each.fitted)):
            gone = "-" if np.isnan(rates.removed) else f"{rates.removed:.1%}"
            lines.append(f"| {what}, {rates.threshold:.3f} | {rates.answerable:.1%} | {gone} |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, print; status 1 where a requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with the data sets")
    parser.add_argument("--questions", type=int, default=0, metavar="N", help="of each set at most so many; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--cache", type=Path, default=Path("build") / "quality.embeddings.db", help="kept vectors")
    parser.add_argument("--json", type=Path, default=Path("build") / "quality.json", help="write the findings as JSON")
    parser.add_argument("--tune", action="store_true", help="cross-validate the weights of the ranking instead")
    given = parser.parse_args(arguments)
    found = asyncio.run(run(given.data, given.questions, given.seed, given.cache, tune=given.tune))
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    if isinstance(found, Held):
        print(tuning.markdown(found))
        return 0
    print(markdown(found))
    return 0 if all(each.met for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
