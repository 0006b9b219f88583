"""Which questions are broken how, and whether the stage that is named is the broken one."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from agents.learn.material import says
from bench.datasets import DataSet
from bench.quality.measures import group_of
from bench.stages.chain import Asked, Chain
from bench.stages.faults import STAGES, Fault
from millrace.evaluation.questions import KnownQuestion
from millrace.events.query import Citation

Part = Literal["chosen on", "held out"]
_WHOLE: Final = 1.0


class Case(msgspec.Struct, frozen=True):
    """One broken question.

    Attributes
    ----------
    corrected : bool
        Whether the asker said what would have been right, or only that the answer was not.
    stage, rule : str
        What was said to have failed.
    """

    question: str
    set: str
    part: Part
    fault: Fault
    corrected: bool
    stage: str
    rule: str
    evidence: dict[str, str] = {}

    @property
    def agrees(self) -> bool:
        """Whether the broken stage was named."""
        return self.stage == STAGES[self.fault]


class Found(msgspec.Struct, frozen=True):
    """Cases, and how many faults did no harm: the answer was right all the same."""

    cases: list[Case]
    harmless: dict[str, int]


def parts_of(data: DataSet) -> list[Part]:
    """Part of each question: every other article or policy is what the rules were chosen on."""
    groups = group_of(data)
    place = {name: n for n, name in enumerate(sorted(set(groups)))}
    return ["held out" if place[name] % 2 else "chosen on" for name in groups]


async def cases_of(
    name: str, questions: Sequence[tuple[KnownQuestion, Part]], chain: Chain, n_each: int, seed: int
) -> Found:
    """Break questions that are answered rightly, each in one stage, until there are enough of each fault.

    A fault counts where it made the answer wrong: otherwise nobody would ask what failed.

    Parameters
    ----------
    name : str
        Data set.
    questions : sequence of (KnownQuestion, Part)
        What is asked.
    n_each : int
        Cases of each fault.
    seed : int
        Order of the questions, and which fault meets which.
    """
    rng = random.Random(seed)
    left = Counter(dict.fromkeys(STAGES, n_each))
    found: list[Case] = []
    harmless: Counter[str] = Counter()
    for question, part in rng.sample(list(questions), len(questions)):
        if not +left:
            break
        labels = dict(question.labels)
        right = right_citation(question, await chain.ask(question.question, labels))
        if right is None:
            continue
        fault = rng.choice(sorted(+left))
        answer = answer_in(question, right)
        corrected = rng.random() < 0.5
        async with chain.broken(fault, right):
            asked = await chain.ask(question.question, labels, fault, right=right, rng=rng)
            if right_citation(question, asked) or says([asked.produced.text], answer, _WHOLE):
                harmless[fault] += 1
                continue
            _, named = await chain.attribute(asked, answer if corrected else "")
        left[fault] -= 1
        stage, rule, evidence = (named.stage, named.rule, named.evidence) if named else ("none", "", {})
        found.append(Case(question.id, name, part, fault, corrected, stage, rule, dict(evidence)))
    return Found(found, dict(harmless))


def right_citation(question: KnownQuestion, asked: Asked) -> Citation | None:
    """The first passage quoted that overlaps a span of an answer."""
    gold = question.gold
    for cited in asked.produced.citations:
        if any(cited.start < end and start < cited.end for start, end in gold.get(cited.document, ())):
            return cited
    return None


def answer_in(question: KnownQuestion, cited: Citation) -> str:
    """What somebody who knows the passage would give as the answer: the first of the known ones that it holds."""
    held = [answer for answer in question.answers or () if says([cited.quote], answer, _WHOLE)]
    return held[0] if held else cited.quote


def confusion(cases: Iterable[Case]) -> Mapping[Fault, Counter[str]]:
    """How often each stage was named, by fault."""
    found: dict[Fault, Counter[str]] = {fault: Counter() for fault in STAGES}
    for case in cases:
        found[case.fault][case.stage] += 1
    return found
