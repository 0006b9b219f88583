"""Whatever is repeated, in whatever order it comes: the documents are the rows as the last commits left them.

The database here is a log that grows with each write and each commit; transactions run side by side, and a row that one
of them has written is locked until it commits. Debezium sends transactions in the order of their commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.event import Event
from millrace.events.corpus import AclChanged, SourceChanged
from tests.streams.sources.cdc.debezium import Agent, RawRecord, envelope, mapping_of

MAPPING = mapping_of(title="", groups_column="readers")


class Write(NamedTuple):
    """A change on its way: the row it leaves, None for none."""

    id: int
    row: dict[str, Any] | None
    lsn: int


@dataclass
class Database:
    """Rows, the log's end, open transactions, and what Debezium sends."""

    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    sent: list[RawRecord] = field(default_factory=list)
    end: int = 1_000
    _commit: int | None = None
    _open: dict[int, list[Write]] = field(default_factory=dict)

    def write(self, transaction: int, id: int, *, delete: bool) -> None:  # noqa: A002 - the column's name
        if any(w.id == id for other, writes in self._open.items() if other != transaction for w in writes):
            return  # it would wait for the lock
        lsn = self.grow()
        row = None if delete else {"id": id, "body": f"text {lsn}", "readers": [f"g{lsn}"]}
        self._open.setdefault(transaction, []).append(Write(id, row, lsn))

    def grow(self, by: int = 40) -> int:
        at, self.end = self.end, self.end + by
        return at

    def commit(self, transaction: int) -> None:
        for id_, row, lsn in self._open.pop(transaction, []):
            at: dict[str, Any] = {"commit": self._commit, "lsn": lsn}
            if row is None:
                self.rows.pop(id_, None)
                self.sent += [envelope("d", key={"id": id_}, **at), RawRecord(b'{"id": %d}' % id_, None)]
            else:
                self.rows[id_] = row
                self.sent.append(envelope("u", row, **at))
        self.grow()
        self._commit = self.end

    def commit_all(self) -> None:
        for transaction in list(self._open):
            self.commit(transaction)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("delete"), st.integers(0, 3), st.integers(0, 2)),
        st.tuples(st.just("commit"), st.integers(0, 3), st.just(0)),
    ),
    max_size=30,
)


def _run(made: Iterable[tuple[str, int, int]]) -> Database:
    database = Database()
    for what, transaction, id_ in made:
        if what == "commit":
            database.commit(transaction)
        else:
            database.write(transaction, id_, delete=what == "delete")
    database.commit_all()
    return database


def _emitted(records: Sequence[RawRecord]) -> list[Event]:
    agent = Agent(MAPPING)

    async def run() -> list[Event]:
        return [event for record in records for event in await agent.events(record)]

    return asyncio.run(run())


def _texts(events: Sequence[Event]) -> dict[str, str | None]:
    """Documents by the fold rule; of equal orders the first counts, as for a version that is indexed already."""
    newest: dict[str, SourceChanged] = {}
    for event in events:
        if isinstance(event, SourceChanged):
            known = newest.get(event.document)
            if known is None or event.order > known.order:
                newest[event.document] = event
    return {name: event.text for name, event in newest.items() if event.op == "upsert"}


def _readers(events: Sequence[Event], documents: Iterable[str]) -> dict[str, tuple[str, ...]]:
    newest: dict[str, AclChanged] = {}
    for event in events:
        if isinstance(event, AclChanged):
            known = newest.get(event.document)
            if known is None or event.version >= known.version:
                newest[event.document] = event
    return {name: newest[name].groups for name in documents}


def _wanted(database: Database) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    rows = database.rows
    return (
        {f"notes/{id_}": row["body"] for id_, row in rows.items()},
        {f"notes/{id_}": tuple(row["readers"]) for id_, row in rows.items()},
    )


@given(steps, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=4))
@settings(deadline=None, max_examples=150)
def test_crashes_that_repeat_what_was_sent_change_nothing(
    made: list[tuple[str, int, int]], crashes: list[tuple[int, int]]
) -> None:
    database = _run(made)
    delivered: list[RawRecord] = []
    start = 0
    for at, back in crashes:
        end = min(max(at, start), len(database.sent))
        delivered += database.sent[start:end]
        start = max(0, end - back)
    delivered += database.sent[start:]
    events = _emitted(delivered)
    texts, readers = _wanted(database)
    assert _texts(events) == texts
    assert _readers(events, texts) == readers


@given(steps, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=150)
def test_the_order_of_arrival_decides_about_no_text(made: list[tuple[str, int, int]], random: Any) -> None:
    database = _run(made)
    shuffled = [*database.sent, *database.sent]
    random.shuffle(shuffled)
    events = _emitted(shuffled)
    assert _texts(events) == _wanted(database)[0]
    orders = {(e.document, e.order): (e.op, e.text) for e in events if isinstance(e, SourceChanged)}
    ids = {e.meta.id for e in events if isinstance(e, SourceChanged)}
    assert len(orders) == len(ids), "two changes of a document share an order"


def test_the_position_of_a_change_alone_would_not_do() -> None:
    """A row is inserted while its predecessor's deletion is open: its record comes first, its commit last."""
    database = Database()
    database.write(0, 1, delete=False)
    database.commit(0)
    insert = database.grow()
    database.write(1, 1, delete=False)
    database.write(1, 1, delete=True)
    database.commit(1)
    row = {"id": 1, "body": "back again", "readers": ["few"]}
    database._open[2] = [Write(1, row, insert)]
    database.commit(2)
    events = _emitted(database.sent)
    assert _texts(events) == {"notes/1": "back again"}
    assert _readers(events, ["notes/1"]) == {"notes/1": ("few",)}
    changes = [event for event in events if isinstance(event, SourceChanged)]
    assert max(changes, key=lambda change: change.version).op == "delete"


def test_a_snapshot_before_the_stream_counts_more_than_what_was_committed_before_it() -> None:
    """Such a snapshot knows no commit; its position is that of the database when it was taken."""
    old = envelope("u", {"id": 1, "body": "of an earlier slot", "readers": ["all"]}, commit=200, lsn=208)
    read = envelope("r", {"id": 1, "body": "as it is", "readers": ["few"]}, commit=None, lsn=300, snapshot="last")
    new = envelope("u", {"id": 1, "body": "changed since", "readers": ["one"]}, commit=340, lsn=348)
    for records, text, readers in (([read, old], "as it is", "few"), ([old, new, read, old], "changed since", "one")):
        events = _emitted(records)
        assert _texts(events) == {"notes/1": text}
        assert _readers(events, ["notes/1"]) == {"notes/1": (readers,)}
