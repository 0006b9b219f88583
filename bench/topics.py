"""How good topics of questions are: ``python -m bench.topics --data ../shared/data [--json FILE] [--embedder NAME]``.

Questions of XQuAD are labelled with their article, those of PolicyQA with the practice that its annotators named (the
kind of what is asked) and with their policy. Half of the articles and half of PolicyQA's questions, drawn with a seed,
were looked at while the method was chosen; the other half was not, and its numbers are those that count. PolicyQA's
questions name no company, so that a policy cannot be told from them: its row says so, and is a control.

Each half is also asked in four weeks, at random, where two of its articles are held back until the third: topics are
followed from week to week as in a report, and the new ones must be noticed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from bench.datasets import FILES, load
from inference.embedder import OnnxEmbedder
from inference.hashing import HashingEmbedder
from infra.settings import load as load_settings
from millrace.analytics.topics import APART, Followed
from millrace.analytics.words import distinctive

Part = Literal["seen", "unseen"]
SEED: Final = 7
_WEEKS: Final = 4
_LATE_FROM: Final = 2
_N_LATE: Final = 2


class Labelled(msgspec.Struct, frozen=True):
    """A question with what it is known to be about."""

    corpus: str
    question: str
    label: str
    policy: str = ""


class Agreement(msgspec.Struct, frozen=True):
    """How well topics agree with labels.

    Attributes
    ----------
    ari, nmi : float
        Adjusted Rand index and normalised mutual information; questions apart count as a topic of their own kind.
    purity : float
        Share of the questions in a topic whose label is the most common one of it.
    apart : float
        Share of the questions that are in no topic.
    """

    what: str
    n: int
    n_labels: int
    n_topics: int
    ari: float
    nmi: float
    purity: float
    apart: float


class Measured(msgspec.Struct, frozen=True):
    """Outcome for one half."""

    part: Part
    agreements: tuple[Agreement, ...]
    names: tuple[tuple[str, str, int], ...]
    n_late: int
    n_late_noticed: int
    n_moved: int
    seconds: float


def questions(data: Path, part: Part) -> list[Labelled]:
    """Questions of one half, each text once."""
    xquad = load("xquad", data).questions
    articles = _half(sorted({each.doc[0] for each in xquad}), part)
    found = [Labelled("xquad", each.question, each.doc[0]) for each in xquad if each.doc[0] in articles]
    practices, policies = _practices(data)
    texts = _half(sorted(practices), part)
    found += [Labelled("policyqa", text, practices[text], policies[text]) for text in sorted(texts)]
    return list({each.question: each for each in found}.values())


def _half(names: list[str], part: Part) -> set[str]:
    random.Random(SEED).shuffle(names)
    return set(names[: len(names) // 2] if part == "seen" else names[len(names) // 2 :])


def _practices(data: Path) -> tuple[dict[str, str], dict[str, str]]:
    """By question: the practice that it is annotated with most often, and one policy that it was asked of."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    policies: dict[str, Counter[str]] = defaultdict(Counter)
    articles: list[dict[str, Any]] = msgspec.json.decode((data / FILES["policyqa"]).read_bytes())["data"]
    for article in articles:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                kinds[qa["question"].strip()][qa["type"].split("|||")[0]] += 1
                policies[qa["question"].strip()][article["title"]] += 1
    return _most_common(kinds), _most_common(policies)


def _most_common(counts: Mapping[str, Counter[str]]) -> dict[str, str]:
    return {text: min(n, key=lambda label, n=n: (-n[label], label)) for text, n in counts.items()}  # type: ignore[misc]


def agreement(what: str, labels: Sequence[str], topics: npt.NDArray[np.int64]) -> Agreement:
    """Compare topics with labels."""
    inside = [(label, int(topic)) for label, topic in zip(labels, topics, strict=True) if topic != APART]
    by_topic: dict[int, Counter[str]] = defaultdict(Counter)
    for label, topic in inside:
        by_topic[topic][label] += 1
    return Agreement(
        what,
        len(labels),
        len(set(labels)),
        len(by_topic),
        float(adjusted_rand_score(labels, topics)),
        float(normalized_mutual_info_score(labels, topics)),
        sum(max(counts.values()) for counts in by_topic.values()) / max(1, len(inside)),
        1 - len(inside) / max(1, len(labels)),
    )


def measure(asked: Sequence[Labelled], vectors: npt.NDArray[np.float32], part: Part) -> Measured:
    """Group one half at once and week by week, and compare with its labels."""
    began = time.process_time()
    (topics,) = Followed().weeks([vectors])
    seconds = time.process_time() - began
    weeks, order, late = _in_weeks(asked)
    by_week = Followed().weeks([vectors[week] for week in weeks])
    followed = np.empty(len(asked), dtype=np.int64)
    followed[order] = np.concatenate(by_week)
    agreements = []
    for corpus in ("xquad", "policyqa", ""):
        at = [i for i, each in enumerate(asked) if corpus in {each.corpus, ""}]
        labels = [asked[i].label for i in at]
        name = {"xquad": "XQuAD: article", "policyqa": "PolicyQA: practice", "": "both together"}[corpus]
        agreements.append(agreement(name, labels, topics[at]))
        agreements.append(agreement(f"{name}, by week", labels, followed[at]))
        if corpus == "policyqa":
            agreements.append(agreement("PolicyQA: policy (control)", [asked[i].policy for i in at], topics[at]))
    noticed = _noticed(asked, followed, weeks, late)
    again = Followed()
    first = again.weeks([vectors[week] for week in weeks[:-1]])
    moved = sum(
        int(((a != b) & (a != APART)).sum()) for a, b in zip(first, by_week[:-1], strict=True)
    )  # topics of weeks that are past
    return Measured(part, tuple(agreements), _names(asked, topics), len(late), noticed, moved, seconds)


def _in_weeks(asked: Sequence[Labelled]) -> tuple[list[list[int]], list[int], set[str]]:
    rng = random.Random(SEED)
    late = set(rng.sample(sorted({each.label for each in asked if each.corpus == "xquad"}), _N_LATE))
    weeks: list[list[int]] = [[] for _ in range(_WEEKS)]
    for i, each in enumerate(asked):
        weeks[rng.randrange(_LATE_FROM if each.label in late else 0, _WEEKS)].append(i)
    return weeks, [i for week in weeks for i in week], late


def _noticed(asked: Sequence[Labelled], topics: npt.NDArray[np.int64], weeks: list[list[int]], late: set[str]) -> int:
    """Articles held back of which most questions are in topics that no earlier question is in."""
    early = {int(topics[i]) for week in weeks[:_LATE_FROM] for i in week}
    n = 0
    for label in late:
        own = [int(topics[i]) for i, each in enumerate(asked) if each.label == label]
        n += sum(topic not in early and topic != APART for topic in own) > len(own) / 2
    return n


def _names(asked: Sequence[Labelled], topics: npt.NDArray[np.int64]) -> tuple[tuple[str, str, int], ...]:
    groups: dict[int, list[int]] = defaultdict(list)
    for i, topic in enumerate(topics):
        if topic != APART:
            groups[int(topic)].append(i)
    names = distinctive({topic: [(str(i), asked[i].question) for i in own] for topic, own in groups.items()})
    largest = sorted(groups, key=lambda topic: -len(groups[topic]))
    return tuple(
        (
            ", ".join(names[topic]),
            Counter(asked[i].label for i in groups[topic]).most_common(1)[0][0],
            len(groups[topic]),
        )
        for topic in largest
    )


async def _embedded(texts: Sequence[str], embedder: str) -> npt.NDArray[np.float32]:
    model: Any = (
        HashingEmbedder() if embedder == "hashing" else OnnxEmbedder.load(load_settings().settings.cache / "models")
    )
    try:
        found: npt.NDArray[np.float32] = await model.embed(texts)
        return found
    finally:
        model.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both halves, and print them as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.topics", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--embedder", choices=("minilm", "hashing"), default="minilm")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    parts: tuple[Part, Part] = ("seen", "unseen")
    found = []
    for part in parts:
        asked = questions(options.data, part)
        vectors = asyncio.run(_embedded([each.question for each in asked], options.embedder))
        found.append(measure(asked, vectors, part))
        _print(found[-1])
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return 0


def _print(measured: Measured) -> None:
    print(f"\n## {measured.part.capitalize()} half\n")
    print("| labels | questions | labels | topics | ARI | NMI | purity | apart |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for each in measured.agreements:
        numbers = f"{each.ari:.3f} | {each.nmi:.3f} | {each.purity:.3f} | {each.apart:.1%}"
        print(f"| {each.what} | {each.n} | {each.n_labels} | {each.n_topics} | {numbers} |")
    print(f"\nNew articles noticed: {measured.n_late_noticed} of {measured.n_late}. Questions of past weeks that a")
    print(f"further week moved: {measured.n_moved}. Processor time: {measured.seconds:.1f} s.\n")
    print("| topic | most common label | questions |\n|---|---|---:|")
    for name, label, n in measured.names:
        print(f"| {name} | {label} | {n} |")


if __name__ == "__main__":
    sys.exit(main())
