import sqlite3
from pathlib import Path
from typing import Any

import pytest

from millrace.codec import Codec
from millrace.events.corpus import ChunkRef, DocumentIndexed, DocumentSettled
from millrace.events.query import Receipt
from millrace.schema import avro_schema
from millrace.topics import DOCUMENT_INDEXED
from streams.visibility import VisibilityTable
from streams.visibility.table import earlier_files
from tests.streams.visibility.corpus_log import (
    CODEC,
    CorpusLog,
    Open,
    acl,
    asker,
    deleted,
    fold,
    indexed,
    realistic,
    shown,
)
from tests.streams.visibility.table_machine import decode

ANYONE = asker()


@pytest.mark.parametrize("ids", [("00000000-0000-5000-8000-00000000000a", "x"), ("one", "two")])
def test_chunks_are_known_after_a_restart_whatever_their_ids_look_like(
    open_table: Open, log: CorpusLog, ids: tuple[str, str]
) -> None:
    chunks = tuple(ChunkRef(name, 0, 1, 0, 0) for name in ids)
    table = open_table()
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1).replace(chunks=chunks), indexed("b.md", 1))
    table.close()
    seen = open_table().visible("acme", ANYONE)
    assert seen.why_not("b.md", ids[0]) == "forbidden"
    assert [seen.why_not("a.md", name) for name in (*ids, "other")] == [None, None, "superseded"]
    version = seen.get("a.md")
    assert version is not None
    assert version.chunks == chunks


def test_statistics_count_what_counts_now(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, indexed("a.md", 1, 3), indexed("b.md", 1, 4), deleted("b.md", 2), indexed("c.md", 1, 1, "globex"))
    sizes = table.statistics()
    assert (sizes["acme"].n_documents, sizes["acme"].n_chunks) == (1, 3)
    assert (sizes["globex"].n_documents, sizes["globex"].n_chunks) == (1, 1)


def test_receipts_of_changes_that_altered_nothing_still_resolve_after_a_restart(
    open_table: Open, log: CorpusLog
) -> None:
    table = open_table()
    fold(
        table, log, acl("a.md", 1, "*"), indexed("a.md", 3),
        DocumentSettled(tenant="acme", document="a.md", version=4, outcome="unchanged"),
        DocumentSettled(tenant="acme", document="a.md", version=2, outcome="superseded", reason="order"),
        DocumentSettled(tenant="acme", document="b.md", version=1, outcome="rejected", reason="too_large"),
    )  # fmt: skip
    table.close()
    table = open_table()
    for document, version in (("a.md", 4), ("a.md", 2), ("b.md", 1)):
        assert table.resolved(Receipt("acme", document, version=version))
    assert not table.resolved(Receipt("acme", "a.md", version=5))
    outcomes = [table.outcome("acme", document) for document in ("a.md", "b.md")]
    assert [(found.outcome, found.reason) for found in outcomes if found] == [
        ("unchanged", ""),
        ("rejected", "too_large"),
    ]


def test_an_id_is_remembered_while_its_record_is_kept_whether_it_counts_was_stale_or_superseded(
    open_table: Open, log: CorpusLog
) -> None:
    table = open_table()
    history: list[Any] = [
        acl("a.md", 1, "*"),
        indexed("a.md", 5),
        indexed("a.md", 2),
        indexed("a.md", 6),
        acl("a.md", 2, "hr"),
    ]
    table.fold([log.append(event, event_id=str(n)) for n, event in enumerate(history)])
    for _ in range(2):
        again = [event.replace(version=event.version + 10) for event in history]
        report = table.fold([log.append(event, event_id=str(n)) for n, event in enumerate(again)])
        assert (report.n_repeated, report.n_folded) == (5, 0)
        table.close()
        table = open_table()
    assert shown(table, "a.md", "hr") == 6


def test_a_record_of_an_unknown_schema_is_folded_once_its_schema_is_known(
    open_table: Open, log: CorpusLog, tmp_path: Path
) -> None:
    known: dict[int, dict[str, Any]] = {}
    path = tmp_path / "visibility.sqlite"
    newer = CODEC.record(DOCUMENT_INDEXED, indexed("a.md", 2).with_meta(decode(log.append(indexed("a.md", 2))).meta))
    log.records.clear()
    value = b"\x00\x00\x00\x00\x07" + newer.value[5:]
    records = [log.append(acl("a.md", 1, "*")), log.append(indexed("a.md", 1))]
    records.append(log.append_bytes(newer.topic, newer.key, value, newer.headers))

    def versions() -> list[int]:
        table = VisibilityTable.open(path, Codec(writers=known.get), "epoch")
        table.fold(records)
        found = [version.version for version in table.retained("acme", "a.md")]
        table.close()
        return found

    assert versions() == versions() == [1]
    assert not earlier_files(path)
    known[7] = avro_schema(DocumentIndexed)
    assert versions() == [2, 1]
    assert len(earlier_files(path)) == 1


def test_versions_of_a_document_are_found_without_reading_those_of_others(
    table: VisibilityTable, log: CorpusLog
) -> None:
    fold(table, log, *(indexed(f"{n}.md", version) for version in (2, 3, 1) for n in range(500)))
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    table._file.reader.set_progress_handler(step, 100)  # instructions of SQLite's machine
    assert [found.version for found in table.retained("acme", "7.md")] == [3, 2]
    assert steps < 5


@pytest.mark.timeout(120)
def test_pruning_thousands_of_versions_leaves_what_counts_and_what_is_retained(
    open_table: Open, log: CorpusLog
) -> None:
    table = open_table()
    n_documents, n_versions = 300, 12
    for version in range(1, n_versions + 1):
        table.fold(
            log.append(event, time_us=version * 100)
            for n in range(n_documents)
            for event in (acl(f"{n}.md", version, "*"), indexed(f"{n}.md", version, 3))
        )
    digest = table.digest()
    passed = table.expired(now_us=900, retention_us=100)
    assert len(passed) == n_documents
    assert {found.before_order for found in passed} == {"0.7.0"}
    assert table.prune(before_us=800) == 2 * 6 * n_documents
    assert table.prune(before_us=800) == 0
    assert not table.expired(now_us=900, retention_us=100)
    table.close()
    table = open_table()
    assert table.digest() == digest
    assert [found.version for found in table.retained("acme", "7.md")] == [12, 11, 10, 9, 8, 7]
    assert table.visible("acme", ANYONE).n_documents == n_documents


@pytest.mark.parametrize("column", ["event", "ended_us", "row"])
def test_a_note_of_a_superseded_record_that_was_changed_is_noticed(
    open_table: Open, log: CorpusLog, tmp_path: Path, column: str
) -> None:
    table = open_table()
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1), indexed("a.md", 2))
    table.close()
    with sqlite3.connect(tmp_path / "visibility.sqlite") as connection:
        connection.execute(f"UPDATE ended SET {column} = 1")
    connection.close()
    assert not open_table().positions


def test_a_document_with_ten_chunks_and_its_access_take_less_than_a_kilobyte(
    open_table: Open, log: CorpusLog, tmp_path: Path
) -> None:
    table = open_table()
    n = 1000
    table.fold(log.append(event) for number in range(n) for event in realistic(number))
    table.close()
    assert (tmp_path / "visibility.sqlite").stat().st_size / n <= 1000
