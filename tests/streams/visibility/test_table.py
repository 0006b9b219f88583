import logging
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from millrace.errors import ConfigurationError, InvalidEvent, LogTruncated, Unavailable
from millrace.events.corpus import DocumentSettled
from millrace.events.query import Receipt
from millrace.topics import DOCUMENT_INDEXED
from streams.visibility import VisibilityTable
from streams.visibility.table import earlier_files
from tests.streams.visibility.corpus_log import (
    CODEC,
    CorpusLog,
    Open,
    acl,
    asker,
    chunk,
    deleted,
    fold,
    indexed,
    shown,
)
from tests.streams.visibility.table_machine import TableMachine

ANYONE = asker()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_any_history_folds_to_what_a_naive_reading_of_the_log_gives_now_and_as_of_earlier() -> None:
    run_state_machine_as_test(
        TableMachine,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_document_without_access_is_visible_to_nobody(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, indexed("a.md", 1))
    seen = table.visible("acme", asker("hr"))
    assert seen.get("a.md") is None
    assert seen.why_not("a.md", chunk("acme", "a.md", 1, 0)) == "forbidden"


def test_a_late_older_version_changes_nothing(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 3), indexed("a.md", 2))
    assert shown(table, "a.md") == 3
    assert [version.version for version in table.retained("acme", "a.md")] == [3]
    assert table.visible("acme", ANYONE).why_not("a.md", chunk("acme", "a.md", 2, 0)) == "superseded"


def test_a_deleted_document_stays_deleted_when_an_older_version_comes_late(
    table: VisibilityTable, log: CorpusLog
) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1), deleted("a.md", 3), indexed("a.md", 2))
    seen = table.visible("acme", ANYONE)
    assert (seen.n_documents, seen.n_chunks) == (0, 0)
    assert seen.why_not("a.md", chunk("acme", "a.md", 1, 0)) == "deleted"
    newest = table.current("acme", "a.md")
    assert newest is not None
    assert newest.deleted


def test_whoever_may_not_read_a_document_does_not_learn_that_it_was_deleted(
    table: VisibilityTable, log: CorpusLog
) -> None:
    fold(table, log, acl("a.md", 1, "hr"), indexed("a.md", 1), deleted("a.md", 2))
    assert table.visible("acme", asker("it")).why_not("a.md", chunk("acme", "a.md", 1, 0)) == "forbidden"


def test_a_version_stays_hidden_until_the_access_it_needs_is_known(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1), indexed("a.md", 2, acl_version=2))
    receipt = Receipt("acme", "a.md", version=2)
    assert shown(table, "a.md") == 1
    assert not table.resolved(receipt)
    fold(table, log, acl("a.md", 2, "hr"))
    assert shown(table, "a.md", "hr") == 2
    assert shown(table, "a.md") is None
    assert table.resolved(receipt)


def test_a_revoked_permission_holds_for_the_next_question_and_leaves_sets_handed_out_alone(
    table: VisibilityTable, log: CorpusLog
) -> None:
    fold(table, log, acl("a.md", 1, "hr"), indexed("a.md", 1))
    before = table.visible("acme", asker("hr"))
    fold(table, log, acl("a.md", 2))
    assert set(before.documents()) == {"a.md"}
    assert table.visible("acme", asker("hr")).n_documents == 0


def test_another_tenant_is_never_part_of_an_answer(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*", tenant="globex"), indexed("a.md", 1, tenant="globex"))
    for tenant in ("acme", "", "glob%", "*"):
        seen = table.visible(tenant, asker("globex"))
        assert not seen.documents()
        assert seen.why_not("a.md", chunk("globex", "a.md", 1, 0)) == "forbidden"
        assert table.current(tenant, "a.md") is None
        assert not table.retained(tenant, "a.md")


def test_labels_narrow_what_is_visible(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1, labels={"lang": "de", "team": "x"}))
    assert table.visible("acme", ANYONE, labels={"lang": "de"}).n_chunks == 2
    seen = table.visible("acme", ANYONE, labels={"lang": "en"})
    assert seen.why_not("a.md", chunk("acme", "a.md", 1, 0)) == "filtered"


def test_the_first_record_of_an_id_is_the_truth_even_after_a_restart(open_table: Open, log: CorpusLog) -> None:
    table = open_table()
    table.fold([log.append(acl("a.md", 1, "*")), log.append(indexed("a.md", 1), event_id="same")])
    table.close()
    table = open_table()
    report = table.fold([log.append(indexed("a.md", 2), event_id="same")])
    assert report.n_repeated == 1
    assert shown(table, "a.md") == 1


def test_an_undecodable_record_is_counted_and_passed_over(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1))
    good = log.append(indexed("a.md", 3))
    foreign = log.append_bytes(DOCUMENT_INDEXED.name, b"t/globex/d/a.md", good.value, good.headers)
    broken = log.append_bytes(DOCUMENT_INDEXED.name, good.key, b"\x00\x01", good.headers)
    report = table.fold([good, foreign, broken, log.append(indexed("a.md", 4))])
    assert [error.error_type for _, error in report.undecodable] == ["tenant_mismatch", "undecodable"]
    assert shown(table, "a.md") == 4


def test_a_batch_that_cannot_be_written_changes_nothing(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1))
    before = (table.watermark(), table.digest())
    batch = [log.append(indexed("a.md", 2)), log.append(indexed("b.md", 1))]
    pages = table._file.writer.execute("PRAGMA page_count").fetchone()[0]
    table._file.writer.execute(f"PRAGMA max_page_count={pages}")
    many = [log.append(indexed(f"{n}.md", 1, 40)) for n in range(40)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        table.fold([*batch, *many])
    assert (table.watermark(), table.digest()) == before
    table._file.writer.execute("PRAGMA max_page_count=1000000")
    table.fold([*batch, *many])
    assert shown(table, "a.md") == 2


@pytest.mark.parametrize("at", [0, 1])
def test_a_damaged_file_is_put_aside_and_folded_again(
    open_table: Open, log: CorpusLog, at: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    table = open_table()
    fold(table, log, acl("a.md", 1, "hr"), indexed("a.md", 1))
    digest = table.digest()
    table.close()
    path = tmp_path / "visibility.sqlite"
    if at == 0:  # the file itself
        data = bytearray(path.read_bytes())
        data[100:9000] = b"\x5a" * 8900
        path.write_bytes(data)
    else:  # one value in one row, which SQLite cannot notice
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE accesses SET groups = '[\"*\"]'")
        connection.close()
    with caplog.at_level(logging.ERROR):
        table = open_table()
    assert "damaged" in caplog.text
    assert not table.positions
    assert shown(table, "a.md", "hr") is None
    table.fold(log.records)
    assert table.digest() == digest
    assert list(tmp_path.glob("*.damaged"))


def test_a_position_that_was_tampered_with_is_not_believed(open_table: Open, log: CorpusLog, tmp_path: Path) -> None:
    table = open_table()
    fold(table, log, acl("a.md", 1, "*"))
    table.close()
    with sqlite3.connect(tmp_path / "visibility.sqlite") as connection:
        connection.execute("UPDATE positions SET next = next + 5")
    connection.close()
    assert not open_table().positions


def test_one_process_holds_a_file_at_a_time(table: VisibilityTable) -> None:
    with pytest.raises(ConfigurationError, match="held by another process"):
        VisibilityTable.open(table.path, CODEC, "epoch")


def test_a_file_of_another_format_is_refused_and_left_alone(open_table: Open, tmp_path: Path) -> None:
    open_table().close()
    with sqlite3.connect(tmp_path / "visibility.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE name = 'format'")
    connection.close()
    with pytest.raises(ConfigurationError, match="format 99"):
        open_table()


def test_a_file_of_an_earlier_log_is_kept_until_the_new_one_has_caught_up(open_table: Open, log: CorpusLog) -> None:
    table = open_table("first")
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 1))
    old = table.watermark()
    table.close()
    table = open_table("second")
    assert not table.positions
    assert len(earlier_files(table.path)) == 1
    assert table.reached(old)
    with pytest.raises(LogTruncated, match="earlier life"):
        table.visible("acme", ANYONE, at=old)
    table.settle()
    assert not earlier_files(table.path)


def test_a_watermark_ahead_of_the_table_or_malformed_is_refused(table: VisibilityTable, log: CorpusLog) -> None:
    fold(table, log, acl("a.md", 1, "*"))
    ahead = table.watermark().replace("=1", "=9")
    assert not table.reached(ahead)
    with pytest.raises(Unavailable, match="ahead"):
        table.visible("acme", ANYONE, at=ahead)
    with pytest.raises(InvalidEvent, match="watermark"):
        table.visible("acme", ANYONE, at="i:zero")


def test_receipts_resolve_by_the_outcome_of_that_or_a_later_change(table: VisibilityTable, log: CorpusLog) -> None:
    wanted = Receipt("acme", "a.md", version=4)
    fold(table, log, acl("a.md", 1, "*"), indexed("a.md", 3))
    assert not table.resolved(wanted)
    assert not table.resolved(Receipt("acme", "a.md", acl_version=2))
    fold(table, log, DocumentSettled(tenant="acme", document="a.md", version=5, outcome="unchanged"))
    assert table.resolved(wanted)
    assert not table.resolved(Receipt("globex", "a.md", version=1))


def test_pruning_forgets_superseded_rows_and_says_so_to_whoever_asks_for_them(
    table: VisibilityTable, log: CorpusLog
) -> None:
    table.fold([log.append(acl("a.md", 1, "*"), time_us=1), log.append(indexed("a.md", 1), time_us=1)])
    first = table.watermark()
    table.fold([log.append(indexed("a.md", 2), time_us=100)])
    second = table.watermark()
    table.fold([log.append(indexed("a.md", 3), time_us=200)])
    assert not table.expired(now_us=150, retention_us=50)
    [passed] = table.expired(now_us=160, retention_us=50)
    assert (passed.document, passed.before_order) == ("a.md", "0.2.0")
    assert [v.version for v in table.retained("acme", "a.md")] == [3, 2, 1]
    digest = table.digest()
    assert table.prune(before_us=110) == 1
    assert table.digest() == digest
    with pytest.raises(LogTruncated, match="pruned"):
        table.visible("acme", ANYONE, at=first)
    then = table.visible("acme", ANYONE, at=second).get("a.md")
    assert then is not None
    assert then.version == 2


def test_pruning_keeps_a_version_that_still_counts_because_its_successor_waits_for_access(
    table: VisibilityTable, log: CorpusLog
) -> None:
    table.fold([log.append(acl("a.md", 1, "*"), time_us=1), log.append(indexed("a.md", 1), time_us=1)])
    table.fold([log.append(indexed("a.md", 2, acl_version=9), time_us=2)])
    table.prune(before_us=1000)
    assert shown(table, "a.md") == 1
