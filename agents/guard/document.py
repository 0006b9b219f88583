"""Scan documents for orders to a model: untrusted ones before they are visible, trusted ones beside.

Delivery: at least once; outcomes of scans are kept by the text they are of, so a redelivery repeats the same verdicts
and scans nothing. Both agents have lanes of their own: a scan holds up no other document that needs none.
"""

from collections.abc import Sequence
from typing import Final

from millrace.agent import Outputs, agent
from millrace.errors import ObjectMissing
from millrace.event import Event
from millrace.events.corpus import ChunksEmbedded, DocumentIndexed
from millrace.events.guard import Action, VerdictGiven
from millrace.findings import Finding, Scan
from millrace.topics import (
    CHUNKS_EMBEDDED,
    DOCUMENT_INDEXED,
    DOCUMENT_SETTLED,
    REVIEW_ITEM_OPENED,
    VERDICT_GIVEN,
)

from agents.corpus.rows_codec import decode_manifest
from agents.corpus.version import settled_part
from agents.guard.passages import ORDERS, sure
from agents.guard.policy import GuardPolicy
from agents.guard.verdicts import Subject, reviews, verdict, verdicts_of
from agents.ports import GuardPorts, Rank

REASON: Final = "injection"
_INVISIBLE: Final = frozenset({"zero_width", "bidi"})
_TIMEOUT_S: Final = 600.0


def fail_scan(event: ChunksEmbedded, error_type: str, message: str) -> Sequence[Event]:
    """Tell who waits for a version that it could not be scanned."""
    return [settled_part(event, None, "failed", error_type, message)] if _waits(event) else []


@agent(
    source=CHUNKS_EMBEDDED,
    sinks=(CHUNKS_EMBEDDED, DOCUMENT_SETTLED, VERDICT_GIVEN, REVIEW_ITEM_OPENED),
    on_failure=fail_scan,
    timeout_s=_TIMEOUT_S,
)
async def clear_untrusted(part: ChunksEmbedded, ports: GuardPorts) -> Outputs:
    """Repeat the last part of an untrusted version once its text is scanned: the index takes that one. Or reject it.

    A text that somebody released is not held again; any other text of the document is.

    Raises
    ------
    Unavailable
        If the object store or the scanner is down.
    """
    if not _waits(part):
        return None
    if not ports.guard.documents:
        return part.replace(cleared=True)
    version = decode_manifest(await ports.objects.get(part.manifest))
    scan = await _scan(version, Rank.DOCUMENT, ports)
    rejected = _rejected(scan, ports.guard)
    if rejected and await _released(version, ports):
        return part.replace(cleared=True)
    given = _verdicts(version, scan, ports.guard, "hold" if rejected else "flag", clear_untrusted.__name__)
    events = [*given, *reviews(given, content=version.text, manifest=part.manifest if rejected else None)]
    if rejected:
        return [*events, settled_part(part, version, "rejected", REASON, rejected)]
    return [*events, part.replace(cleared=True)]


@agent(source=DOCUMENT_INDEXED, sinks=(VERDICT_GIVEN, REVIEW_ITEM_OPENED), timeout_s=_TIMEOUT_S)
async def report_trusted(version: DocumentIndexed, ports: GuardPorts) -> Outputs:
    """Scan a version that is visible already, and say what was found.

    Raises
    ------
    Unavailable
        If the object store or the scanner is down.
    """
    if version.deleted or version.trust != "trusted" or not ports.guard.documents:
        return None
    try:
        scan = await _scan(version, Rank.REPORT, ports)
    except ObjectMissing:
        return None  # erased meanwhile
    given = _verdicts(version, scan, ports.guard, "flag", report_trusted.__name__)
    return [*given, *reviews(given, content=version.text)]


async def _released(version: DocumentIndexed, ports: GuardPorts) -> bool:
    """Whether somebody looked at exactly this text of this document before, and let it be read."""
    await ports.reviewed.caught_up()
    return ports.reviewed.released(version.tenant, version.document, version.text or "")


def _waits(part: ChunksEmbedded) -> bool:
    """Whether a part completes a version that is to be scanned before it is visible."""
    return part.trust != "trusted" and not part.cleared and part.part == part.n_parts - 1


async def _scan(version: DocumentIndexed, rank: Rank, ports: GuardPorts) -> Scan:
    """Outcome of the scan of a version's text, title and headings; known ones are not made again."""
    if version.text is None:
        return Scan()
    known = await ports.known_scans.get(version.tenant, version.text)
    if known is not None:
        return known
    text = (await ports.objects.get(version.text)).decode()
    scan = await ports.scanner.scan(text, rank)
    if scan.complete:
        await ports.known_scans.put(version.tenant, version.text, scan)
    return scan


def _rejected(scan: Scan, policy: GuardPolicy) -> str:
    """Why an untrusted document must not become visible; empty if it may."""
    if scan.flagged and policy.untrusted_flagged == "reject":
        sure_ones = [each.rule for each in sure(scan.findings, policy) if each.kind in ORDERS]
        rules = ", ".join(dict.fromkeys(sure_ones)) or "scan_score"
        return (
            f"the document comes from an untrusted source and gives orders to a model (rules {rules[:200]}); take them "
            "out, or have its source declared trusted"
        )
    if not scan.complete and policy.untrusted_unread == "reject":
        return (
            "the document comes from an untrusted source and could not be scanned in time; split it, or produce it "
            "again when there is less to do"
        )
    return ""


def _verdicts(
    version: DocumentIndexed, scan: Scan, policy: GuardPolicy, action: Action, stage: str
) -> list[VerdictGiven]:
    """What is said of a version: nothing, if nothing was found."""
    subject = Subject(version.tenant, "document", version.document, stage, version.version)
    found = [each for each in sure(scan.findings, policy) if each.kind in ORDERS] if scan.flagged else []
    if scan.flagged and not found:
        found = [Finding(REASON, "scan_score", 0, 0, scan.score)]
    doubtful = policy.doubtful_rules if version.trust == "trusted" else ()
    given = verdicts_of(subject, [(each, action) for each in found if each.rule not in doubtful])
    if not scan.complete:
        given.append(verdict(subject, REASON, "scan_incomplete", action))
    hidden = sum(n for kind, n in version.removed.items() if kind.startswith("hidden"))
    if hidden >= policy.hidden_elements:
        given.append(verdict(subject, "hidden_text", "hidden_elements", "flag", n_found=hidden))
    invisible = sum(n for kind, n in version.removed.items() if kind in _INVISIBLE)
    if invisible >= policy.hidden_characters:
        given.append(verdict(subject, "hidden_text", "hidden_characters", "flag", n_found=invisible))
    return given
