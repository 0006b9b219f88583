"""Laws about how fast questions are asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from streams.recorded.pace import MAX_WAITING, Pace


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds


async def test_questions_are_let_through_at_the_rate() -> None:
    time = Time()
    pace = Pace(4.0, clock=time.clock, sleep=time.sleep)
    for _ in range(9):
        await pace.turn()
    assert time.now_s == pytest.approx(2.0)


async def test_time_that_a_question_took_is_not_saved_up() -> None:
    time = Time()
    pace = Pace(1.0, clock=time.clock, sleep=time.sleep)
    await pace.turn()
    time.now_s += 60
    for _ in range(3):
        await pace.turn()
    assert time.now_s == pytest.approx(62.0)


async def test_no_rate_is_no_wait() -> None:
    time = Time()
    pace = Pace(0, clock=time.clock, sleep=time.sleep)
    for _ in range(100):
        await pace.turn()
    assert time.now_s == 0


@pytest.mark.parametrize(("waiting", "held_s"), [([MAX_WAITING], 0), ([MAX_WAITING + 1] * 3 + [0], 3), ([None], 0)])
async def test_it_holds_back_while_live_questions_wait(waiting: list[int | None], held_s: float) -> None:
    time, answers = Time(), iter(waiting)
    pace = Pace(0, _next(answers), clock=time.clock, sleep=time.sleep)
    await pace.turn()
    assert pace.held_s == time.now_s == held_s
    assert next(answers, "none left") == "none left"


def _next(answers: Iterator[int | None]) -> Callable[[], int | None]:
    return lambda: next(answers)
