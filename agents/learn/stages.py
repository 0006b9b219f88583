"""The rules by which a stage is said to have failed: pure.

What was recorded is held against what all stages, working, would have made of the same question over the same visible
chunks (`agents.learn.material.Outcome`). The chunk that should have been answered from is the one that holds the
correction; without a correction it is the first that a working path quotes and the answer does not.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Literal

import msgspec
from millrace.events.learn import QualityScored, Stage
from millrace.events.query import Citation, Hit

from agents.learn.material import Outcome, Shelf, agreement, says
from agents.learn.policy import LearnPolicy

Stored = Literal["yes", "no", "unknown"]
"""Whether the store has a row; unknown where that says nothing, because the chunk is not visible any more."""


class Finding(msgspec.Struct, frozen=True):
    """A stage, and the rule by which it is named."""

    stage: Stage
    rule: str


class Case(msgspec.Struct, frozen=True, dict=True):
    """All that the rules look at.

    Attributes
    ----------
    asked : Outcome
        What the question, as it was worked on, should have brought.
    others : sequence of Outcome
        The same of other forms of it: as it was asked, the one asked instead, or respelled.
    holders : mapping of str to float
        Chunks that hold the correction, each with the share of its words.
    forms : mapping of str to str
        Rule that names each other form of the question, if it works.
    """

    scored: QualityScored
    shelf: Shelf
    asked: Outcome
    others: Sequence[Outcome]
    holders: Mapping[str, float]
    forms: Mapping[str, str]
    policy: LearnPolicy

    @cached_property
    def right(self) -> str:
        """Chunk that should have been answered from; empty where there is none."""
        best = next((each for each in self.others if self.works(each)), (*self.others, self.asked)[0])
        if self.holders:
            places = best.places
            return min(self.holders, key=lambda name: (-self.holders[name], places.get(name, len(places)), name))
        return next((each.chunk_id for each in (*self.unquoted(best), *best.citations)), "")

    @cached_property
    def hits(self) -> Sequence[Hit]:
        """Hits in their recorded order."""
        return sorted(self.scored.hits, key=lambda hit: hit.rank)

    @cached_property
    def place(self) -> int:
        """Recorded place of the right chunk, from 1; 0 where it is not among the hits."""
        return next((place for place, hit in enumerate(self.hits, 1) if hit.chunk_id == self.right), 0)

    @cached_property
    def agreement(self) -> float:
        """How far the recorded order is the one that the ingredients give, -1 to 1."""
        return agreement(self.hits, self.asked.places)

    @property
    def disordered(self) -> bool:
        """Whether the hits stand in another order than that of their ingredients, or of their scores."""
        falls = all(one.score >= other.score for one, other in pairwise(self.hits))
        return self.agreement < self.policy.least_agreement or not falls

    @cached_property
    def unknown_words(self) -> float:
        """Share of the question's words that nothing visible has."""
        return self.shelf.unknown_share(self.scored.question)

    @property
    def as_designed(self) -> bool:
        """Whether the answer quotes all that a working path quotes for the question as it was worked on."""
        return bool(self.asked.citations or not self.scored.citations) and not self.unquoted(self.asked)

    def works(self, outcome: Outcome) -> bool:
        """Whether a form of the question should have been answered, and rightly where it is known what is right."""
        if self.holders:
            return says((each.quote for each in outcome.citations), self.scored.expected, self.policy.expected_words)
        return bool(outcome.citations)

    def unquoted(self, outcome: Outcome) -> list[Citation]:
        """What a form of the question should have quoted and the answer does not."""
        return [
            each
            for each in outcome.citations
            if not any(
                each.document == cited.document and each.start < cited.end and cited.start < each.end
                for cited in self.scored.citations
            )
        ]


def judge(case: Case, stored: Stored) -> Finding:
    """Apply the rules, the first that fits.

    Parameters
    ----------
    stored : Stored
        Whether the store has the right chunk.
    """
    first = _correction(case) or _question(case)
    if first is not None or not case.right:
        return first or Finding("corpus", "nothing_near")
    return _found(case) if case.place else _missed(case, stored)


def _question(case: Case) -> Finding | None:
    """Whether the question was misread: another form of it works, or what is right is there in other words."""
    works = case.works(case.asked)
    if works and (case.holders or not case.as_designed):
        return None
    for other in case.others:
        near = other.places.get(case.right, len(other.places)) <= len(other.hits)
        far = case.asked.places.get(case.right, 0) > len(case.asked.hits)
        elsewhere = not works or bool(case.unquoted(other))
        if (case.works(other) and elsewhere) or (near and far):
            return Finding("question", case.forms.get(other.question, "rephrasing_works"))
    garbled = case.holders and not works and case.unknown_words >= case.policy.unknown_words
    return Finding("question", "unknown_words") if garbled else None


def _correction(case: Case) -> Finding | None:
    """Whether nothing visible holds what was said to be right."""
    lacking = not case.holders and case.shelf.searchable(case.scored.expected)
    return Finding("corpus", "correction_nowhere") if lacking else None


def _missed(case: Case, stored: Stored) -> Finding:
    """Why the right chunk is not among the hits."""
    if stored == "no":
        return Finding("retrieval", "row_missing")
    if case.disordered:
        return Finding("ranking", "order_broken")
    expected = case.asked.places.get(case.right, len(case.asked.places))
    return Finding("retrieval", "candidate_missed" if expected <= len(case.asked.hits) else "too_far")


def _found(case: Case) -> Finding:
    """Why the right chunk, which is among the hits, was not quoted."""
    scored, policy = case.scored, case.policy
    if case.disordered:
        return Finding("ranking", "order_broken")
    if case.holders and says((each.quote for each in scored.citations), scored.expected, policy.expected_words):
        return Finding("unknown", "answer_holds_it")
    if not case.holders and case.as_designed:
        return Finding("unknown", "as_designed")
    own = case.asked.places.get(case.right, 0)
    place = 1 + sum(case.asked.places.get(hit.chunk_id, own) < own for hit in case.hits)
    if case.place - place > policy.place_tolerance:
        return Finding("ranking", "placed_behind")
    if case.place > policy.read_places:
        return Finding("ranking", "behind_what_is_read")
    if not scored.citations:
        return Finding("reading", "quoted_nothing")
    quoted = case.right in {each.chunk_id for each in scored.citations}
    return Finding("reading", "quoted_beside" if quoted else "quoted_elsewhere")
