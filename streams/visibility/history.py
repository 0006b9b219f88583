"""Earlier states of a table: as of a watermark, what is retained, what has passed its retention."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from millrace.errors import LogTruncated, Unavailable
from millrace.events.corpus import Order, render_order
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED
from streams.visibility.file import TableFile, access_of, to_json, version_of
from streams.visibility.fold import UNKNOWN, Document, fold_access, fold_version
from streams.visibility.state import State
from streams.visibility.tenants import TenantState
from streams.visibility.watermark import Offsets, before, reached


class Expired(msgspec.Struct, frozen=True):
    """A document with versions that were superseded longer ago than the retention.

    ``before_order`` is the order of the oldest version that is still retained: all lower ones have passed.
    """

    tenant: str
    document: str
    before_order: str


def as_of(file: TableFile, state: State, tenant: str, offsets: Offsets) -> TenantState:
    """State of a tenant when exactly the records below `offsets` had been folded.

    Raises
    ------
    LogTruncated
        If rows that counted then have been pruned.
    Unavailable
        If the table has not folded that far yet.
    """
    if not reached(state.positions, offsets):
        raise Unavailable("the watermark asked for lies ahead of this table; wait until it has folded that far")
    lost = [at for at, horizon in state.horizons.items() if offsets.get(at, 0) < horizon]
    if lost:
        topic, partition = lost[0]
        raise LogTruncated(
            f"the watermark asked for has offset {offsets.get(lost[0], 0)} of {topic}/{partition}, but versions "
            f"superseded before offset {state.horizons[lost[0]]} passed their retention and were pruned; "
            "ask as of a later watermark or as of now"
        )
    names = {doc: name for (owner, name), doc in state.rows.items() if owner == tenant}
    documents: dict[int, Document] = {}
    for row in file.select(
        "SELECT id, doc, NULL, offset, partition, source_epoch, version, generation, deleted, acl_version, n_chunks, "
        "labels FROM versions WHERE doc IN (SELECT id FROM documents WHERE tenant = ?) ORDER BY id",
        (tenant,),
    ):
        version = version_of(row)
        if before(version.offset, DOCUMENT_INDEXED.name, version.partition, offsets):
            known = documents.get(row[1], UNKNOWN)
            documents[row[1]] = fold_version(known, version) or known
    for row in file.select(
        "SELECT id, doc, NULL, offset, partition, version, groups "
        "FROM accesses WHERE doc IN (SELECT id FROM documents WHERE tenant = ?) ORDER BY id",
        (tenant,),
    ):
        access = access_of(row, state.group_set)
        if before(access.offset, ACL_CHANGED.name, access.partition, offsets):
            known = documents.get(row[1], UNKNOWN)
            documents[row[1]] = fold_access(known, access) or known
    found = TenantState()
    for doc, document in documents.items():
        found.put(names[doc], document)
    return found


def rows_of(file: TableFile, state: State, name: tuple[str, str]) -> str:
    """Rows of all versions of a document, in JSON: those that count, and those that ended; some may be pruned.

    So no other document's rows need be read to find them, and the file needs no index.
    """
    doc = state.rows.get(name)
    if doc is None:
        return "[]"
    ended = file.select("SELECT row FROM ended WHERE doc = ? AND kind = 'versions'", (doc,))
    return to_json([*(version.row for version in state.document(*name).versions), *(row for (row,) in ended)]).decode()


def expired(file: TableFile, state: State, before_us: int) -> list[Expired]:
    """Documents with versions that were superseded before a time.

    Parameters
    ----------
    before_us : int
        Microseconds since the epoch; the time of a supersession is that of the record that caused it.
    """
    names = {doc: name for name, doc in state.rows.items()}
    passed: dict[int, Order] = {}
    for doc, *order in file.select(
        "SELECT v.doc, v.source_epoch, v.version, v.generation FROM versions v "
        "JOIN ended e ON e.kind = 'versions' AND e.row = v.id WHERE e.ended_us < ? AND v.record IS NOT NULL",
        (before_us,),
    ):
        found = (order[0], order[1], order[2])
        passed[doc] = max(found, passed.get(doc, found))
    result = []
    for doc, highest in passed.items():
        tenant, name = names[doc]
        after = _successor(file, rows_of(file, state, (tenant, name)), highest)
        if after is not None:
            result.append(Expired(tenant, name, render_order(after)))
    return result


def _successor(file: TableFile, rows_of_document: str, order: Order) -> Order | None:
    rows = file.select(
        "SELECT source_epoch, version, generation FROM versions WHERE id IN (SELECT value FROM json_each(?)) "
        "AND record IS NOT NULL AND (source_epoch, version, generation) > (?, ?, ?) "
        "ORDER BY source_epoch, version, generation LIMIT 1",
        (rows_of_document, *order),
    )
    return (rows[0][0], rows[0][1], rows[0][2]) if rows else None


def prune(file: TableFile, state: State, before_us: int) -> tuple[int, Mapping[tuple[str, int], int]]:
    """Delete rows that were superseded before a time, except those that count now.

    Returns
    -------
    n : int
        Rows deleted.
    horizons : mapping
        By (topic, partition): watermarks below cannot be asked for any more.
    """
    horizons = dict(state.horizons)
    gone: dict[str, list[tuple[int]]] = {"versions": [], "accesses": []}
    counting = _counting(state)
    ends: list[tuple[int, str, bytes]] = []
    for doc, kind, event, row, topic, partition, offset in file.select(
        "SELECT doc, kind, event, row, topic, partition, offset FROM ended WHERE ended_us < ?", (before_us,)
    ):
        if row not in counting:
            gone[kind].append((row,))
            ends.append((doc, kind, event))
            horizons[topic, partition] = max(horizons.get((topic, partition), 0), offset + 1)
    with file.transaction():
        for kind, rows in gone.items():
            file.writer.executemany(f"DELETE FROM {kind} WHERE id = ?", rows)  # noqa: S608 - names of ours
        file.writer.executemany("DELETE FROM ended WHERE doc = ? AND kind = ? AND event = ?", ends)
        file.insert(
            "positions",
            [(*at, state.positions.get(at, 0), horizon) for at, horizon in horizons.items()],
        )
    return sum(map(len, gone.values())), horizons


def _counting(state: State) -> set[int]:
    found: set[int] = set()
    for tenant in state.tenants.values():
        for document in tenant.documents.values():
            found.update(version.row for version in document.versions)
            if document.access is not None:
                found.add(document.access.row)
    return found
