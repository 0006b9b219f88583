"""The oracle finds what it is there to find: each kind of damage, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from millrace import ids
from millrace.event import Event
from millrace.events.corpus import AclChanged, ChunkRef, DocumentIndexed, DocumentSettled
from millrace.events.query import AnswerCompleted, AnswerRetracted, Hit
from millrace.topics import ACL_CHANGED, DOCUMENT_INDEXED, DOCUMENT_SETTLED, REPLY, SOURCE_CHANGED, Topic
from tests.faults.ends import broken_ends, ends_of
from tests.faults.jobs import DONE, JOBS, JobDone, JobOracle, JobSubmitted
from tests.faults.log_access import Place, Raw, outgoing, root
from tests.faults.oracle import Oracle, Row, Shown
from tests.faults.workload import Change, Size, Workload

DOC = ("acme-00", "docs/1.md")
MARKS = ("zmadex0x1x0x0z", "zmadex0x1x1x0z")


def raw(event: Event, topic: Topic, offset: int, event_id: str = "") -> Raw:
    record = root(event, topic, event_id or ids.derived(topic.name, offset))
    return Raw(Place(topic.name, 0, offset), record.key, record.value, tuple(record.headers))


def version(number: int, chunks: Sequence[str], *, deleted: bool = False) -> DocumentIndexed:
    refs = tuple(ChunkRef(each, 0, 1, 0, 0) for each in chunks)
    return DocumentIndexed(tenant=DOC[0], document=DOC[1], version=number, chunks=refs, deleted=deleted)


def upsert(number: int, marks: tuple[str, ...] = MARKS) -> Change:
    return Change("upsert", *DOC, number, " ".join(marks), marks)


def rows(**texts: str) -> list[Row]:
    return [Row(*DOC, name, text, archived=False) for name, text in texts.items()]


ACL = raw(AclChanged(tenant=DOC[0], document=DOC[1], version=1, groups=("*",)), ACL_CHANGED, 0)
GOOD = [ACL, raw(version(1, ("a", "b")), DOCUMENT_INDEXED, 0)]
GOOD_ROWS = rows(a=MARKS[0], b=MARKS[1])
SHOWN = {DOC: Shown((0, 1, 0), deleted=False, chunks=("a", "b"), groups=frozenset({"*"}))}


@pytest.fixture
def oracle() -> Oracle:
    made = Oracle([DOC[0]])
    made.acknowledge(Change("access", *DOC, 1, groups=("*",)), Place(ACL_CHANGED.name, 0, 0))
    made.acknowledge(upsert(1), Place(SOURCE_CHANGED.name, 0, 0))
    return made


def test_a_complete_run_breaks_nothing(oracle: Oracle) -> None:
    found = oracle.check(GOOD, GOOD_ROWS, SHOWN, rebuilt=SHOWN, collected=True)
    found.assert_none()


def test_a_change_without_an_outcome_is_lost(oracle: Oracle) -> None:
    oracle.acknowledge(upsert(2), Place(SOURCE_CHANGED.name, 0, 1))
    found = oracle.check(GOOD, GOOD_ROWS)
    assert found.violations == {"lost": 1, "stale": 1}


def test_an_outcome_that_changes_nothing_visible_is_an_outcome(oracle: Oracle) -> None:
    oracle.acknowledge(upsert(2), Place(SOURCE_CHANGED.name, 0, 1))
    settled = DocumentSettled(tenant=DOC[0], document=DOC[1], version=2, outcome="failed")
    oracle.expect_rejected(*DOC, 2)
    oracle.check([*GOOD, raw(settled, DOCUMENT_SETTLED, 0)], GOOD_ROWS).assert_none()


def test_a_row_that_is_listed_and_not_there_is_lost(oracle: Oracle) -> None:
    assert set(oracle.check(GOOD, GOOD_ROWS[:1]).violations) == {"lost"}


def test_a_row_that_is_listed_and_that_no_search_finds_is_lost(oracle: Oracle) -> None:
    hidden = replace(GOOD_ROWS[0], reached=False)
    assert oracle.check(GOOD, [hidden, GOOD_ROWS[1]]).violations == {"lost": 1}


def test_text_that_shows_twice_is_doubled(oracle: Oracle) -> None:
    twice = [ACL, raw(version(1, ("a", "b", "c")), DOCUMENT_INDEXED, 0)]
    assert oracle.check(twice, [*GOOD_ROWS, *rows(c=MARKS[1])]).violations == {"doubled": 1}


def test_a_row_that_stands_twice_in_one_table_is_doubled(oracle: Oracle) -> None:
    assert oracle.check(GOOD, [*GOOD_ROWS, GOOD_ROWS[0]]).violations["doubled"] == 1


def test_text_of_an_older_version_is_stale(oracle: Oracle) -> None:
    old = rows(a="zmadex0x1x0x7z", b=MARKS[1])
    assert "stale" in oracle.check(GOOD, old).violations


def test_a_table_that_shows_an_older_version_is_stale(oracle: Oracle) -> None:
    oracle.acknowledge(upsert(2), Place(SOURCE_CHANGED.name, 0, 1))
    log = [*GOOD, raw(version(2, ("a", "b")), DOCUMENT_INDEXED, 1)]
    assert oracle.check(log, GOOD_ROWS, SHOWN, rebuilt=SHOWN).violations == {"stale": 1}


def test_a_deleted_document_that_lists_chunks_leaves_orphans(oracle: Oracle) -> None:
    oracle.acknowledge(Change("delete", *DOC, 2), Place(SOURCE_CHANGED.name, 0, 1))
    log = [*GOOD, raw(version(2, ("a",), deleted=True), DOCUMENT_INDEXED, 1)]
    assert oracle.check(log, GOOD_ROWS).violations == {"orphans": 1}


def test_a_row_that_no_version_lists_is_an_orphan_once_garbage_was_collected(oracle: Oracle) -> None:
    left = [*GOOD_ROWS, *rows(c="whatever")]
    oracle.check(GOOD, left).assert_none()
    assert oracle.check(GOOD, left, collected=True).violations == {"orphans": 1}


def test_a_document_that_is_open_to_others_than_acknowledged_is_foreign(oracle: Oracle) -> None:
    open_to_all = {DOC: Shown((0, 1, 0), deleted=False, chunks=("a", "b"), groups=frozenset({"*", "g"}))}
    assert oracle.check(GOOD, GOOD_ROWS, open_to_all, rebuilt=open_to_all).violations == {"foreign": 1}


def test_a_rebuild_that_gives_another_state_diverges(oracle: Oracle) -> None:
    other = {DOC: Shown((0, 1, 0), deleted=False, chunks=("b", "a"), groups=frozenset({"*"}))}
    assert oracle.check(GOOD, GOOD_ROWS, SHOWN, rebuilt=other).violations == {"diverged": 1}


def test_a_dead_letter_with_other_bytes_is_altered(oracle: Oracle) -> None:
    at = Place(SOURCE_CHANGED.name, 0, 1)
    poison = Change("poison", *DOC, poison="wrong magic")
    oracle.acknowledge(poison, at)
    bytes_of_it = outgoing(poison).value or b""
    named = (("mr-error-topic", at.topic.encode()), ("mr-error-partition", b"0"), ("mr-error-offset", b"1"))

    def violations(value: bytes) -> dict[str, int]:
        letter = Raw(Place(SOURCE_CHANGED.dead_letters, 0, 0), b"k", value, named)
        return oracle.check([*GOOD, letter], GOOD_ROWS).violations

    assert violations(bytes_of_it) == {}
    assert violations(bytes_of_it + b"!") == {"altered": 1}
    assert oracle.check(GOOD, GOOD_ROWS).violations == {"lost": 1}


def reply(told: str, offset: int, hits: Sequence[str] = (), event_id: str = "") -> Raw:
    shown = tuple(Hit(each, DOC[1], 1, 1, 1.0, 1.0, 1.0) for each in hits)
    frame = AnswerCompleted(tenant=DOC[0], correlation="q", attempt=offset, n=0, text=told, found=True, hits=shown)
    return raw(frame, REPLY, offset, event_id)


def retraction(offset: int) -> Raw:
    return raw(AnswerRetracted(tenant=DOC[0], correlation="q", attempt=offset, n=0, reason="gone"), REPLY, offset)


@pytest.mark.parametrize(
    ("replies", "n_broken"),
    [
        ([], 1),
        ([reply("yes", 0)], 0),
        ([reply("yes", 0, "ab"), reply("yes", 1, "b")], 0),
        ([reply("yes", 0, "a"), reply("yes", 1, "b")], 1),
        ([reply("yes", 0), reply("no", 1)], 1),
        ([reply("yes", 0, event_id="id"), reply("no", 1, event_id="id")], 0),
        ([reply("yes", 0), retraction(1)], 0),
        ([retraction(0), reply("yes", 1)], 1),
    ],
    ids=["never", "once", "less seen", "more seen", "otherwise", "dropped by its id", "taken back", "given after all"],
)
def test_a_question_ends_once_if_no_later_frame_says_anything_else(replies: list[Raw], n_broken: int) -> None:
    assert len(broken_ends(["q"], ends_of(replies, DOC[:1]))) == n_broken


def done(n: int, offset: int, event_id: str = "") -> Raw:
    return raw(JobDone(tenant="acme", lane="a", n=n), DONE, offset, event_id or f"id-{n}")


@pytest.mark.parametrize(
    ("records", "kind"),
    [
        (lambda: [done(0, 0)], "lost"),
        (lambda: [done(0, 0), done(1, 1), done(1, 2, "another")], "doubled"),
        (lambda: [done(1, 0), done(0, 1)], "disordered"),
    ],
)
def test_jobs_that_are_lost_doubled_or_out_of_order_are_found(records: Callable[[], list[Raw]], kind: str) -> None:
    judge = JobOracle("acme")
    for n in range(2):
        judge.acknowledge(JobSubmitted(tenant="acme", lane="a", n=n), Place(JOBS.name, 0, n))
    assert set(judge.check(records()).violations) == {kind}
    assert judge.check([done(0, 0), done(1, 1), done(1, 2)]).violations == {}


def test_a_seed_gives_the_same_changes_and_the_promised_disorder() -> None:
    size = Size(4, 100)
    changes = Workload(7, "same", size).changes()
    assert changes == Workload(7, "same", size).changes()
    assert changes != Workload(8, "same", size).changes()
    kinds = [change.kind for change in changes]
    assert 10 <= kinds.count("delete") <= 30
    assert 2 <= kinds.count("poison") <= 20
    newest: dict[tuple[str, str], int] = {}
    n_late = 0
    for change in changes:
        if change.kind == "upsert":
            n_late += change.version < newest.get(change.entity, 0)
            newest[change.entity] = max(change.version, newest.get(change.entity, 0))
    assert 2 <= n_late <= 20
