"""A visibility table in memory."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agents.ports import Principal
from millrace.errors import LogTruncated, Unavailable
from millrace.event import Event
from millrace.events.corpus import AclChanged, DocumentIndexed, DocumentSettled
from millrace.events.query import Receipt


@dataclass
class MemoryView:
    """What one principal may see."""

    watermark: str
    versions: dict[str, DocumentIndexed]
    reasons: dict[str, str]

    @property
    def n_documents(self) -> int:
        return len(self.versions)

    @property
    def n_chunks(self) -> int:
        return sum(len(version.chunks) for version in self.versions.values())

    def documents(self) -> Collection[str]:
        return self.versions.keys()

    def get(self, document: str) -> DocumentIndexed | None:
        return self.versions.get(document)

    def why_not(self, document: str, chunk_id: str) -> str | None:
        version = self.versions.get(document)
        if version is None:
            return self.reasons.get(document, "superseded")
        return None if any(ref.id == chunk_id for ref in version.chunks) else "superseded"


@dataclass
class MemoryVisibility:
    """Folds versions, outcomes and access into dicts; never forgets."""

    history: dict[tuple[str, str], list[DocumentIndexed]] = field(default_factory=lambda: defaultdict(list))
    outcomes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    settled: dict[tuple[str, str], DocumentSettled] = field(default_factory=dict)
    access: dict[tuple[str, str], AclChanged] = field(default_factory=dict)
    n_folded: int = 0
    is_confirmed: bool = True
    log: list[Event] = field(default_factory=list)
    waited: list[tuple[Sequence[Receipt], str]] = field(default_factory=list)

    def fold(self, event: Event) -> None:
        self.n_folded += 1
        self.log.append(event)
        if isinstance(event, AclChanged):
            access = self.access.get((event.tenant, event.document))
            if access is None or access.version < event.version:
                self.access[event.tenant, event.document] = event
        elif isinstance(event, DocumentIndexed | DocumentSettled):
            key = (event.tenant, event.document)
            self.outcomes[key] = max(self.outcomes.get(key, (0, 0)), event.order[:2])
            if isinstance(event, DocumentSettled):
                known = self.settled.get(key)
                self.settled[key] = event if known is None or known.order <= event.order else known
            else:
                versions = self.history[key]
                if not versions or versions[-1].order <= event.order:
                    versions.append(event)

    def watermark(self) -> str:
        return str(self.n_folded)

    def confirmed(self) -> bool:
        return self.is_confirmed

    def visible(
        self, tenant: str, principal: Principal, *, at: str | None = None, labels: Mapping[str, str] | None = None
    ) -> MemoryView:
        if at is not None:
            return self.as_of(at).visible(tenant, principal, labels=labels)
        versions: dict[str, DocumentIndexed] = {}
        reasons: dict[str, str] = {}
        for (owner, document), history in self.history.items():
            if owner != tenant or not history:
                continue
            newest = history[-1]
            access = self.access.get((tenant, document))
            if newest.deleted:
                reasons[document] = "deleted"
            elif access is None or not principal.groups & set(access.groups):
                reasons[document] = "forbidden"
            elif labels and not labels.items() <= newest.labels.items():
                reasons[document] = "filtered"
            else:
                versions[document] = newest
        return MemoryView(self.watermark(), versions, reasons)

    def as_of(self, at: str) -> "MemoryVisibility":
        if not at.isdigit():
            raise LogTruncated(f"watermark {at!r} is of an earlier life of the log; ask as of now")
        if int(at) > self.n_folded:
            raise Unavailable(f"watermark {at} lies ahead; wait until it is folded")
        earlier = MemoryVisibility()
        for event in self.log[: int(at)]:
            earlier.fold(event)
        return earlier

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        history = self.history.get((tenant, document))
        return history[-1] if history else None

    def retained(self, tenant: str, document: str) -> Sequence[DocumentIndexed]:
        return self.history.get((tenant, document), [])[::-1]

    def outcome(self, tenant: str, document: str) -> DocumentSettled | None:
        return self.settled.get((tenant, document))

    def resolved(self, receipt: Receipt) -> bool:
        reached = self.outcomes.get((receipt.tenant, receipt.document), (0, 0))
        return reached >= (receipt.source_epoch, receipt.version)

    async def wait_for(self, receipts: Sequence[Receipt], watermark: str = "") -> None:
        self.waited.append((receipts, watermark))


@dataclass
class MemoryAccess:
    """Who may read documents, and their newest versions, as a visibility in memory knows it."""

    visibility: MemoryVisibility

    async def caught_up(self) -> None:
        return

    def access(self, tenant: str, document: str) -> tuple[int, Collection[str]] | None:
        found = self.visibility.access.get((tenant, document))
        return None if found is None else (found.version, found.groups)

    def current(self, tenant: str, document: str) -> DocumentIndexed | None:
        return self.visibility.current(tenant, document)
