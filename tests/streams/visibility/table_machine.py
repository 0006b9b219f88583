"""The visibility table against a naive reading of the whole log."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millrace.event import Event, Origin
from millrace.events.corpus import AclChanged, DocumentIndexed
from millrace.keys import document_key
from millrace.topics import CATALOGUE
from streams.visibility import VisibilityTable
from tests.streams.visibility.corpus_log import CODEC, Consumed, CorpusLog, acl, asker, chunk, deleted, indexed

TENANTS = st.sampled_from(["acme", "globex"])
DOCUMENTS = st.sampled_from(["a.md", "b.md", "c.md"])
GROUPS = st.sets(st.sampled_from(["*", "hr", "it"]))
VERSIONS = st.integers(1, 6)
LABELS = st.sampled_from([{}, {"lang": "en"}, {"lang": "de"}])
E = TypeVar("E", bound=Event)


def decode(record: Consumed) -> Event:
    origin = Origin(record.topic, record.partition, record.offset)
    return CODEC.read(CATALOGUE[record.topic], record.key, record.value, record.headers, origin)


def first_of_each_id(records: list[Consumed], kind: type[E], tenant: str, document: str) -> list[E]:
    found: dict[str, E] = {}
    for record in records:
        event = decode(record)
        if isinstance(event, kind) and record.key == document_key(tenant, document).encode():
            found.setdefault(event.meta.id, event)
    return list(found.values())


def naive(
    records: list[Consumed], tenant: str, document: str, groups: set[str], labels: Mapping[str, str]
) -> DocumentIndexed | None:
    """Version of a document that `records` make visible, by the letter of the rules."""
    access = None
    for grant in first_of_each_id(records, AclChanged, tenant, document):
        if access is None or grant.version >= access.version:
            access = grant
    listed: list[DocumentIndexed] = []
    for event in first_of_each_id(records, DocumentIndexed, tenant, document):
        if all(event.order >= other.order for other in listed):
            listed.append(event)
    known = access.version if access else 0
    counts = [event for event in listed if event.deleted or event.acl_version <= known]
    if not counts or counts[-1].deleted or access is None or not {*access.groups} & {*groups, "*"}:
        return None
    return counts[-1] if labels.items() <= counts[-1].labels.items() else None


class TableMachine(RuleBasedStateMachine):
    """Appends events in any order, folds them in batches, restarts, and looks at now and earlier."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "visibility.sqlite"
        self.log = CorpusLog()
        self.n_folded = 0
        self.table = VisibilityTable.open(self.path, CODEC, "epoch")
        self.watermarks = [(self.table.watermark(), 0)]

    @rule(
        tenant=TENANTS,
        document=DOCUMENTS,
        version=VERSIONS,
        needs=st.integers(0, 3),
        n=st.integers(0, 3),
        labels=LABELS,
    )
    def index(self, tenant: str, document: str, version: int, needs: int, n: int, labels: dict[str, str]) -> None:
        self.log.append(indexed(document, version, n, tenant=tenant, acl_version=needs, labels=labels))

    @rule(tenant=TENANTS, document=DOCUMENTS, version=VERSIONS)
    def delete(self, tenant: str, document: str, version: int) -> None:
        self.log.append(deleted(document, version, tenant=tenant))

    @rule(tenant=TENANTS, document=DOCUMENTS, version=st.integers(1, 4), groups=GROUPS)
    def grant(self, tenant: str, document: str, version: int, groups: set[str]) -> None:
        self.log.append(acl(document, version, *groups, tenant=tenant))

    @rule(data=st.data(), version=VERSIONS)
    def repeat(self, data: st.DataObject, version: int) -> None:
        """The same id again, with another body: the first one is the truth."""
        if self.log.records:
            event = decode(data.draw(st.sampled_from(self.log.records)))
            self.log.append(event.replace(version=version), event_id=event.meta.id)

    @rule(n=st.integers(1, 8))
    def fold(self, n: int) -> None:
        batch = self.log.records[self.n_folded : self.n_folded + n]
        self.n_folded += len(batch)
        self.table.fold(batch)
        self.watermarks.append((self.table.watermark(), self.n_folded))

    @rule()
    def fold_again(self) -> None:
        before = self.table.watermark()
        self.table.fold(self.log.records[: self.n_folded])
        assert self.table.watermark() == before

    @rule()
    def restart(self) -> None:
        self.table.close()
        self.table = VisibilityTable.open(self.path, CODEC, "epoch")
        assert self.table.watermark() == self.watermarks[-1][0]

    @rule(tenant=TENANTS, groups=GROUPS, labels=LABELS)
    def look(self, tenant: str, groups: set[str], labels: dict[str, str]) -> None:
        self.compare(None, self.n_folded, tenant, groups, labels)

    @rule(data=st.data(), tenant=TENANTS, groups=GROUPS, labels=LABELS)
    def look_back(self, data: st.DataObject, tenant: str, groups: set[str], labels: dict[str, str]) -> None:
        at, n = data.draw(st.sampled_from(self.watermarks))
        self.compare(at, n, tenant, groups, labels)

    def compare(self, at: str | None, n: int, tenant: str, groups: set[str], labels: dict[str, str]) -> None:
        seen = self.table.visible(tenant, asker(*groups), at=at, labels=labels)
        records = self.log.records[:n]
        expected = {
            document: version
            for document in ("a.md", "b.md", "c.md")
            if (version := naive(records, tenant, document, groups, labels)) is not None
        }
        assert {document: seen.get(document) for document in seen.documents()} == expected
        assert seen.n_documents == len(expected)
        assert seen.n_chunks == sum(len(version.chunks) for version in expected.values())
        for document in ("a.md", "b.md", "c.md"):
            listed = {ref.id for ref in expected[document].chunks} if document in expected else set()
            for written in range(1, 7):
                for number in range(3):
                    asked = chunk(tenant, document, written, number)
                    assert (seen.why_not(document, asked) is None) == (asked in listed)

    @invariant()
    def snapshots_do_not_move(self) -> None:
        previous, members = getattr(self, "held", (None, None))
        if previous is not None:
            assert set(previous.documents()) == members
        held = self.table.visible("acme", asker("hr"))
        self.held = (held, set(held.documents()))

    def teardown(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fresh = VisibilityTable.open(Path(folder) / "fresh.sqlite", CODEC, "another epoch")
            fresh.fold(self.log.records[: self.n_folded])
            assert fresh.digest() == self.table.digest()
            fresh.close()
        self.table.close()
        self.folder.cleanup()
