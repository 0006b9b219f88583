"""What a table holds in memory: documents by tenant, outcomes, positions."""

from __future__ import annotations

from collections.abc import Iterable

from streams.visibility.file import Settled, TableFile, access_of, version_of
from streams.visibility.fold import UNKNOWN, Document, fold_access, fold_version
from streams.visibility.tenants import TenantState


class State:
    """The folded state. Documents are named ``(tenant, document)``."""

    def __init__(self) -> None:
        self.tenants: dict[str, TenantState] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.outcomes: dict[tuple[str, str], Settled] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.horizons: dict[tuple[str, int], int] = {}
        self.unread: dict[bytes, str] = {}
        """Where access stands that is written in an unknown schema, by record key."""
        self._row = 0
        self._group_sets: dict[frozenset[str], frozenset[str]] = {}

    @classmethod
    def load(cls, file: TableFile) -> State:
        """State of a file, every row of it checked.

        Raises
        ------
        Damaged
            If the file cannot be trusted.
        """
        state = cls()
        for topic, partition, reached, horizon, _ in file.rows("positions"):
            state.positions[topic, partition] = reached
            state.horizons[topic, partition] = horizon
        names: dict[int, tuple[str, str]] = {}
        for doc, tenant, name, _ in file.rows("documents"):
            names[doc] = (tenant, name)
            state.rows[tenant, name] = doc
        documents: dict[int, Document] = {}
        for row in file.rows("versions"):
            folded = fold_version(documents.get(row[1], UNKNOWN), version_of(row))
            documents[row[1]] = folded or documents[row[1]]
            state._row = max(state._row, row[0])
        for row in file.rows("accesses"):
            access = access_of(row, state.group_set)
            folded = fold_access(documents.get(row[1], UNKNOWN), access)
            documents[row[1]] = folded or documents[row[1]]
            state._row = max(state._row, row[0])
        for doc, epoch, version, generation, outcome, reason, _ in file.rows("settled"):
            state.outcomes[names[doc]] = Settled((epoch, version, generation), outcome, reason)
        state.unread = {key: origin for key, origin, *_ in file.rows("unread")}
        for _ in file.rows("ended"):
            pass  # read for their checksums
        for doc, document in documents.items():
            state.put(names[doc], document)
        state._row = max([state._row, *names])
        return state

    def next_row(self) -> int:
        """A row number that was never used."""
        self._row += 1
        return self._row

    def group_set(self, groups: Iterable[str]) -> frozenset[str]:
        """Groups as a set; equal ones are one object, because most documents share theirs."""
        found = frozenset(groups)
        return self._group_sets.setdefault(found, found)

    def tenant(self, name: str) -> TenantState:
        """State of a tenant, empty where nothing was folded."""
        return self.tenants.get(name) or TenantState()

    def document(self, tenant: str, name: str) -> Document:
        """A document; `UNKNOWN` where nothing was folded of it."""
        state = self.tenants.get(tenant)
        return state.get(name) if state is not None else UNKNOWN

    def put(self, name: tuple[str, str], document: Document) -> None:
        """Take in a document's next state."""
        tenant = self.tenants.get(name[0])
        if tenant is None:
            tenant = self.tenants[name[0]] = TenantState()
        tenant.put(name[1], document)
