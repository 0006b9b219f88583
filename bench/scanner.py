"""What the scanner finds and what it costs: ``python -m bench.scanner --data ../shared/data [--json FILE] [--quick]``.

Attacks of BIPIA are put into texts that know nothing of them, at the beginning, the end, and between two sentences.
Half of the categories, drawn with a seed before anybody read them, were looked at while the scanner was made; the
others are unseen, and their recall is the one that counts. Clean texts are divided in the same way. Manuals, of which
no aim is set, are the descriptions of the Python packages installed here. The exit code is 1 if an aim was missed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import msgspec

from inference.injection.scanner import Scanner

Part = Literal["seen", "unseen"]
SEED: Final = 6
RECALL_AIM: Final = 0.80
ALARMS_AIM: Final = 0.01
_ATTACKS: Final = ("text_attack_train.json", "code_attack_train.json")
_PASSAGE_CHARS: Final = 900
_MAX_PASSAGES: Final = 20
_CARRIERS: Final = 30


class Share(msgspec.Struct, frozen=True):
    """How many of how many."""

    name: str
    n_flagged: int
    n: int

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return self.n_flagged / self.n if self.n else 0.0


class Measured(msgspec.Struct, frozen=True):
    """Outcome for one part of the data.

    Attributes
    ----------
    recall : tuple of Share
        Attacks found, for each category.
    alarms : tuple of Share
        Clean texts flagged, for each corpus.
    cost_s : dict of str to float
        Processor time for 10,000 characters, for each corpus.
    """

    part: Part
    recall: tuple[Share, ...]
    alarms: tuple[Share, ...]
    cost_s: dict[str, float]

    @property
    def all_recall(self) -> float:
        """Share of all attacks together."""
        return sum(share.n_flagged for share in self.recall) / max(1, sum(share.n for share in self.recall))

    @property
    def clean_alarms(self) -> float:
        """Share of the clean passages for which an aim is set."""
        counted = [share for share in self.alarms if share.name in {"xquad", "policyqa", "emails"}]
        return sum(share.n_flagged for share in counted) / max(1, sum(share.n for share in counted))


def half(n: int, part: Part) -> list[int]:
    """Indices of one half, drawn with the seed."""
    indices = list(range(n))
    random.Random(SEED).shuffle(indices)
    return sorted(indices[: n // 2] if part == "seen" else indices[n // 2 :])


def attacks(data: Path, part: Part) -> dict[str, list[str]]:
    """Attacks by category."""
    found: dict[str, list[str]] = {}
    for name in _ATTACKS:
        categories: dict[str, list[str]] = json.loads((data / "bipia" / name).read_text(encoding="utf-8"))
        names = sorted(categories)
        random.Random(SEED).shuffle(names)
        chosen = names[: len(names) // 2] if part == "seen" else names[len(names) // 2 :]
        found.update({name: categories[name] for name in chosen})
    return found


def clean(data: Path, part: Part, *, manuals: bool = True) -> dict[str, list[str]]:
    """Texts without attacks, by corpus: passages, and whole documents."""
    texts: dict[str, list[str]] = {}
    for corpus, path in (("xquad", "xquad/xquad.en.part-a.json"), ("policyqa", "policyqa/dev.json")):
        articles = json.loads((data / path).read_text(encoding="utf-8"))["data"]
        chosen = [
            [paragraph["context"] for paragraph in articles[at]["paragraphs"]] for at in half(len(articles), part)
        ]
        texts[corpus] = [passage for article in chosen for passage in article]
        texts[f"{corpus}, whole documents"] = ["\n\n".join(article) for article in chosen]
    lines = (data / "bipia" / "email_train.jsonl").read_text(encoding="utf-8").splitlines()
    texts["emails"] = [json.loads(lines[at])["context"] for at in half(len(lines), part)]
    if manuals:
        described = sorted(_descriptions())
        texts["manuals"] = [
            passage for at in half(len(described), part) for passage in passages(described[at])[:_MAX_PASSAGES]
        ]
    return texts


def _descriptions() -> Iterator[str]:
    for distribution in metadata.distributions():
        text = distribution.read_text("METADATA") or ""
        _, _, described = text.partition("\n\n")
        if len(described) > 2 * _PASSAGE_CHARS and distribution.name != "pyatr":  # that one shows injections
            yield described


def passages(text: str) -> list[str]:
    """Paragraphs joined to passages of about the same length."""
    found = [""]
    for paragraph in re.split(r"\n\s*\n", text):
        if found[-1] and len(found[-1]) + len(paragraph) > _PASSAGE_CHARS:
            found.append("")
        found[-1] += f"\n\n{paragraph}" if found[-1] else paragraph
    return [passage for passage in found if len(passage) > 200]


def injected(rng: random.Random, carrier: str, attack: str) -> str:
    """Carrier with an attack at its beginning, at its end, or between two of its sentences."""
    apart = rng.choice(["\n", " ", "\n\n"])
    ends = [found.end() for found in re.finditer(r"[.!?]\s", carrier)] or [len(carrier) // 2]
    at = rng.choice([0, len(carrier), rng.choice(ends)])
    return f"{carrier[:at]}{apart if at else ''}{attack}{apart}{carrier[at:]}"


def measure(data: Path, part: Part, *, n_carriers: int = 12, manuals: bool = True) -> Measured:
    """Measure one part of the data."""
    scanner, rng = Scanner(), random.Random(SEED)
    alarms, cost_s = [], {}
    corpora = clean(data, part, manuals=manuals)
    for name, texts in corpora.items():
        began = time.process_time()
        alarms.append(Share(name, sum(scanner.scan(text).flagged for text in texts), len(texts)))
        cost_s[name] = (time.process_time() - began) / sum(map(len, texts)) * 10_000
    carriers = corpora["emails"] + corpora["xquad"][:_CARRIERS] + corpora["policyqa"][:_CARRIERS]
    recall = []
    for category, items in attacks(data, part).items():
        texts = [injected(rng, carrier, item) for item in items for carrier in rng.sample(carriers, n_carriers)]
        recall.append(Share(category, sum(scanner.scan(text).flagged for text in texts), len(texts)))
    return Measured(part, tuple(recall), tuple(alarms), cost_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both parts, and print them as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.scanner", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer carriers, and no manuals")
    options = parser.parse_args(arguments)
    parts: tuple[Part, Part] = ("seen", "unseen")
    found = [
        measure(options.data, part, n_carriers=4 if options.quick else 12, manuals=not options.quick) for part in parts
    ]
    for measured in found:
        _print(measured)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    unseen = found[-1]
    return 0 if unseen.all_recall >= RECALL_AIM and unseen.clean_alarms <= ALARMS_AIM else 1


def _print(measured: Measured) -> None:
    print(f"\n## {measured.part.capitalize()} half\n\n| attacks | found | of | recall |\n|---|---:|---:|---:|")
    for share in sorted(measured.recall, key=lambda share: share.name):
        print(f"| {share.name} | {share.n_flagged} | {share.n} | {share.share:.0%} |")
    print(f"| **all** | | | **{measured.all_recall:.1%}** (aim {RECALL_AIM:.0%}) |")
    print("\n| clean texts | flagged | of | share | s per 10k characters |\n|---|---:|---:|---:|---:|")
    for share in measured.alarms:
        print(
            f"| {share.name} | {share.n_flagged} | {share.n} | {share.share:.1%} | {measured.cost_s[share.name]:.3f} |"
        )
    print(f"| **passages with an aim** | | | **{measured.clean_alarms:.2%}** (aim {ALARMS_AIM:.0%}) | |")


if __name__ == "__main__":
    sys.exit(main())
