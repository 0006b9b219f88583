"""A broker, a reader and its workers around a Ledger, and a naive model of what it must answer.

The model keeps lists and sets of everything that ever happened and computes each answer from them. Beside it stands the
law that matters, checked on the broker's side alone: whatever the broker has as committed was processed.
"""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streams.ledger import Ledger, TopicPartition, parse_starts

PARTITIONS: tuple[TopicPartition, ...] = (("orders", 0), ("orders", 1))
MAX_UNCOMMITTED = 5


@dataclass
class Assignment:
    """What the model knows of one assignment."""

    epoch: int
    committed: int
    position: int
    starts: int
    begun: list[int] = field(default_factory=list)
    done: set[int] = field(default_factory=set)

    def unfinished(self) -> list[int]:
        return [offset for offset in self.begun if offset not in self.done]

    def prefix(self) -> int:
        return min(self.unfinished(), default=self.position)

    def outstanding(self) -> int:
        return sum(offset >= min(self.committed, self.prefix()) for offset in self.begun)


@dataclass(frozen=True)
class Work:
    """A record that somebody works on, with the epoch it was read in."""

    tp: TopicPartition
    offset: int
    epoch: int


class LedgerMachine(RuleBasedStateMachine):
    """One process after the other reads two partitions; commits may fail, get lost or be answered late."""

    ledger_type: type[Ledger] = Ledger
    compares = True  # False leaves only the law of the broker: what is committed was processed

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.ledger_type(MAX_UNCOMMITTED)
        self.log: dict[TopicPartition, list[int]] = {tp: [] for tp in PARTITIONS}
        self.end = dict.fromkeys(PARTITIONS, 0)
        self.broker = dict.fromkeys(PARTITIONS, (0, ""))
        self.processed: set[tuple[TopicPartition, int]] = set()
        self.model: dict[TopicPartition, Assignment] = {}
        self.working: list[Work] = []
        self.unanswered: list[tuple[TopicPartition, int]] = []
        self.confirmed = dict.fromkeys(PARTITIONS, 0)
        self.stale = 0
        self.epochs: set[int] = set()

    # --- the log and the reader ---

    @initialize(gaps=st.lists(st.integers(0, 2), min_size=3, max_size=8))
    def start(self, gaps: list[int]) -> None:
        for tp in PARTITIONS:
            self.append(tp, gaps)
            self.assign(tp)

    @rule(tp=st.sampled_from(PARTITIONS), gaps=st.lists(st.integers(0, 3), min_size=1, max_size=4))
    def append(self, tp: TopicPartition, gaps: list[int]) -> None:
        for gap in gaps:
            self.log[tp].append(self.end[tp] + gap)
            self.end[tp] += gap + 1

    @rule(tp=st.sampled_from(PARTITIONS))
    def assign(self, tp: TopicPartition) -> None:
        position, metadata = self.broker[tp]
        epoch = self.ledger.assign(tp, position, metadata)
        assert epoch not in self.epochs, "an epoch was given twice"
        self.epochs.add(epoch)
        starts = parse_starts(metadata, position)
        self.confirmed[tp] = position
        self.model[tp] = Assignment(epoch, committed=position, position=position, starts=starts)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), limit=st.integers(1, 4))
    def read(self, data: st.DataObject, limit: int) -> None:
        tp = data.draw(st.sampled_from(sorted(self.model)))
        assignment = self.model[tp]
        offsets = [offset for offset in self.log[tp] if offset >= assignment.position][:limit]
        if len(offsets) == 1:
            self.ledger.begin(tp, offsets[0])
        else:
            self.ledger.begin_many(tp, offsets)
        for offset in offsets:
            assignment.position = offset + 1
            assignment.begun.append(offset)
            self.working.append(Work(tp, offset, assignment.epoch))

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def read_to_the_end(self, data: st.DataObject) -> None:
        tp = data.draw(st.sampled_from(sorted(self.model)))
        assignment = self.model[tp]
        if all(offset < assignment.position for offset in self.log[tp]):
            self.ledger.advance(tp, self.end[tp])
            assignment.position = max(assignment.position, self.end[tp])

    # --- the workers ---

    @precondition(lambda self: self.working)
    @rule(data=st.data(), keep=st.booleans())
    def finish(self, data: st.DataObject, keep: bool) -> None:
        work = data.draw(st.sampled_from(self.working))
        if not keep:  # what is kept will be finished a second time
            self.working.remove(work)
        self.ledger.done(work.tp, work.offset, work.epoch)
        self._note_done(work)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def finish_many(self, data: st.DataObject) -> None:
        first = data.draw(st.sampled_from(self.working))
        several = [work for work in self.working if (work.tp, work.epoch) == (first.tp, first.epoch)]
        several = data.draw(st.lists(st.sampled_from(several), min_size=1, unique=True))
        self.ledger.done_many(first.tp, [work.offset for work in several], first.epoch)
        for work in several:
            self.working.remove(work)
            self._note_done(work)

    # --- commits ---

    @rule(outcome=st.sampled_from(["confirmed", "confirmed later or never", "failed"]))
    def commit(self, outcome: str) -> None:
        offsets = self.ledger.committable()
        expected = {tp: a.prefix() for tp, a in self.model.items() if a.prefix() > a.committed}
        assert offsets == expected or not self.compares
        for tp, offset in offsets.items():
            metadata = self.ledger.metadata(tp)
            if outcome == "failed":
                continue
            self._broker_commits(tp, offset, metadata)
            self.unanswered.append((tp, offset))
        if outcome == "confirmed":
            while self.unanswered:
                self._confirm()

    @precondition(lambda self: self.unanswered)
    @rule()
    def commit_is_confirmed_later(self) -> None:
        self._confirm()

    @precondition(lambda self: self.model)
    @rule(tp=st.sampled_from(PARTITIONS), commits=st.booleans())
    def revoke(self, tp: TopicPartition, commits: bool) -> None:
        final = self.ledger.revoke(tp)
        assignment = self.model.pop(tp, None)
        if assignment is None:
            assert final == (None, "", 0)
            return
        assert final.offset is not None
        if self.compares:
            assert final.offset == max(assignment.prefix(), assignment.committed)
            assert final.unfinished == len(assignment.unfinished())
            self._note_completed(assignment)
            assert parse_starts(final.metadata, final.offset) == assignment.starts
        if commits:
            self._broker_commits(tp, final.offset, final.metadata)

    @precondition(lambda self: self.model)
    @rule()
    def crash(self) -> None:
        self.ledger = self.ledger_type(MAX_UNCOMMITTED)
        self.model.clear()
        self.working.clear()
        self.unanswered.clear()
        self.stale = 0
        self.epochs.clear()

    # --- laws ---

    @precondition(lambda self: self.compares)
    @invariant()
    def answers_equal_the_model(self) -> None:
        assert self.ledger.stale == self.stale
        for tp in PARTITIONS:
            assignment = self.model.get(tp)
            if assignment is None:
                assert self.ledger.prefix(tp) is None
                assert self.ledger.oldest(tp) is None
                assert self.ledger.epoch(tp) is None
                assert self.ledger.outstanding(tp) == 0
                assert self.ledger.room(tp) == MAX_UNCOMMITTED
                continue
            self._note_completed(assignment)
            unfinished = assignment.unfinished()
            assert self.ledger.prefix(tp) == assignment.prefix()
            assert self.ledger.oldest(tp) == min(unfinished, default=None)
            assert self.ledger.epoch(tp) == assignment.epoch
            assert self.ledger.outstanding(tp) == assignment.outstanding()
            assert self.ledger.room(tp) == max(0, MAX_UNCOMMITTED - assignment.outstanding())
            assert self.ledger.starts(tp) == assignment.starts
            started = assignment.starts + bool(unfinished)
            assert parse_starts(self.ledger.metadata(tp), assignment.prefix()) == started

    def _broker_commits(self, tp: TopicPartition, offset: int, metadata: str) -> None:
        lost = [record for record in self.log[tp] if record < offset and (tp, record) not in self.processed]
        assert not lost, f"committed {offset} of {tp}, but {lost} were never processed"
        assert offset >= self.confirmed[tp], "a commit went behind a confirmed one"
        self.broker[tp] = (offset, metadata)

    def _confirm(self) -> None:
        tp, offset = self.unanswered.pop(0)
        self.ledger.committed(tp, offset)
        if tp in self.model:
            self.model[tp].committed = max(self.model[tp].committed, offset)
            self.confirmed[tp] = self.model[tp].committed

    def _note_done(self, work: Work) -> None:
        self.processed.add((work.tp, work.offset))
        assignment = self.model.get(work.tp)
        if assignment is None or assignment.epoch != work.epoch:
            self.stale += 1
        elif work.offset in assignment.begun:
            assignment.done.add(work.offset)

    @staticmethod
    def _note_completed(assignment: Assignment) -> None:
        if any(offset < assignment.prefix() for offset in assignment.begun):
            assignment.starts = 0
