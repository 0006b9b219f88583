"""The folded state in memory, tenant by tenant: consistent snapshots, and who sees what without a scan.

State is copied on write: a snapshot is handed out as it is, and the first change after that copies it.
"""

from collections import OrderedDict
from collections.abc import Mapping

from streams.visibility.fold import UNKNOWN, Document, matches

Groups = frozenset[str]
Labels = frozenset[tuple[str, str]]

_MAX_SELECTIONS = 64
_MAX_SELECTED = 1_000_000
_MAX_JOURNAL = 4096


class Selection:
    """Documents visible to one set of groups with one set of labels, kept up to date by changes."""

    def __init__(self, groups: Groups, labels: Labels) -> None:
        self.groups = groups
        self.labels = labels
        self.members: dict[str, int] = {}  # chunks by document
        self.n_chunks = 0
        self.seen = -1  # changes of the tenant already taken in
        self.shared = False

    def put(self, name: str, document: Document) -> None:
        """Take in a document as it is now."""
        self.n_chunks -= self.members.pop(name, 0)
        effective = document.effective
        if effective is not None and matches(document, self.groups, self.labels):
            self.members[name] = effective.n_chunks
            self.n_chunks += effective.n_chunks


class TenantState:
    """All documents of one tenant."""

    def __init__(self) -> None:
        self.n_changes = 0
        self._documents: dict[str, Document] = {}
        self._shared = False
        self._by_group: dict[str, set[str]] = {}
        self._journal: list[str] = []
        self._selections: OrderedDict[tuple[Groups, Labels], Selection] = OrderedDict()

    @property
    def documents(self) -> Mapping[str, Document]:
        """Documents by name, to be read at once: later changes show."""
        return self._documents

    def snapshot(self) -> Mapping[str, Document]:
        """Documents by name as they are now, whatever changes later."""
        self._shared = True
        return self._documents

    def get(self, name: str) -> Document:
        """A document; `UNKNOWN` when nothing was folded of it."""
        return self._documents.get(name, UNKNOWN)

    def put(self, name: str, document: Document) -> None:
        """Take in a document's next state."""
        if self._shared:
            self._documents = self._documents.copy()
            self._shared = False
        before = self._documents.get(name, UNKNOWN).readers
        self._documents[name] = document
        for group in before - document.readers:
            members = self._by_group[group]
            members.discard(name)
            if not members:
                del self._by_group[group]
        for group in document.readers - before:
            self._by_group.setdefault(group, set()).add(name)
        self.n_changes += 1
        self._journal.append(name)
        if len(self._journal) > 2 * _MAX_JOURNAL:
            del self._journal[:-_MAX_JOURNAL]

    def select(self, groups: Groups, labels: Labels) -> tuple[Mapping[str, int], int]:
        """Visible documents with their number of chunks, as a snapshot, and the number of all their chunks."""
        selection = self._selections.get((groups, labels))
        if selection is None:
            selection = self._selections[groups, labels] = Selection(groups, labels)
            self._evict()
        self._selections.move_to_end((groups, labels))
        self._catch_up(selection)
        selection.shared = True
        return selection.members, selection.n_chunks

    def _catch_up(self, selection: Selection) -> None:
        behind = self.n_changes - selection.seen
        if not behind:
            return
        if selection.seen < 0 or behind > len(self._journal):
            selection.members, selection.n_chunks = {}, 0
            names = {name for group in selection.groups for name in self._by_group.get(group, ())}
        else:
            names = set(self._journal[-behind:])
            if selection.shared:
                selection.members = selection.members.copy()
        selection.shared = False
        for name in names:
            selection.put(name, self._documents[name])
        selection.seen = self.n_changes

    def _evict(self) -> None:
        held = sum(len(selection.members) for selection in self._selections.values())
        while len(self._selections) > 1 and (len(self._selections) > _MAX_SELECTIONS or held > _MAX_SELECTED):
            _, dropped = self._selections.popitem(last=False)
            held -= len(dropped.members)
