"""A seeded stream of changes: many tenants and documents, edits, deletes, access, poison, duplicates and disorder.

The same seed gives the same changes. At full size it is 20 tenants of 500 documents with 3 edits each, 5 % deletes,
0.5 % poison, 1 % duplicates and 2 % out of order; `scale` is the only place that reads how much of it to run.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

SCALE_VARIABLE = "MILLRACE_FAULT_SCALE"
ORDINARY_SCALE = 0.02
GROUPS = ("*", "g0", "g1", "g2")
_WORDS = re.findall(
    r"\w+",
    "river stone mill wheel water gate channel flour grain sack barrel ledger clerk morning evening harvest autumn "
    "winter bridge valley village market baker oven bread copper iron timber rope pulley axle bearing gear oil lamp",
)


def scale() -> float:
    """Share of the full workload to run: 1.0 under ``make test-faults``, `ORDINARY_SCALE` in the ordinary run."""
    return float(os.environ.get(SCALE_VARIABLE, ORDINARY_SCALE))


def scaled(full: int, ordinary: int) -> int:
    """A number that is `full` at full scale and `ordinary` below it."""
    return full if scale() >= 1 else ordinary


@dataclass(frozen=True)
class Size:
    """How much to produce.

    Attributes
    ----------
    n_tenants, n_documents, n_edits : int
        Tenants, documents of each, and versions that follow a document's first one.
    """

    n_tenants: int
    n_documents: int
    n_edits: int = 3

    @classmethod
    def now(cls, broker: str) -> Size:
        """The size that `scale` asks for: fewer tenants first, then fewer documents.

        The embedded broker keeps some megabytes a partition, so on it a tenth is the most that a scan can judge. On
        real servers a document costs several times as much, and the ordinary run has few of them.
        """
        part = min(scale(), 0.1) if broker == "embedded" else scale()
        if broker == "native" and part <= ORDINARY_SCALE:
            return cls(2, 20)
        return cls(20, 500) if part >= 1 else cls(4, max(5, round(20 * 500 * part / 4)))


@dataclass(frozen=True)
class Change:
    """One operation of the workload.

    Attributes
    ----------
    kind : str
        ``upsert``, ``delete``, ``access`` or ``poison``.
    version : int
        Content version, or access version when `kind` is ``access``.
    markers : tuple of str
        Words of the text that stand in no other version of the same paragraph: what must be visible, each once.
    poison : str
        How a record is spoiled, a name of `POISON`.
    headers : tuple
        Headers of a poison record.
    """

    kind: Literal["upsert", "delete", "access", "poison"]
    tenant: str
    document: str
    version: int = 1
    text: str = ""
    markers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    acl_version: int = 1
    poison: str = ""
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def entity(self) -> tuple[str, str]:
        """Tenant and document."""
        return self.tenant, self.document


POISON: Mapping[str, Callable[[bytes], bytes | None]] = {
    "no value": lambda _: None,
    "empty": lambda _: b"",
    "wrong magic": lambda good: b"\x07" + good[1:],
    "unknown schema": lambda good: good[:1] + b"\xff\xff\xff\xfe" + good[5:],
    "noise": lambda _: bytes(range(255, 128, -1)),
    "deep json": lambda _: b'{"a":' * 10_000,
    "cut body": lambda good: good[: 5 + (len(good) - 5) // 2],
    "no body": lambda good: good[:5],
    "endless text": lambda good: good[:5] + b"\xfe\xff\xff\xff\xff\xff\x7f" + good[5:],
}
"""How a record is made one that no reader can take. A good one is a zero, a schema number of four bytes, and Avro."""


def paragraph(rng: random.Random, marker: str, n_words: int = 38) -> str:
    """A paragraph long enough to be a chunk of its own that holds `marker` once."""
    words = rng.choices(_WORDS, k=n_words)
    words[rng.randrange(len(words))] = marker
    return " ".join(words)


def marker(tag: str, tenant: int, document: int, part: int, revision: int) -> str:
    """A word that stands in one revision of one paragraph only, and matches `MARKER`."""
    return f"z{tag}x{tenant}x{document}x{part}x{revision}z"


MARKER = r"z[a-z]+x\d+x\d+x\d+x\d+z"


class Workload:
    """The changes of one seed.

    Parameters
    ----------
    seed : int
        Decides everything.
    tag : str
        Lower-case letters that start tenant names and markers, so that tests on one stack do not meet.
    size : Size
        How much; `Size.now` for what `scale` asks for.
    n_paragraphs : int
        Paragraphs of a document; an edit changes one.
    """

    def __init__(self, seed: int, tag: str, size: Size, n_paragraphs: int = 3) -> None:
        self._rng = random.Random(seed)
        self.tag = tag
        self.size = size
        self._n_paragraphs = n_paragraphs
        self.tenants = tuple(f"{tag}-{number:02}" for number in range(self.size.n_tenants))

    def changes(self) -> list[Change]:
        """All changes in the order in which they are produced."""
        lanes = [
            self._document(tenant, document)
            for tenant in range(self.size.n_tenants)
            for document in range(self.size.n_documents)
        ]
        return [each for change in self._interleaved(lanes) for each in self._disturbed(change)]

    def _document(self, tenant: int, document: int) -> list[Change]:
        rng, name = self._rng, f"docs/{document:04}.md"
        groups = GROUPS[:1] if rng.random() < 0.7 else (rng.choice(GROUPS[1:]),)
        first = Change("access", self.tenants[tenant], name, 1, groups=groups)
        revisions = [0] * self._n_paragraphs
        texts = [paragraph(rng, marker(self.tag, tenant, document, part, 0)) for part in range(self._n_paragraphs)]
        versions = []
        for version in range(1, self.size.n_edits + 2):
            if version > 1:
                part = rng.randrange(self._n_paragraphs)
                revisions[part] = version
                texts[part] = paragraph(rng, marker(self.tag, tenant, document, part, version))
            markers = tuple(marker(self.tag, tenant, document, part, r) for part, r in enumerate(revisions))
            text = f"# Page {document}\n\n" + "\n\n".join(texts)
            versions.append(Change("upsert", self.tenants[tenant], name, version, text, markers))
        if rng.random() < 0.02 and len(versions) > 2:
            at = rng.randrange(1, len(versions) - 1)
            versions[at], versions[at + 1] = versions[at + 1], versions[at]
        if rng.random() < 0.05:
            versions.append(Change("delete", self.tenants[tenant], name, len(versions) + 1))
        if rng.random() < 0.05:
            versions.append(Change("access", self.tenants[tenant], name, 2, groups=()))
        return [first, *versions]

    def _interleaved(self, lanes: Sequence[list[Change]]) -> Iterator[Change]:
        """Documents side by side, the changes of each in their order."""
        heads = [
            (self._rng.random() + i, lane_number, i) for lane_number, lane in enumerate(lanes) for i in range(len(lane))
        ]
        for _, lane_number, i in sorted(heads):
            yield lanes[lane_number][i]

    def _disturbed(self, change: Change) -> Iterator[Change]:
        yield change
        if self._rng.random() < 0.01:
            yield change
        if self._rng.random() < 0.005:
            yield poison_of(change, self._rng.choice(sorted(POISON)))


def poison_of(change: Change, name: str) -> Change:
    """A record that is no event, under the key of a document that is well."""
    return replace(change, kind="poison", poison=name, markers=(), headers=(("note", name.encode()),))


def repeated(changes: Iterable[Change], rng: random.Random, most: int = 5) -> list[Change]:
    """Each change 1 to `most` times in a row, as producers without idempotence would write them."""
    return [change for change in changes for _ in range(rng.randint(1, most))]
