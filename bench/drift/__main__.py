"""Measure how soon drift is noticed, and how often where there is none: ``python -m bench.drift --data DIR``."""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.learn.policy import LearnPolicy
from agents.learn.signals import CONFIDENCE, LEXICAL_TOP1, SCORE_GAP
from bench.drift.alarms import Found, listen, middle
from bench.drift.answers import Answers, kept
from bench.drift.streams import REQUIRED, STREAMS, halves, same

SHOWN = (LEXICAL_TOP1, SCORE_GAP, CONFIDENCE)
MOST_QUESTIONS = 100
LEAST_SILENT = 0.9
CHOOSING_SEED = 7
"""Which half of articles and policies the settings were chosen on."""
DELTAS = (0.01, 0.002, 0.0005)
SPANS = (10.0, 25.0, 50.0, 100.0)


def met(found: Sequence[Found]) -> bool:
    """Whether what is required of some streams holds: noticed in time, and no alarm before, in nearly all orders."""
    required = [each for each in found if each.name in REQUIRED]
    return len(required) == len(REQUIRED) and all(
        each.median <= MOST_QUESTIONS and each.n_silent >= LEAST_SILENT * len(each.orders) for each in required
    )


def parts(answers: Answers) -> tuple[Answers, Answers]:
    """Answers about one half of the articles and policies, and about the other."""
    split = {name: halves(asked, random.Random(CHOOSING_SEED)) for name, asked in answers.items()}
    return {name: one for name, (one, _) in split.items()}, {name: other for name, (_, other) in split.items()}


def choose(answers: Answers, n_orders: int) -> list[tuple[float, float, Found, list[Found]]]:
    """By setting: alarms where nothing changes and where the traffic does, on half of the articles and policies."""
    part, seeds = parts(answers)[0], range(1000, 1000 + n_orders)
    rows = []
    for delta in DELTAS:
        for span in SPANS:
            policy = LearnPolicy(drift_delta=delta, drift_lexical_span=span)
            changed = [listen(name, STREAMS[name], part, seeds, policy) for name in REQUIRED]
            rows.append((delta, span, listen("same", same, part, seeds, policy), changed))
    return rows


def chosen_markdown(rows: Sequence[tuple[float, float, Found, list[Found]]]) -> str:
    """Table of the settings that were tried."""
    lines = [
        "| delta | span of BM25 | orders without a false alarm | noticed after | restricted |",
        "|---|---|---|---|---|",
    ]
    for delta, span, quiet, changed in rows:
        late = " | ".join(_count(each.median) for each in changed)
        lines.append(f"| {delta:g} | {span:g} | {quiet.n_silent} of {len(quiet.orders)} | {late} |")
    return "\n".join(lines)


def markdown(found: Sequence[Found]) -> str:
    """Tables of what was measured."""
    head = ["| traffic | no alarm before | noticed after, median [worst] | " + " | ".join(SHOWN) + " | requests |"]
    lines = [*head, "|---|---|---|" + "---|" * (len(SHOWN) + 1)]
    for each in found:
        orders = each.orders
        worst = max(float("inf") if order.noticed is None else order.noticed for order in orders)
        by_signal = " | ".join(_count(middle(order.first.get(name) for order in orders)) for name in SHOWN)
        requests = f"{min(order.n_requests for order in orders)}-{max(order.n_requests for order in orders)}"
        late = f"{_count(each.median)} [{_count(worst)}]"
        lines.append(f"| {each.name} | {each.n_silent} of {len(orders)} | {late} | {by_signal} | {requests} |")
    for each in (one for one in found if one.name in REQUIRED):
        lines += ["", f"### {each.name}, by order", "", "| order | before | " + " | ".join(SHOWN) + " | requests |"]
        lines.append("|---|---|" + "---|" * (len(SHOWN) + 1))
        for order in each.orders:
            early = ", ".join(f"{name}: {n}" for name, n in order.early.items()) or "-"
            firsts = " | ".join(str(order.first.get(name, "-")) for name in SHOWN)
            lines.append(f"| {order.seed} | {early} | {firsts} | {order.n_requests} |")
    return "\n".join(lines)


def _count(questions: float) -> str:
    return f"{questions:g}" if questions != float("inf") else "-"


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse arguments, measure, print; status 1 where a requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m bench.drift", description=(__doc__ or "").split(":")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder with the data sets")
    parser.add_argument("--orders", type=int, default=10, metavar="N", help="orders of each stream")
    parser.add_argument("--policies", type=int, default=600, metavar="N", help="questions of PolicyQA")
    parser.add_argument("--seed", type=int, default=0, help="which ones, and the first order's")
    parser.add_argument("--cache", type=Path, default=Path("build") / "drift.embeddings.db", help="kept vectors")
    parser.add_argument("--answers", type=Path, default=Path("build") / "drift.answers.json", help="kept answers")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    parser.add_argument("--choose", action="store_true", help="try settings on half of the articles and policies")
    given = parser.parse_args(arguments)
    answers = kept(given.answers, given.data, given.cache, given.policies, given.seed)
    if given.choose:
        print(chosen_markdown(choose(answers, given.orders)))
        return 0
    seeds = range(given.seed, given.seed + given.orders)
    found = [listen(name, make, answers, seeds, LearnPolicy()) for name, make in STREAMS.items()]
    other = parts(answers)[1]
    found += [listen(f"{name}, the half held back", STREAMS[name], other, seeds, LearnPolicy()) for name in REQUIRED]
    if given.json:
        print(msgspec.json.encode({"met": met(found), "streams": found}).decode())
    else:
        print(markdown(found))
    return 0 if met(found) else 1


if __name__ == "__main__":
    sys.exit(main())
