"""What must be true after a fault, judged from acknowledged operations alone.

Plain Python. It knows what was acknowledged, and compares that with full scans of the topics, of the vector tables and
of the visibility table. It shares the decoder with the project and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from millrace.codec import Codec
from millrace.events.corpus import AclChanged, ChunksEmbedded, DocumentIndexed, DocumentSettled
from millrace.topics import ACL_CHANGED, CHUNKS_EMBEDDED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, SOURCE_CHANGED
from tests.faults.log_access import Place, Raw, outgoing
from tests.faults.workload import MARKER, Change

Entity = tuple[str, str]
Order = tuple[int, int, int]
DEAD_LETTERS = (SOURCE_CHANGED.dead_letters, CHUNKS_EMBEDDED.dead_letters, DOCUMENT_INDEXED.dead_letters)
SCANNED = (DOCUMENT_INDEXED.name, DOCUMENT_SETTLED.name, ACL_CHANGED.name, *DEAD_LETTERS)
_CODEC = Codec()
_MARKER = re.compile(MARKER)


@dataclass(frozen=True)
class Row:
    """A row of a vector table, found on disk or in a server; `reached` is whether a search by its vector finds it."""

    tenant: str
    document: str
    chunk_id: str
    text: str
    archived: bool
    reached: bool = True


@dataclass(frozen=True)
class Shown:
    """What the visibility table says of a document: the version that counts, and who may read it."""

    order: Order
    deleted: bool
    chunks: tuple[str, ...]
    groups: frozenset[str]


@dataclass
class Findings:
    """Broken invariants, each with what broke it; empty lists when all hold.

    Attributes
    ----------
    lost : list
        I1: acknowledged operations without an outcome.
    doubled : list
        I2: chunks that stand twice where they may stand once.
    stale : list
        I3: documents whose visible version is not the highest acknowledged one, or went back.
    orphans : list
        I4: rows that nothing lists, and visible chunks of deleted documents.
    foreign : list
        I5: what someone saw who may not see it.
    unanswered : list
        I6: questions without exactly one terminal reply in time.
    diverged : list
        I7: states that a rebuild does not give again.
    altered : list
        Dead letters whose bytes are not those of their record.
    n_dead_letters : int
        Dead letters of the oracle's tenants.
    """

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    n_dead_letters: int = 0

    @property
    def violations(self) -> dict[str, int]:
        """How many violations of which kind."""
        return {name: len(found) for name, found in vars(self).items() if isinstance(found, list) and found}

    def assert_none(self) -> None:
        """Fail with the first few of each kind."""
        shown = {name: getattr(self, name)[:5] for name in self.violations}
        assert not shown, f"{self.violations}: {shown}"


@dataclass
class _Log:
    """Outcome topics, folded."""

    versions: dict[Entity, list[tuple[Order, int, DocumentIndexed]]] = field(default_factory=lambda: defaultdict(list))
    settled: dict[Entity, set[Order]] = field(default_factory=lambda: defaultdict(set))
    access: dict[Entity, tuple[int, int, frozenset[str]]] = field(default_factory=dict)
    letters: dict[Place, list[Raw]] = field(default_factory=lambda: defaultdict(list))
    failed_parts: set[tuple[Entity, Order]] = field(default_factory=set)

    def newest(self, entity: Entity) -> DocumentIndexed | None:
        found = self.versions.get(entity)
        return max(found, key=lambda each: each[:2])[2] if found else None


class Oracle:
    """Takes acknowledged operations and judges what became of them.

    Parameters
    ----------
    tenants : collection of str
        Whose records it looks at; others on the same stack are other tests'.
    codec : Codec
        Reads records; another one where a registry numbers the schemas.
    """

    def __init__(self, tenants: Collection[str], codec: Codec = _CODEC) -> None:
        self.codec = codec
        self.tenants = frozenset(tenants)
        self.acknowledged: dict[Place, Change] = {}
        self.watched: list[str] = []  # findings of readers that looked on during the fault
        self.foreign: list[str] = []
        self.unanswered: list[str] = []
        self._rejected: set[tuple[Entity, int]] = set()

    def acknowledge(self, change: Change, place: Place) -> None:
        """Take note of an operation that the broker has acknowledged."""
        assert change.tenant in self.tenants, f"{change.tenant} is no tenant of this oracle"
        self.acknowledged[place] = change

    def expect_rejected(self, tenant: str, document: str, version: int) -> None:
        """Say that a version can never become visible, because its content is refused."""
        self._rejected.add(((tenant, document), version))

    def documents(self) -> dict[Entity, Change]:
        """The change of the highest version of each document."""
        newest: dict[Entity, Change] = {}
        for change in self._changes():
            if (change.entity, change.version) in self._rejected:
                continue
            if change.entity not in newest or newest[change.entity].version < change.version:
                newest[change.entity] = change
        return newest

    def access(self) -> dict[Entity, Change]:
        """The access change of the highest version of each document."""
        newest: dict[Entity, Change] = {}
        for change in self.acknowledged.values():
            if change.kind == "access" and (
                change.entity not in newest or newest[change.entity].version < change.version
            ):
                newest[change.entity] = change
        return newest

    def listed(self, records: Iterable[Raw]) -> set[tuple[str, str, str]]:
        """Tenant, document and chunk of everything that any version lists."""
        versions = self._fold(records).versions.values()
        return {(v.tenant, v.document, ref.id) for some in versions for _, _, v in some for ref in v.chunks}

    def may_see(self, entity: Entity, groups: Collection[str]) -> bool:
        """Whether someone in `groups` may see a document now."""
        newest, access = self.documents().get(entity), self.access().get(entity)
        return (
            newest is not None
            and newest.kind != "delete"
            and access is not None
            and not {*groups}.isdisjoint(access.groups)
        )

    def check(
        self,
        records: Iterable[Raw],
        rows: Sequence[Row],
        shown: Mapping[Entity, Shown] | None = None,
        *,
        rebuilt: Mapping[Entity, Shown] | None = None,
        collected: bool = False,
    ) -> Findings:
        """Compare everything found with everything acknowledged.

        Parameters
        ----------
        records : iterable of Raw
            Full scan of `SCANNED`.
        rows : sequence of Row
            Full scan of the vector tables, archives included.
        shown : mapping, optional
            The live visibility table.
        rebuilt : mapping, optional
            A table folded anew from offset 0.
        collected : bool
            Whether garbage was collected since, so that no row may be left that nothing lists.
        """
        log = self._fold(records)
        found = Findings(foreign=[*self.foreign], unanswered=[*self.unanswered], stale=[*self.watched])
        found.n_dead_letters = len(log.letters)
        self._conservation(log, found)
        self._letters(log, found)
        self._visible(log, rows, found)
        self._rows(log, rows, found, collected=collected)
        if shown is not None:
            self._table(log, shown, found)
        if shown is not None and rebuilt is not None and digest(shown) != digest(rebuilt):
            different = [entity for entity in {*shown, *rebuilt} if shown.get(entity) != rebuilt.get(entity)]
            found.diverged += [
                f"{entity}: live {shown.get(entity)}, rebuilt {rebuilt.get(entity)}" for entity in different
            ]
        return found

    def _changes(self) -> Iterable[Change]:
        return (change for change in self.acknowledged.values() if change.kind in {"upsert", "delete"})

    def _fold(self, records: Iterable[Raw]) -> _Log:
        log = _Log()
        known: set[tuple[str, str]] = set()
        for raw in records:
            if raw.place.topic in DEAD_LETTERS:
                self._letter(raw, log)
                continue
            event = self.codec.decode(raw.value)
            identity = (raw.place.topic, raw.header("ce_id"))
            if event.tenant not in self.tenants or identity in known:
                continue  # the first record of an id is the truth
            known.add(identity)
            if isinstance(event, DocumentIndexed):
                log.versions[event.tenant, event.document].append((event.order, raw.place.offset, event))
            elif isinstance(event, DocumentSettled):
                log.settled[event.tenant, event.document].add(event.order)
            elif isinstance(event, AclChanged):
                entity = (event.tenant, event.document)
                new = (event.version, raw.place.offset, frozenset(event.groups))
                log.access[entity] = max(log.access.get(entity, new), new, key=lambda each: each[:2])
        return log

    def _letter(self, raw: Raw, log: _Log) -> None:
        source = Place(
            raw.header("mr-error-topic"), int(raw.header("mr-error-partition")), int(raw.header("mr-error-offset"))
        )
        if source in self.acknowledged:
            log.letters[source].append(raw)
        elif source.topic == CHUNKS_EMBEDDED.name:
            event = self.codec.decode(raw.value)
            if isinstance(event, ChunksEmbedded) and event.tenant in self.tenants:
                log.failed_parts.add(((event.tenant, event.document), event.order))

    def _conservation(self, log: _Log, found: Findings) -> None:
        """I1: an outcome, or a dead letter, for each acknowledged operation."""
        for place, change in self.acknowledged.items():
            order = (0, change.version, 0)
            if place in log.letters:
                continue
            if change.kind == "poison":
                found.lost.append(f"poison at {place} has no dead letter")
            elif change.kind == "access":
                known = log.access.get(change.entity)
                if known is None or known[0] < change.version:
                    found.lost.append(f"access {change.version} of {change.entity}")
            elif (
                all(each[0] != order for each in log.versions.get(change.entity, ()))
                and order not in log.settled.get(change.entity, ())
                and (change.entity, order) not in log.failed_parts
            ):
                found.lost.append(f"{change.kind} {change.version} of {change.entity} at {place}")

    def _letters(self, log: _Log, found: Findings) -> None:
        for place, letters in log.letters.items():
            change = self.acknowledged[place]
            for letter in letters:
                value = outgoing(change, self.codec).value if change.kind == "poison" else None
                if change.kind == "poison" and (
                    letter.value != value or letter.headers[: len(change.headers)] != change.headers
                ):
                    found.altered.append(f"dead letter of {place}: {letter.value!r}, expected {value!r}")

    def _visible(self, log: _Log, rows: Sequence[Row], found: Findings) -> None:
        """I2, I3, I4 from log and rows: the newest version is the highest acknowledged, its text there exactly once."""
        texts = {(row.tenant, row.chunk_id): row.text for row in rows}
        hidden = {(row.tenant, row.chunk_id) for row in rows if not row.reached}
        for entity, change in self.documents().items():
            newest = log.newest(entity)
            if newest is None or newest.version != change.version or newest.deleted != (change.kind == "delete"):
                seen = None if newest is None else (newest.version, newest.deleted)
                found.stale.append(f"{entity}: acknowledged {change.kind} {change.version}, visible {seen}")
                continue
            ids = [ref.id for ref in newest.chunks]
            if newest.deleted:
                found.orphans += [f"{entity} is deleted and lists {each}" for each in ids]
                continue
            if repeated := [each for each, n in Counter(ids).items() if n > 1]:
                found.doubled.append(f"{entity} lists {repeated} more than once")
            if missing := [each for each in ids if (entity[0], each) not in texts]:
                found.lost.append(f"{entity} lists {len(missing)} chunks that are in no table")
            if unreached := [each for each in ids if (entity[0], each) in hidden]:
                found.lost.append(f"{entity} lists {len(unreached)} chunks that no search finds")
            seen_markers = Counter(m for each in ids for m in _MARKER.findall(texts.get((entity[0], each), "")))
            for marker, n in (seen_markers - Counter(change.markers)).items():
                kind = found.doubled if marker in change.markers else found.stale
                kind.append(f"{entity} shows {marker} {n} times too often")
            if not missing and (gone := Counter(change.markers) - seen_markers):
                found.lost.append(f"{entity} version {change.version} lacks {[*gone]}")

    def _rows(self, log: _Log, rows: Sequence[Row], found: Findings, *, collected: bool) -> None:
        """I2 and I4 of the tables."""
        counts = Counter((row.tenant, row.chunk_id, row.archived) for row in rows if row.tenant in self.tenants)
        found.doubled += [f"row {key} stands {n} times in a table" for key, n in counts.items() if n > 1]
        if not collected:
            return
        listed = {
            (tenant, ref.id)
            for (tenant, _), versions in log.versions.items()
            for _, _, version in versions
            for ref in version.chunks
        }
        found.orphans += [
            f"row {row.chunk_id} of {row.tenant}/{row.document} is listed by no version"
            for row in rows
            if row.tenant in self.tenants and (row.tenant, row.chunk_id) not in listed
        ]

    def _table(self, log: _Log, shown: Mapping[Entity, Shown], found: Findings) -> None:
        """I3, I4, I5 of the visibility table."""
        access = self.access()
        for entity, change in self.documents().items():
            state = shown.get(entity)
            if state is None or state.order[1] != change.version or state.deleted != (change.kind == "delete"):
                found.stale.append(f"table shows {state} of {entity}, acknowledged is {change.kind} {change.version}")
                continue
            newest = log.newest(entity)
            if newest is not None and not state.deleted and state.chunks != tuple(ref.id for ref in newest.chunks):
                found.diverged.append(f"table and log list other chunks of {entity}")
            if state.deleted and state.groups:
                found.orphans.append(f"deleted {entity} is still open to {set(state.groups)}")
            allowed = frozenset(access[entity].groups) if entity in access else frozenset()
            if not state.deleted and state.groups != allowed:
                found.foreign.append(f"{entity} is open to {set(state.groups)}, acknowledged is {set(allowed)}")


def digest(shown: Mapping[Entity, Shown]) -> str:
    """Digest of ids, versions, order and access; never of vectors."""
    lines = sorted(
        repr((entity, state.order, state.deleted, () if state.deleted else state.chunks, sorted(state.groups)))
        for entity, state in shown.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
