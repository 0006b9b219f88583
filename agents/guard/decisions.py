"""Do what people decided about documents: let what was held be read, and keep what was withdrawn from everyone.

Delivery: at least once. What is emitted has derived ids and is guarded by order and access version, and a decision
that was overtaken by a later one of its item does nothing, so a redelivery changes nothing.
"""

from collections.abc import Sequence

from millrace.agent import Batch, Outputs, Result, agent
from millrace.errors import InvalidEvent, ObjectMissing
from millrace.event import Event
from millrace.events.corpus import AclChanged, ChunksEmbedded, DocumentIndexed
from millrace.events.guard import ReviewDecisionMade
from millrace.topics import ACL_CHANGED, CHUNKS_EMBEDDED, REVIEW_DECISION_MADE
from millrace.withdrawal import is_withdrawn, restored, withdrawn

from agents.corpus.rows_codec import decode_manifest
from agents.ports import ReviewPorts


@agent(source=REVIEW_DECISION_MADE, sinks=(CHUNKS_EMBEDDED, ACL_CHANGED))
async def apply_decision(decision: ReviewDecisionMade, ports: ReviewPorts) -> Outputs:
    """Release or withdraw a document.

    A held version becomes visible as it was embedded: the index takes its last part, cleared, and with it the rows of
    the others. It stays hidden behind a version that came later, as every late one does. A withdrawn document keeps
    its versions; its readers are taken away in one event, and given back in one.

    Raises
    ------
    InvalidEvent
        If the decision names a version of another document.
    Unavailable
        If the object store is down.
    """
    if decision.subject_kind != "document" or decision.decision not in {"release", "withdraw"}:
        return None
    await ports.access.caught_up()
    await ports.reviewed.caught_up()
    hidden = ports.reviewed.withdrawn(decision.tenant, decision.subject)
    if decision.decision == "withdraw":
        return _access(decision, ports, hidden=True) if hidden else None
    found: list[Event] = [] if hidden else _access(decision, ports, hidden=False)
    return [*found, *await _cleared(decision, ports)]


@agent(source=ACL_CHANGED, sinks=(ACL_CHANGED,), batch=Batch(max_items=256, linger_ms=20))
async def keep_withdrawn(changes: Sequence[AclChanged], ports: ReviewPorts) -> Sequence[Result]:
    """Withhold rights that are given for a document that somebody withdrew: sources do not know of that.

    Raises
    ------
    Unavailable
        If the log does not say what was decided.
    """
    if all(_withheld(change) for change in changes):
        return [Result.ok() for _ in changes]
    await ports.reviewed.caught_up()
    return [
        Result.ok()
        if _withheld(change) or not ports.reviewed.withdrawn(change.tenant, change.document)
        else Result.ok(change.replace(version=change.version + 1, groups=withdrawn(change.groups)))
        for change in changes
    ]


def _withheld(change: AclChanged) -> bool:
    """Whether no right is given."""
    return change.groups == withdrawn(change.groups)


def _access(decision: ReviewDecisionMade, ports: ReviewPorts, *, hidden: bool) -> list[Event]:
    """The document's readers, withheld or given back; nothing where they are so already."""
    known = ports.access.access(decision.tenant, decision.subject)
    if known is None:
        return []
    version, groups = known
    if not hidden and not is_withdrawn(groups):
        return []
    wanted = withdrawn(groups) if hidden else restored(groups)
    if set(wanted) == set(groups):
        return []
    return [AclChanged(tenant=decision.tenant, document=decision.subject, version=version + 1, groups=wanted)]


async def _cleared(decision: ReviewDecisionMade, ports: ReviewPorts) -> list[Event]:
    """The held version, as one last part that the index takes; nothing where it is visible, overtaken or erased."""
    if decision.manifest is None or not ports.reviewed.released(
        decision.tenant, decision.subject, decision.content or ""
    ):
        return []
    try:
        version = decode_manifest(await ports.objects.get(decision.manifest))
    except ObjectMissing:
        return []  # erased meanwhile
    _check(decision, version)
    current = ports.access.current(decision.tenant, decision.subject)
    if current is not None and current.order >= version.order:
        return []
    return [
        ChunksEmbedded(
            tenant=version.tenant,
            document=version.document,
            source_epoch=version.source_epoch,
            version=version.version,
            pipeline_generation=version.pipeline_generation,
            part=0,
            n_parts=1,
            model=version.model,
            rows=None,
            manifest=decision.manifest,
            trust=version.trust,
            cleared=True,
        )
    ]


def _check(decision: ReviewDecisionMade, version: DocumentIndexed) -> None:
    wanted = (decision.tenant, decision.subject, decision.version, decision.content)
    found = (version.tenant, version.document, version.version, version.text)
    if wanted != found:
        raise InvalidEvent(
            f"decision about item {decision.item} names version {decision.version} of {decision.subject!r} of tenant "
            f"{decision.tenant!r}, but its manifest is of version {version.version} of {version.document!r} of "
            f"{version.tenant!r}; decide about the item again"
        )
