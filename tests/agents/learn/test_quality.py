"""What is known of an answer is joined whatever its order, and counted once."""

import itertools
import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from agents.learn.quality import Conversation, score_quality
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.guard import ReviewItemOpened
from millrace.events.learn import QualityScored
from millrace.events.query import AnswerProduced, Citation, ContextRetrieved, Hit, QueryReceived
from tests.builders import TENANT, TIME_US, with_meta

Q = "q1"
HIT = Hit(chunk_id="c1", document="a.md", version=1, rank=1, score=0.9, dense=0.8, lexical=4.0)
QUOTE = "The wheel turns at dawn."
CITED = Citation(document="a.md", version=1, chunk_id="c1", title="A", heading="", start=0, end=len(QUOTE), quote=QUOTE)
PORTS = LearnPorts(LearnPolicy())


def received(correlation: str = Q, **changes: Any) -> QueryReceived:
    fields: dict[str, Any] = {"question": "When  does the wheel turn?", "user": "ann", "groups": ("mill",)} | changes
    return with_meta(
        QueryReceived(tenant=TENANT, conversation="c", **fields), id=f"r-{correlation}", correlation_id=correlation
    )


def context(correlation: str = Q, **changes: Any) -> ContextRetrieved:
    fields: dict[str, Any] = {
        "question": "When does the wheel turn?", "user": "ann", "groups": ("*", "mill"), "hits": (HIT,),
        "watermark": "w",
    } | changes  # fmt: skip
    return with_meta(
        ContextRetrieved(tenant=TENANT, conversation="c", **fields), id=f"x-{correlation}", correlation_id=correlation
    )


def produced(correlation: str = Q, **changes: Any) -> AnswerProduced:
    fields: dict[str, Any] = {
        "status": "answered", "text": QUOTE, "citations": (CITED,), "model": "sentences@2", "confidence": 0.9,
        "timings_ms": {"read": 20.0, "retrieve": 30.0},
    } | changes  # fmt: skip
    return with_meta(
        AnswerProduced(tenant=TENANT, conversation="c", correlation=correlation, **fields),
        id=f"a-{correlation}", correlation_id=correlation,
    )  # fmt: skip


def feedback(kind: str, n: int = 0, *, correlation: str = Q, user: str = "ann", **fields: Any) -> FeedbackGiven:
    event = FeedbackGiven(
        tenant=TENANT, conversation="c", correlation=correlation, kind=kind, user=user, **fields  # type: ignore[arg-type]
    )  # fmt: skip
    return with_meta(event, id=f"f-{correlation}-{n}-{kind}-{user}", time_us=TIME_US + n, correlation_id=correlation)


def play(
    events: Sequence[Event], ports: LearnPorts = PORTS, state: Conversation | None = None
) -> tuple[Conversation, list[Event]]:
    state, found = state or Conversation(), []
    for event in events:
        state, outputs = score_quality(state, event, ports)  # type: ignore[arg-type]
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=Conversation)
        found += outputs
    return state, found


def last(events: Sequence[Event], ports: LearnPorts = PORTS) -> QualityScored:
    return [event for event in play(events, ports)[1] if isinstance(event, QualityScored)][-1]


WHOLE = (received(), context(), produced())


def test_an_answer_nobody_said_anything_about_is_scored_once_with_all_that_the_log_holds() -> None:
    [scored] = play(WHOLE)[1]
    assert isinstance(scored, QualityScored)
    assert (scored.revision, scored.score, scored.poor, scored.flags) == (1, 0.75, False, ())
    assert (scored.asked, scored.question) == ("When  does the wheel turn?", "When does the wheel turn?")
    assert (scored.answer, scored.citations, scored.hits, scored.watermark) == (QUOTE, (CITED,), (HIT,), "w")
    assert (scored.user, scored.groups, scored.latency_ms, scored.grounded) == ("ann", ("*", "mill"), 50.0, 1.0)


FEEDBACK = st.builds(
    feedback,
    st.sampled_from(["up", "down", "rating", "correction", "comment", "rephrased", "abandoned", "copied", "escalated"]),
    st.integers(1, 6),
    user=st.sampled_from(["ann", "bob", ""]),
    rating=st.integers(1, 5),
    text=st.sampled_from(["at noon", "at night"]),
    score=st.sampled_from([0.5, 1.0]),
)


@given(st.lists(FEEDBACK, max_size=8, unique_by=lambda event: event.meta.id), st.randoms())
def test_order_and_duplicates_do_not_matter(given: list[FeedbackGiven], rng: random.Random) -> None:
    events: list[Event] = [*WHOLE, *given]
    mixed = events + rng.choices(events, k=len(events))
    rng.shuffle(mixed)
    straight, shuffled = last(events), last(mixed)
    assert shuffled.replace(revision=0) == straight.replace(revision=0)


def test_votes_against_an_answer_are_counted_whether_they_are_clicks_or_ratings() -> None:
    up, low = feedback("up", 1, user="kim"), feedback("rating", 2, user="bob", rating=2)
    assert last([*WHOLE, up]).n_dislikes == 0
    both = last([*WHOLE, up, low])
    assert (both.n_dislikes, both.flags, both.feedback) == (1, (), {"rating": 1, "up": 1})
    assert last([*WHOLE, up, feedback("rating", 2, user="bob", rating=5)]).n_dislikes == 0
    changed = last([*WHOLE, up, feedback("rating", 2, user="kim", rating=1), feedback("down", 3, user="bob")])
    assert (changed.n_dislikes, "up" in changed.feedback) == (2, False)
    assert last([*WHOLE, low, feedback("up", 3, user="bob"), feedback("abandoned", 4)]).n_dislikes == 0


@given(st.lists(FEEDBACK, max_size=8), st.randoms())
def test_revisions_grow_by_one_and_each_says_something_new(given: list[FeedbackGiven], rng: random.Random) -> None:
    mixed: list[Event] = [*WHOLE, *given, *WHOLE]
    rng.shuffle(mixed)
    scored = [event for event in play(mixed)[1] if isinstance(event, QualityScored)]
    assert [each.revision for each in scored] == list(range(1, len(scored) + 1))
    bodies = [msgspec.json.encode(each.replace(revision=0)) for each in scored]
    assert all(one != other for one, other in itertools.pairwise(bodies))
    assert sum(isinstance(event, ReviewItemOpened) for event in play(mixed)[1]) <= 1


def test_only_the_last_word_of_a_user_counts() -> None:
    scored = last([*WHOLE, feedback("up", 1), feedback("down", 2)])
    assert (scored.feedback, scored.flags) == ({"down": 1}, ("disliked",))
    assert last([*WHOLE, feedback("down", 1), feedback("up", 2)]).feedback == {"up": 1}
    assert last([*WHOLE, feedback("correction", 1, text="at noon"), feedback("up", 2)]).feedback == {"up": 1}
    assert last([*WHOLE, feedback("correction", 1, text="at noon"), feedback("up", 2)]).expected == ""
    both = last([*WHOLE, feedback("down", 1), feedback("correction", 2, text="at noon")])
    assert (both.feedback, both.expected, both.corrected_by) == ({"correction": 1, "down": 1}, "at noon", "ann")
    assert both.score == last([*WHOLE, feedback("down", 1)]).score  # one user has judged once


def test_feedback_that_is_late_or_came_before_changes_nothing() -> None:
    state, _ = play([*WHOLE, feedback("down", 2), feedback("abandoned", 3)])
    again = [feedback("up", 1), feedback("down", 2), feedback("abandoned", 3), feedback("abandoned", 1), *WHOLE]
    assert play(again, state=state)[1] == []


def test_each_user_counts() -> None:
    scored = last([*WHOLE, feedback("up", 1), feedback("down", 1, user="bob"), feedback("down", 2, user="cid")])
    assert scored.feedback == {"down": 2, "up": 1}
    assert scored.poor


@pytest.mark.parametrize(
    ("fields", "flags", "score", "poor"),
    [
        ({"status": "not_found", "text": "", "citations": ()}, ("not_found",), 0.4, True),
        ({"status": "failed", "text": "try again", "citations": ()}, ("failed",), 0.0, True),
        ({"status": "refused", "text": "no", "citations": ()}, ("refused",), 0.5, False),
        ({"status": "retracted", "text": "", "citations": ()}, ("retracted",), 0.2, True),
        ({"text": " ", "citations": ()}, ("empty",), 0.0, True),
        ({"text": "\n".join([QUOTE] * 3)}, ("repeated",), 0.35, True),
        ({"text": "Ducks swim past sleeping millers."}, ("ungrounded",), 0.25, True),
        ({"timings_ms": {"read": 5_001.0}}, ("slow",), 0.65, False),
    ],
)
def test_what_is_wrong_with_an_answer_is_seen(
    fields: dict[str, Any], flags: tuple[str, ...], score: float, poor: bool
) -> None:
    scored = last([received(), context(), produced(**fields)])
    assert (scored.flags, scored.score, scored.poor) == (flags, score, poor)


def test_what_people_say_outweighs_what_is_seen() -> None:
    nothing = produced(status="not_found", text="", citations=())
    assert not last([received(), context(), nothing, feedback("up", 1)]).poor
    assert last([*WHOLE, feedback("down", 1)]).poor
    assert last([*WHOLE, feedback("rephrased", 1)]).poor
    assert not last([*WHOLE, feedback("rephrased", 1, score=0.2)]).poor
    assert last([*WHOLE, feedback("rephrased", 1, text="Wheel, when?")]).rephrased == "Wheel, when?"
    assert last([*WHOLE, feedback("copied", 1)]).score == pytest.approx(0.75)


def test_a_question_refused_before_anything_was_looked_for_needs_no_context() -> None:
    [scored] = play([received(), produced(status="refused", text="too long", citations=())])[1]
    assert isinstance(scored, QualityScored)
    assert (scored.question, scored.groups) == (scored.asked, ("*", "mill"))


def test_a_search_is_no_answer() -> None:
    search = [received(mode="search"), context(mode="search"), produced(text="", citations=())]
    for events in (search, search[::-1]):
        state, found = play([*events, feedback("down")])
        assert found == []
        assert state.answers[Q].n_bytes < 200


def test_people_are_shown_what_people_complained_about_once() -> None:
    state, found = play([*WHOLE, feedback("rephrased", 1), feedback("down", 2), feedback("correction", 3, text="noon")])
    [item] = [event for event in found if isinstance(event, ReviewItemOpened)]
    assert (item.subject_kind, item.subject, item.rule, item.kind) == ("answer", Q, "quality", "poor_answer")
    assert "1 x down" in item.reason
    assert QUOTE not in item.reason
    assert not [each for each in play([feedback("up", 4), feedback("down", 5)], state=state)[1] if each == item]
    for quiet in (["rephrased"], ["up"], ["abandoned"], []):
        said = [feedback(kind, n) for n, kind in enumerate(quiet)]
        assert not [each for each in play([*WHOLE, *said])[1] if isinstance(each, ReviewItemOpened)]


def test_a_conversation_of_hundreds_of_questions_stays_small_and_the_latest_answers_are_kept() -> None:
    rng = random.Random(1)

    def noise(n: int) -> str:
        return " ".join(f"{rng.getrandbits(40):x}" for _ in range(n))

    state = Conversation()
    for number in range(300):
        hits = tuple(msgspec.structs.replace(HIT, chunk_id=noise(4), dense=rng.random()) for _ in range(10))
        state, _ = play(
            [received(f"q{number}"), context(f"q{number}", hits=hits), produced(f"q{number}", text=noise(100))],
            state=state,
        )
    assert len(msgspec.msgpack.encode(state)) < 100_000
    assert "q299" in state.answers
    assert "q0" not in state.answers
    assert play([feedback("down", correlation="q299")], state=state)[1]
    assert not play([feedback("down", correlation="q0")], state=state)[1]


@pytest.mark.parametrize(("n_at_once", "n_scored"), [(100, 64), (64, 100)], ids=["beyond the bound", "control: within"])
def test_a_reader_that_catches_up_loses_only_the_questions_beyond_the_bound(n_at_once: int, n_scored: int) -> None:
    events: list[Event] = []
    for begins in range(0, 100, n_at_once):
        for part in (received, context, produced):
            for number in range(begins, min(begins + n_at_once, 100)):
                event = part(f"q{number}")
                events.append(event.with_meta(msgspec.structs.replace(event.meta, time_us=TIME_US + number)))
    scored = [event.correlation for event in play(events)[1] if isinstance(event, QualityScored)]
    assert scored == [f"q{number}" for number in range(100 - n_scored, 100)], "the newest ones"


def test_one_huge_answer_is_kept_while_it_is_the_last() -> None:
    ports = LearnPorts(LearnPolicy(kept_answer_bytes=10))
    assert last([*WHOLE, feedback("down")], ports).poor


def test_a_crowd_cannot_fill_the_state() -> None:
    crowd = [feedback("down", n, user=f"u{n}") for n in range(500)]
    state, _ = play([*WHOLE, *crowd])
    assert len(state.answers[Q].said) == LearnPolicy().max_judges
