"""Laws about the order of reply frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millrace.client.frames import FrameOrder
from millrace.events.query import AnswerCompleted, AnswerDelta, AnswerFailed


def delta(n: int, attempt: int = 0) -> AnswerDelta:
    return AnswerDelta(tenant="t", correlation="c", attempt=attempt, n=n, text=f"{attempt}:{n}")


def end(attempt: int = 0, n: int = 0) -> AnswerCompleted:
    return AnswerCompleted(tenant="t", correlation="c", attempt=attempt, n=n, text="end")


def test_a_frame_ahead_of_its_turn_waits_for_the_gap() -> None:
    order = FrameOrder()
    assert order.accept(delta(1)) == []
    assert order.accept(delta(0)) == [delta(0), delta(1)]


def test_a_higher_attempt_starts_anew_and_lower_ones_are_dropped() -> None:
    order = FrameOrder()
    assert order.accept(delta(0)) == [delta(0)]
    assert order.accept(delta(2)) == []
    assert order.accept(delta(0, attempt=1)) == [delta(0, attempt=1)]
    assert order.accept(delta(1)) == []
    assert order.accept(delta(1, attempt=1)) == [delta(1, attempt=1)]


def test_the_first_terminal_frame_ends_the_question_whatever_is_missing() -> None:
    order = FrameOrder()
    assert order.accept(delta(3)) == []
    assert order.accept(end(n=9)) == [end(n=9)]
    assert order.accept(AnswerFailed(tenant="t", correlation="c", attempt=1, error_type="late", message="")) == []
    assert order.accept(delta(0, attempt=2)) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=60))
def test_pieces_of_the_newest_attempt_come_out_in_order_once(arrivals: list[tuple[int, int]]) -> None:
    order = FrameOrder()
    out = [frame for attempt, n in arrivals for frame in order.accept(delta(n, attempt))]
    seen: dict[int, list[int]] = {}
    for frame in out:
        assert not [attempt for attempt in seen if attempt > frame.attempt]
        seen.setdefault(frame.attempt, []).append(frame.n)
    for numbers in seen.values():
        assert numbers == list(range(len(numbers)))
