"""Laws about curation: each proposal has one outcome, nobody outweighs others, and no document is in two splits."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.learn.curation import Curated, curate, split_of
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from millrace.events.learn import ExampleCurated, ExampleProposed, ExampleRejected
from millrace.examples.curated import Curation
from tests.learned import proposed

Outcome = ExampleCurated | ExampleRejected | None


def decided(proposals: Iterable[ExampleProposed], state: Curated | None = None, **policy: Any) -> list[Outcome]:
    """Outcomes of proposals, in order."""
    return _decided(proposals, state or Curated(), LearnPorts(LearnPolicy(**policy)))[1]


def _decided(proposals: Iterable[ExampleProposed], state: Curated, ports: LearnPorts) -> tuple[Curated, list[Outcome]]:
    outcomes: list[Outcome] = []
    for each in proposals:
        state, outcome = curate(state, each, ports)
        outcomes.append(outcome)
    return state, outcomes


def verdicts(outcomes: Sequence[Outcome]) -> list[str]:
    """What was said of each, in a word."""
    return [
        "" if found is None else found.reason if isinstance(found, ExampleRejected) else "taken" for found in outcomes
    ]


def distinct(n: int, prefix: str = "", **fields: Any) -> list[ExampleProposed]:
    """Proposals that say something else each."""
    return [proposed(f"{prefix} question number {at}", f"{prefix} target {at}", **fields) for at in range(n)]


def test_an_example_is_taken_with_all_that_it_came_from() -> None:
    event = proposed("Where is the mill?", n_masked=2, language="en", causes=("quality",))
    [found] = decided([event])
    assert isinstance(found, ExampleCurated)
    assert (found.example, found.ref, found.correlation) == (event.example, event.ref, event.correlation)
    assert (found.n_masked, found.language, found.label, found.user) == (2, "en", "hr", "ada")
    assert found.causes == ("quality", event.meta.id)


def test_a_proposal_that_comes_again_has_no_further_outcome() -> None:
    events = distinct(4)
    ports = LearnPorts(LearnPolicy())
    state, _ = _decided(events, Curated(), ports)
    again, outcomes = _decided(events, state, ports)
    assert verdicts(outcomes) == [""] * 4
    assert again == state


def test_a_proposal_that_was_rejected_is_not_taken_when_it_comes_again_though_there_would_be_room() -> None:
    ports = LearnPorts(LearnPolicy(example_user_cap=1, example_window=2))
    first, second = distinct(2, user="mallory")
    others = distinct(2, "other", user="eva")
    state, outcomes = _decided([first, second, others[0]], Curated(), ports)
    assert verdicts(outcomes) == ["taken", "user_cap", "taken"]
    state = Curated(state.taken[1:], state.decided)
    assert verdicts(_decided([second], state, ports)[1]) == [""]
    assert verdicts(_decided([second], Curated(state.taken), ports)[1]) == ["taken"]  # control: it is remembered


def test_the_same_example_from_elsewhere_is_a_duplicate_and_changes_nothing() -> None:
    ports = LearnPorts(LearnPolicy())
    state, _ = _decided([proposed("Where is the mill?")], Curated(), ports)
    after, outcomes = _decided([proposed("Where is the mill?", user="eva")], state, ports)
    assert verdicts(outcomes) == ["duplicate"]
    assert after.taken == state.taken


def test_the_newest_correction_of_a_question_takes_the_place_of_the_older() -> None:
    first, second = proposed("How many?", "Ten of them."), proposed("How many?", "Eleven of them.", user="eva")
    taken, newer = decided([first, second])
    assert verdicts([taken, newer]) == ["taken", "taken"]
    assert isinstance(newer, ExampleCurated)
    assert newer.replaces == first.example


def test_a_correction_takes_the_place_of_an_approved_answer_and_never_the_other_way_round() -> None:
    said, right = proposed("How many?", "Ten.", source="approved"), proposed("How many?", "Eleven.")
    assert verdicts(decided([said, right])) == ["taken", "taken"]
    assert verdicts(decided([right, said])) == ["taken", "superseded"]
    again = proposed("How many?", "Twelve.", source="approved")
    assert verdicts(decided([said, again])) == ["taken", "taken"]


LONG = "the mill by the river grinds wheat and rye for the whole valley from early spring until the first snow falls"


def test_near_duplicates_are_not_taken_and_other_numbers_make_no_duplicates() -> None:
    one, other = proposed(f"Why does {LONG}?"), proposed(f"Why, does {LONG} now?", user="eva")
    assert verdicts(decided([one, other])) == ["taken", "near_duplicate"]
    assert verdicts(decided([one, other], example_similarity=1.1)) == ["taken", "taken"]
    in_1900 = proposed(f"Why does {LONG} in 1900?")
    in_1901 = proposed(f"Why does {LONG} in 1901?")
    assert verdicts(decided([in_1900, in_1901])) == ["taken", "taken"]


def test_an_approved_answer_that_is_disliked_later_is_withdrawn_by_its_own_answer_alone() -> None:
    kept = proposed("How many?", "Ten.", source="approved", answer="a")
    foreign = proposed("How many?", "Ten.", source="approved", answer="b", disliked=True)
    own = proposed("How many?", "Ten.", source="approved", answer="a", disliked=True)
    again = proposed("How many?", "Ten.", source="approved", answer="c")
    assert verdicts(decided([kept, foreign, again])) == ["taken", "disliked", "duplicate"]
    assert verdicts(decided([kept, own, again])) == ["taken", "disliked", "taken"]
    log = Curation()
    for event, outcome in zip([kept, foreign], decided([kept, foreign]), strict=True):
        assert outcome is not None
        log.fold(outcome.with_meta(event.meta))
    assert list(log.examples) == [kept.example]
    [_, withdrawn] = decided([kept, own])
    assert withdrawn is not None
    log.fold(withdrawn.with_meta(own.meta))
    assert log.examples == {}


@pytest.mark.parametrize(
    ("reason", "target", "policy"),
    [
        ("user_cap", "Eleven.", {"example_user_cap": 1}),
        ("near_duplicate", "Eleven.", {"example_similarity": -1.0}),
        ("mixed_split", "Eleven.", {}),
    ],
)
def test_a_correction_that_is_not_taken_withdraws_what_was_approved_of_its_answer_and_of_no_other(
    reason: str, target: str, policy: dict[str, Any]
) -> None:
    both = [
        next(f"hr/{n}" for n in range(99) if split_of("acme", f"hr/{n}", 0.2) == each) for each in ("train", "eval")
    ]
    fields: dict[str, Any] = {"document": both[0], "documents": tuple(both)} if reason == "mixed_split" else {}
    said = proposed("How many?", "Ten.", source="approved", answer="a", user="eva")
    other = proposed("Where is the mill?", "Here.", source="approved", answer="b", user="ben")
    busy = proposed("Who is she?", "Nobody.", user="ada")
    state, taken = _decided([said, other], Curated(), LearnPorts(LearnPolicy(example_similarity=1.1)))
    state, third = _decided([busy], state, LearnPorts(LearnPolicy(example_similarity=1.1)))
    for answer, left in (("a", [other, busy]), ("c", [said, other, busy])):
        right = proposed("How many?", target, answer=answer, **fields)
        after, [outcome] = _decided([right], state, LearnPorts(LearnPolicy(**policy)))
        assert verdicts([outcome]) == [reason]
        assert [UUID(bytes=each.example) for each in after.taken] == [UUID(each.example) for each in left]
        log = Curation()
        for event, found in zip([said, other, busy, right], [*taken, *third, outcome], strict=True):
            assert found is not None
            log.fold(found.with_meta(event.meta))
        assert list(log.examples) == [each.example for each in left]


def test_a_correction_that_says_what_was_approved_withdraws_nothing() -> None:
    said = proposed("How many?", "Ten.", source="approved", answer="a")
    same = proposed("How many?", "Ten.", answer="a", user="eva")
    same = same.with_meta(msgspec.structs.replace(same.meta, id="correction"))
    state, [taken] = _decided([said], Curated(), LearnPorts(LearnPolicy()))
    after, [outcome] = _decided([same], state, LearnPorts(LearnPolicy()))
    assert verdicts([outcome]) == ["duplicate"]
    assert after.taken == state.taken
    log = Curation()
    for event, found in ((said, taken), (same, outcome)):
        assert found is not None
        log.fold(found.with_meta(event.meta))
    assert list(log.examples) == [said.example]


def test_of_a_question_one_example_counts_however_long_ago_the_other_was_taken() -> None:
    """The window of curation is 30 days, the topic keeps a year."""
    wrong = proposed("How many?", "Ten.", source="approved", answer="a", day=1)
    right = proposed("How many?", "Eleven.", answer="b", day=40)
    again = proposed("How many?", "Twelve.", source="approved", answer="c", day=80)
    newer = proposed("How many?", "Thirteen.", answer="d", day=120)
    events = [wrong, right, again, newer]
    outcomes = decided(events)
    assert verdicts(outcomes) == ["taken"] * 4
    log, counts = Curation(), []
    for event, outcome in zip(events, outcomes, strict=True):
        assert isinstance(outcome, ExampleCurated)
        assert (outcome.replaces, outcome.question) == ("", event.question)
        log.fold(outcome.with_meta(event.meta))
        counts.append(list(log.examples))
    assert counts == [[wrong.example], [right.example], [right.example], [newer.example]]


USERS = st.sampled_from(["", "ada", "eva", "ben", "mallory"])
SOURCES = st.sampled_from(["correction", "correction", "approved"])
DOCUMENTS = st.sampled_from(["hr/a.md", "hr/b.md", "it/a.md", "law/a.md", "law/b.md", ""])
PROPOSALS = st.lists(
    st.builds(
        lambda n, target, user, source, document, day: proposed(
            f"question {n}", f"target {target}", user=user, source=source, document=document, day=day
        ),
        st.integers(0, 12), st.integers(0, 2), USERS, SOURCES, DOCUMENTS, st.integers(1, 40),
    ),
    max_size=60,
)  # fmt: skip
SMALL: dict[str, Any] = {
    "example_window": 10, "example_user_cap": 3, "example_approved_cap": 4, "example_balance_from": 4,
    "example_similarity": 1.1,
}  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(PROPOSALS)
def test_caps_balance_and_bounds_hold_after_every_proposal(proposals: list[ExampleProposed]) -> None:
    ports = LearnPorts(LearnPolicy(**SMALL))
    state = Curated()
    for event in proposals:
        before = state
        state, outcome = curate(state, event, ports)
        taken = state.taken
        assert len(taken) <= 10
        assert all(n <= 3 for n in Counter(each.user for each in taken).values())
        assert sum(each.source == "approved" for each in taken) <= 4
        assert len({each.question for each in taken}) == len(taken)
        newest = max((each.day for each in (*before.taken, *taken)), default=0)
        kept = [each for each in taken if each in before.taken]
        assert outcome is None or all(each.day > newest - 30 for each in kept)
        if isinstance(outcome, ExampleCurated) and len(taken) > 5 and len(taken) < 10:
            labels = Counter(each.label for each in taken)
            assert labels[taken[-1].label] <= max(0.5, 2 / len(labels)) * len(taken)
        if isinstance(outcome, ExampleCurated) and event.document:
            assert outcome.split == split_of("acme", event.document, 0.2)


@settings(deadline=None, max_examples=60)
@given(PROPOSALS)
def test_each_proposal_has_one_outcome_and_those_that_count_are_those_remembered(
    proposals: list[ExampleProposed],
) -> None:
    unique = {event.meta.id: event for event in proposals}.values()
    ports = LearnPorts(LearnPolicy(**{**SMALL, "example_window": 1_000, "example_days": 1_000}))
    state, outcomes = _decided(unique, Curated(), ports)
    log = Curation()
    for event, outcome in zip(unique, outcomes, strict=True):
        assert outcome is not None
        log.fold(outcome.with_meta(event.meta))
    assert len(log.examples) == len(state.taken)
    assert len({each.example for each in log.examples.values()}) == len(state.taken)


def _attack(**policy: Any) -> tuple[list[int], int]:
    """Share of one user who repeats corrections eighty times as often as each of forty others."""
    rng = random.Random(5)
    honest = [proposed(f"honest {n} {rng.random()}", f"answer {n}", user=f"user-{n % 40}") for n in range(400)]
    bad = [proposed(f"bad {n} {rng.random()}", f"buy {n}", user="mallory") for n in range(600)]
    own = [proposed("bad again", f"buy now {n}", user="mallory") for n in range(200)]
    everything = [*honest, *bad, *own]
    rng.shuffle(everything)
    outcomes = decided(everything, example_similarity=1.1, **policy)
    new = [each for each in outcomes if isinstance(each, ExampleCurated) and not each.replaces]
    by_window = [sum(each.user == "mallory" for each in new[at : at + 100]) for at in range(len(new) - 99)]
    return by_window, len(new)


CAPPED: dict[str, Any] = {"example_window": 100, "example_user_cap": 5, "example_balance_from": 10_000}


def test_one_user_who_repeats_corrections_takes_no_more_than_the_cap() -> None:
    by_window, n_taken = _attack(**CAPPED)
    assert max(by_window) <= 5
    assert n_taken >= 380


def test_without_the_cap_one_user_takes_most() -> None:
    by_window, _ = _attack(**{**CAPPED, "example_user_cap": 10_000})
    assert max(by_window) >= 60


def test_correcting_oneself_again_and_again_pushes_nobody_out() -> None:
    policy: dict[str, Any] = {"example_window": 20, "example_user_cap": 3, "example_similarity": 1.1}
    ports = LearnPorts(LearnPolicy(**policy))
    state, _ = _decided(distinct(17, "honest", user="eva"), Curated(), LearnPorts(LearnPolicy(example_similarity=1.1)))
    state, _ = _decided(distinct(3, "bad", user="mallory"), state, ports)
    before = Counter(each.user for each in state.taken)
    state, outcomes = _decided(
        (proposed("bad question number 1", f"x {n}", user="mallory") for n in range(50)), state, ports
    )
    assert set(verdicts(outcomes)) == {"taken"}
    assert Counter(each.user for each in state.taken) == before
    assert verdicts(decided(distinct(5, "worse", user="mallory"), state, **policy)) == ["user_cap"] * 5


def test_who_names_nobody_counts_as_one() -> None:
    assert Counter(verdicts(decided(distinct(30, user=""), example_user_cap=15))) == {"taken": 15, "user_cap": 15}


def test_after_a_while_older_examples_count_no_more() -> None:
    early, late = distinct(15), distinct(15, "late", day=40)
    assert Counter(verdicts(decided([*early, *late]))) == {"taken": 30}
    soon = distinct(15, "soon", day=20)
    assert Counter(verdicts(decided([*early, *soon]))) == {"taken": 15, "user_cap": 15}


def test_approved_answers_are_no_more_than_their_share() -> None:
    events = [proposed(f"q {n} x", f"t {n}", source="approved", user=str(n)) for n in range(30)]
    assert Counter(verdicts(decided(events, example_approved_cap=10))) == {"taken": 10, "source_cap": 20}
    assert Counter(verdicts(decided(events))) == {"taken": 30}


def test_a_label_may_not_outweigh_the_others_once_there_are_enough() -> None:
    few = [
        proposed(f"few {label} {n}", f"t {n}", user=f"{n}", document=f"{label}/d.md")
        for label in "abc"
        for n in range(8)
    ]
    many = [proposed(f"many {n}", f"t {n}", user=f"u{n}", document="a/d.md") for n in range(60)]
    found = verdicts(decided([*few, *many]))
    assert Counter(found)["unbalanced"] > 0
    n_of_a = 8 + found[len(few) :].count("taken")
    assert n_of_a / (16 + n_of_a) <= 2 / 3
    assert "unbalanced" not in verdicts(decided([*few, *many], example_label_share=1.0))
    alone = [proposed(f"alone {n}", f"t {n}", user=f"u{n}", document="a/d.md") for n in range(60)]
    assert set(verdicts(decided(alone))) == {"taken"}


@settings(deadline=None, max_examples=60)
@given(st.text(min_size=1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_was_for_evaluation(document: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert split_of("t", document, less) == "train" or split_of("t", document, more) == "eval"


def test_documents_fall_into_the_splits_by_the_share_and_differently_in_each_tenant() -> None:
    n = 5_000
    chosen = [split_of("acme", f"d{at}.md", 0.2) for at in range(n)]
    assert 0.17 * n < chosen.count("eval") < 0.23 * n
    assert chosen != [split_of("other", f"d{at}.md", 0.2) for at in range(n)]
    assert {split_of("acme", f"d{at}.md", 0.0) for at in range(50)} == {"train"}
    assert {split_of("acme", f"d{at}.md", 1.0) for at in range(50)} == {"eval"}


def test_what_quotes_documents_of_both_splits_is_not_taken() -> None:
    of = {
        split: next(f"hr/{n}" for n in range(99) if split_of("acme", f"hr/{n}", 0.2) == split)
        for split in ("train", "eval")
    }
    mixed = proposed("q one", source="approved", document=of["train"], documents=(of["train"], of["eval"]))
    assert verdicts(decided([mixed])) == ["mixed_split"]
    assert verdicts(decided([mixed], eval_share=0.0)) == ["taken"]


def test_state_stays_small() -> None:
    ports = LearnPorts(LearnPolicy())
    events = (proposed(f"q {n} {n * n}", f"t {n}", user=f"user-{n}", document=f"{n % 9}/{n}.md") for n in range(700))
    state, outcomes = _decided(events, Curated(), ports)
    assert Counter(verdicts(outcomes))["taken"] > 600
    assert len(state.taken) == 300
    assert len(msgspec.msgpack.encode(state)) < 40_000
