"""The ledger's laws: by a state machine, by its negative controls, and one by one where a rule deserves a name."""

from collections.abc import Collection

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from streams.ledger import Closed, Ledger, TopicPartition, format_metadata, parse_starts
from tests.streams.ledger_machine import LedgerMachine

TP: TopicPartition = ("orders", 0)

TestLedgerEqualsItsModel = LedgerMachine.TestCase
TestLedgerEqualsItsModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


class CommitsHighestDone(Ledger):
    """Skips the gap that a slow head leaves."""

    def done(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        part = self._partitions.get(tp)
        if part is not None and part.epoch == epoch:
            part.pending.difference_update([begun for begun in part.pending if begun <= offset])
        super().done(tp, offset, epoch)


class FailedCommitAdvances(Ledger):
    """Takes a commit for confirmed when it is sent."""

    def committable(self) -> dict[TopicPartition, int]:
        moved = super().committable()
        for tp, offset in moved.items():
            self.committed(tp, offset)
        return moved


class IgnoresEpochs(Ledger):
    """Lets work from an earlier assignment finish records of this one."""

    def done(self, tp: TopicPartition, offset: int, epoch: int) -> None:
        super().done(tp, offset, self.epoch(tp) or epoch)

    def done_many(self, tp: TopicPartition, offsets: Collection[int], epoch: int) -> None:
        super().done_many(tp, offsets, self.epoch(tp) or epoch)


class CommitsWhatWasRead(Ledger):
    """Takes a record for done when it is begun."""

    def begin(self, tp: TopicPartition, offset: int) -> None:
        super().begin(tp, offset)
        self._partitions[tp].pending.discard(offset)


class StallsAtGaps(Ledger):
    """Waits for offsets that do not exist."""

    def prefix(self, tp: TopicPartition) -> int | None:
        prefix = super().prefix(tp)
        if prefix is None:
            return None
        part = self._partitions[tp]
        known = {*part.completed, *part.order}
        return next((offset for offset in range(part.committed, prefix) if offset not in known), prefix)


class ForgetsToCount(Ledger):
    """Counts only what is not done as outstanding."""

    def outstanding(self, tp: TopicPartition) -> int:
        part = self._partitions.get(tp)
        return 0 if part is None else len(part.pending)


class CountsHandedBackRecords(Ledger):
    """Blames the head record for a rebalance."""

    def revoke(self, tp: TopicPartition) -> Closed:
        metadata = "" if self.epoch(tp) is None else self.metadata(tp)
        return super().revoke(tp)._replace(metadata=metadata)


BROKEN = [
    CommitsHighestDone,
    FailedCommitAdvances,
    IgnoresEpochs,
    CommitsWhatWasRead,
    StallsAtGaps,
    ForgetsToCount,
    CountsHandedBackRecords,
]


ONCE = settings(
    max_examples=500,
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("broken", BROKEN)
def test_the_model_catches_a_broken_ledger(broken: type[Ledger]) -> None:
    class BrokenMachine(LedgerMachine):
        ledger_type = broken

    with pytest.raises(AssertionError):
        run_state_machine_as_test(BrokenMachine, settings=ONCE)


@pytest.mark.parametrize("broken", [CommitsHighestDone, CommitsWhatWasRead])
def test_the_broker_alone_sees_a_ledger_that_loses_records(broken: type[Ledger]) -> None:
    class BrokenMachine(LedgerMachine):
        ledger_type = broken
        compares = False

    with pytest.raises(AssertionError, match="were never processed"):
        run_state_machine_as_test(BrokenMachine, settings=ONCE)


def test_a_slow_head_holds_the_prefix_and_releases_all_at_once() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 0)
    ledger.begin_many(TP, range(10))
    ledger.done_many(TP, range(1, 10), epoch)
    assert ledger.committable() == {}
    ledger.done(TP, 0, epoch)
    assert ledger.committable() == {TP: 10}


def test_trailing_offsets_without_records_are_committed_when_the_reader_has_passed_them() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 0)
    ledger.begin(TP, 0)
    ledger.advance(TP, 2)
    assert ledger.prefix(TP) == 0
    ledger.done(TP, 0, epoch)
    assert ledger.committable() == {TP: 2}


def test_a_reader_never_steps_back() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 0)
    ledger.begin_many(TP, [0, 1])
    ledger.advance(TP, 1)
    ledger.done_many(TP, [0, 1], epoch)
    assert ledger.prefix(TP) == 2


def test_a_confirmation_that_comes_late_covers_only_what_it_confirms() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 0)
    ledger.begin_many(TP, range(4))
    for offset in range(3):
        ledger.done(TP, offset, epoch)
        assert ledger.prefix(TP) == offset + 1
    ledger.committed(TP, 2)
    assert (ledger.outstanding(TP), ledger.committable()) == (2, {TP: 3})
    ledger.committed(TP, 3)
    ledger.committed(TP, 1)
    assert (ledger.outstanding(TP), ledger.committable()) == (1, {})


def test_records_read_again_below_a_commit_that_was_under_way_are_not_outstanding_for_ever() -> None:
    ledger = Ledger()
    _finish_three(ledger)
    assert ledger.committable() == {TP: 3}
    epoch = ledger.assign(TP, 0)
    ledger.committed(TP, 3)
    ledger.begin_many(TP, range(3))
    ledger.done_many(TP, range(3), epoch)
    assert (ledger.prefix(TP), ledger.outstanding(TP), ledger.committable()) == (3, 0, {})


def test_a_revocation_never_commits_behind_a_confirmed_commit() -> None:
    ledger = Ledger()
    _finish_three(ledger)
    ledger.assign(TP, 0)
    ledger.committed(TP, 3)
    assert ledger.revoke(TP).offset == 3


def _finish_three(ledger: Ledger) -> None:
    epoch = ledger.assign(TP, 0)
    ledger.begin_many(TP, range(3))
    ledger.done_many(TP, range(3), epoch)


def test_a_revocation_hands_over_the_prefix_and_counts_what_is_not_done() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 0, "v1;starts=1;head=0")
    ledger.begin_many(TP, range(4))
    ledger.done_many(TP, [1, 2], epoch)
    assert ledger.revoke(TP) == (0, "v1;starts=1;head=0", 2)
    assert ledger.revoke(TP) == (None, "", 0)


def test_a_record_that_kills_every_process_that_starts_it_is_counted_once_per_process() -> None:
    committed = (7, "")
    for process in range(4):
        ledger = Ledger()
        ledger.assign(TP, *committed)
        assert ledger.starts(TP) == process
        ledger.begin_many(TP, [7, 8])
        prefix = ledger.prefix(TP)
        assert prefix is not None
        committed = (prefix, ledger.metadata(TP))
    assert committed == (7, "v1;starts=4;head=7")


def test_a_head_behind_a_gap_keeps_its_start_count() -> None:
    ledger = Ledger()
    ledger.assign(TP, 7, "v1;starts=2;head=7")
    ledger.begin(TP, 9)
    assert (ledger.starts(TP), ledger.metadata(TP)) == (2, "v1;starts=3;head=9")


def test_a_start_count_ends_with_the_record_it_was_for() -> None:
    ledger = Ledger()
    epoch = ledger.assign(TP, 7, "v1;starts=2;head=7")
    ledger.begin_many(TP, [7, 8])
    ledger.done(TP, 7, epoch)
    assert (ledger.starts(TP), ledger.metadata(TP)) == (0, "v1;starts=1;head=8")


@given(starts=st.integers(0, 10**9 - 1), head=st.integers(0, 2**63 - 1), other=st.integers(0, 2**63 - 1))
def test_metadata_survives_the_broker_and_counts_for_its_own_head_alone(starts: int, head: int, other: int) -> None:
    metadata = format_metadata(starts, head)
    assert parse_starts(metadata, head) == starts
    assert parse_starts(metadata, other) == (starts if other == head else 0)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "consumer-1",
        "v2;starts=3;head=5",
        "v1;starts=-3;head=5",
        "v1;starts=3;head=6",
        "v1;starts=3;head=5\n",
        "v1;starts=\N{ARABIC-INDIC DIGIT THREE};head=5",
    ],
)
def test_foreign_metadata_accuses_no_record(metadata: str) -> None:
    assert parse_starts(metadata, 5) == 0


@pytest.mark.parametrize("offsets", [[4], [6, 6], [7, 6]])
def test_records_out_of_order_are_refused_with_the_remedy(offsets: list[int]) -> None:
    ledger = Ledger()
    ledger.assign(TP, 5)
    with pytest.raises(ValueError, match=r"rising order; assign the partition anew"):
        ledger.begin_many(TP, offsets)
    assert ledger.outstanding(TP) == 0


def test_a_single_record_below_the_position_is_refused() -> None:
    ledger = Ledger()
    ledger.assign(TP, 5)
    with pytest.raises(ValueError, match="offset 4 of orders"):
        ledger.begin(TP, 4)


def test_records_of_a_revoked_partition_cannot_be_begun() -> None:
    ledger = Ledger()
    ledger.assign(TP, 5)
    ledger.revoke(TP)
    with pytest.raises(ValueError, match=r"orders\[0\] is not assigned"):
        ledger.begin(TP, 5)


def test_a_ledger_that_could_never_read_is_refused() -> None:
    with pytest.raises(ValueError, match="max_uncommitted is 0"):
        Ledger(max_uncommitted=0)
