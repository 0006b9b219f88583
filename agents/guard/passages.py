"""Which of the passages that an answer quotes give orders to a model.

A reader that quotes word for word would pass an injected order on, and what it is meant to bring out with it. So a passage
is looked at as a whole, with the heading and the title that are shown beside it: an order may begin in the sentence before
the one that is quoted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from millrace.events.query import Citation
from millrace.findings import Finding, Scan
from millrace.rows import ChunkRow

from agents.guard.policy import GuardPolicy
from agents.ports import QueryPorts, Rank, VisibleSet


ORDERS: Final = frozenset({"injection", "hidden_text"})
"""Kinds of findings by which a text gives orders."""


class Suspicion(msgspec.Struct, frozen=True):
    """Why a passage is not quoted."""

    rule: str
    score: float = 1.0


async def suspicions(
    citations: Sequence[Citation], rows: Mapping[str, ChunkRow], view: VisibleSet, ports: QueryPorts
) -> dict[int, Suspicion]:
    """Citations that must not be shown, by their number, each with the reason.

    The fast rules look at every passage. All rules look at those of documents that are not known to be clean: they were
    flagged, or their scan has not come to this worker.
    """
    texts = [_passage(citation, rows) for citation in citations]
    quick = {text: _first(sure(ports.scanner.quick(text), ports.guard)) for text in dict.fromkeys(texts)}
    found = {n: why for n, text in enumerate(texts) if (why := quick[text]) is not None}
    left = [n for n in range(len(citations)) if n not in found]
    outcomes = await asyncio.gather(*(_known(citations[n], view, ports) for n in left))
    unsure = {
        n: known
        for n, known in zip(left, outcomes, strict=True)
        if known is None or known.flagged or not known.complete
    }
    scans = await asyncio.gather(*(ports.scanner.scan(texts[n], Rank.QUESTION) for n in unsure))
    for (n, known), scan in zip(unsure.items(), scans, strict=True):
        why = _on_the_whole(citations[n], view, known, scan, ports.guard)
        if why is not None:
            found[n] = why
    return found


def sure(findings: Sequence[Finding], policy: GuardPolicy) -> list[Finding]:
    """Findings that count by themselves."""
    return [found for found in findings if found.score >= policy.least_score]


def _passage(citation: Citation, rows: Mapping[str, ChunkRow]) -> str:
    row = rows.get(citation.chunk_id)
    shown = (citation.title, citation.heading, row.text if row is not None else citation.quote)
    return "\n".join(part for part in shown if part)


def _first(findings: Sequence[Finding]) -> Suspicion | None:
    return next((Suspicion(each.rule, each.score) for each in findings if each.kind in ORDERS), None)


async def _known(citation: Citation, view: VisibleSet, ports: QueryPorts) -> Scan | None:
    version = view.get(citation.document)
    if version is None or version.text is None:
        return None
    return await ports.known_scans.get(version.tenant, version.text)


def _on_the_whole(
    citation: Citation, view: VisibleSet, known: Scan | None, scan: Scan, policy: GuardPolicy
) -> Suspicion | None:
    """What all rules say of a passage, and what they said of its place in a document that was flagged."""
    if scan.flagged:
        return _first(sure(scan.findings, policy)) or Suspicion("scan_score", scan.score)
    version = view.get(citation.document)
    if version is None:
        return None
    if not scan.complete and version.trust != "trusted":
        return Suspicion("scan_incomplete")
    if known is None or not known.flagged:
        return None
    ref = next((ref for ref in version.chunks if ref.id == citation.chunk_id), None)
    if ref is None:
        return None
    return _first([each for each in sure(known.findings, policy) if each.start < ref.end and ref.start < each.end])
