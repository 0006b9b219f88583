"""Which of the passages that an answer quotes, or a search finds, give orders to a model.

A reader that quotes word for word would pass an injected order on, and what it is meant to bring out with it. So a
passage is looked at as a whole, with the heading and the title that are shown beside it: an order may begin in the
sentence before the one that is quoted.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from millrace.events.corpus import DocumentIndexed
from millrace.events.guard import VerdictGiven
from millrace.events.query import Citation, Hit
from millrace.findings import Finding, Scan
from millrace.rows import ChunkRow

from agents.guard.policy import GuardPolicy
from agents.guard.verdicts import Subject, verdict
from agents.ports import QueryPorts, Rank, VisibleSet

ORDERS: Final = frozenset({"injection", "hidden_text"})
"""Kinds of findings by which a text gives orders."""


class Suspicion(msgspec.Struct, frozen=True):
    """Why a passage is not quoted."""

    rule: str
    score: float = 1.0


async def suspicions(
    citations: Sequence[Citation],
    rows: Mapping[str, ChunkRow],
    view: VisibleSet,
    ports: QueryPorts,
    *,
    await_trusted: bool = True,
) -> dict[int, Suspicion]:
    """Citations that must not be shown, by their number, each with the reason.

    The fast rules look at every passage. All rules look at those of documents that are not known to be clean: they were
    flagged, or their scan has not come to this worker. A search has many passages and leaves the latter to the scan
    that is on its way (`await_trusted`), where the document is trusted.
    """
    passages = [_Passage(citation, view.get(citation.document), rows.get(citation.chunk_id)) for citation in citations]
    quick = {each.text: ports.scanner.quick(each.text) for each in passages}
    found = {n: why for n, each in enumerate(passages) if (why := each.why(quick[each.text], ports.guard)) is not None}
    left = [n for n in range(len(passages)) if n not in found]
    outcomes = await asyncio.gather(*(_known(passages[n], ports) for n in left))
    unsure = {
        n: known
        for n, known in zip(left, outcomes, strict=True)
        if (known is None and (await_trusted or not passages[n].trusted))
        or (known is not None and (known.flagged or not known.complete))
    }
    scans = await asyncio.gather(*(ports.scanner.scan(passages[n].text, Rank.QUESTION) for n in unsure))
    for (n, known), scan in zip(unsure.items(), scans, strict=True):
        why = _after_all_rules(passages[n], known, scan, ports.guard)
        if why is not None:
            found[n] = why
    return found


def cited(hit: Hit, row: ChunkRow | None, view: VisibleSet) -> Citation:
    """A hit as if the whole of its chunk were quoted."""
    version = view.get(hit.document)
    ref = next((ref for ref in version.chunks if ref.id == hit.chunk_id), None) if version else None
    return Citation(
        document=hit.document,
        version=hit.version,
        chunk_id=hit.chunk_id,
        title=version.title if version else "",
        heading=version.headings[ref.heading] if version and ref else "",
        start=ref.start if ref else 0,
        end=ref.end if ref else 0,
        quote=row.text if row else "",
    )


def verdicts_on(
    tenant: str, citations: Sequence[Citation], suspicious: Mapping[int, Suspicion], stage: str
) -> list[VerdictGiven]:
    """Verdicts on the documents whose passages are not shown, one per document and rule."""
    places: dict[tuple[str, int, str], list[tuple[int, int]]] = {}
    scores: dict[tuple[str, int, str], float] = {}
    for n, why in sorted(suspicious.items()):
        citation = citations[n]
        key = (citation.document, citation.version, why.rule)
        places.setdefault(key, []).append((citation.start, citation.end))
        scores[key] = max(scores.get(key, 0.0), why.score)
    return [
        verdict(
            Subject(tenant, "document", document, stage, version),
            "injection",
            rule,
            "block",
            found,
            score=scores[document, version, rule],
        )
        for (document, version, rule), found in places.items()
    ]


def sure(findings: Sequence[Finding], policy: GuardPolicy) -> list[Finding]:
    """Findings that count by themselves."""
    return [found for found in findings if found.score >= policy.least_score]


class _Passage:
    """A chunk as it is shown: with the title of its document and its heading."""

    def __init__(self, citation: Citation, version: DocumentIndexed | None, row: ChunkRow | None) -> None:
        self.citation = citation
        self.version = version
        shown = (citation.title, citation.heading, row.text if row is not None else citation.quote)
        self.text = "\n".join(part for part in shown if part)

    @property
    def trusted(self) -> bool:
        return self.version is not None and self.version.trust == "trusted"

    def why(self, findings: Sequence[Finding], policy: GuardPolicy) -> Suspicion | None:
        """The first finding by which it is not quoted."""
        doubtful = policy.doubtful_rules if self.trusted else ()
        return next(
            (
                Suspicion(found.rule, found.score)
                for found in findings
                if found.kind in ORDERS
                and found.rule not in doubtful
                and (found.score >= policy.least_score or found.rule in policy.strict_rules)
            ),
            None,
        )


async def _known(passage: _Passage, ports: QueryPorts) -> Scan | None:
    """What is known of the whole document, if its scan came to this worker."""
    version = passage.version
    if version is None or version.text is None:
        return None
    return await ports.known_scans.get(version.tenant, version.text)


def _after_all_rules(passage: _Passage, known: Scan | None, scan: Scan, policy: GuardPolicy) -> Suspicion | None:
    """What all rules say of a passage, and what they said of its place in a document that was flagged."""
    why = passage.why(scan.findings, policy)
    if why is not None:
        return why
    if not passage.trusted:
        if not scan.complete:
            return Suspicion("scan_incomplete")
        if scan.flagged:
            return Suspicion("scan_score", scan.score)
    if known is None or not known.flagged or passage.version is None:
        return None
    ref = next((ref for ref in passage.version.chunks if ref.id == passage.citation.chunk_id), None)
    if ref is None:
        return None
    return passage.why([each for each in known.findings if each.start < ref.end and ref.start < each.end], policy)
