"""Laws about how fast questions are asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from streams.recorded.pace import MAX_WAITING, TELL_AFTER_S, HeldTooLong, Pace


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


async def test_who_waits_is_told_once_why_and_what_helps() -> None:
    time, told = Time(), list[str]()
    answers = iter([MAX_WAITING + 1] * 20 + [0] + [MAX_WAITING + 1] * 20 + [0])
    pace = Pace(0, _next(answers), clock=time.clock, sleep=time.sleep, tell=told.append)
    await pace.turn()
    await time.sleep(60)
    await pace.turn()
    (text,) = told
    assert f"{MAX_WAITING + 1} live questions wait" in text
    assert "start the workers" in text
    assert pace.held_s == 40


@pytest.mark.parametrize(("seconds", "n_told"), [(int(TELL_AFTER_S) - 1, 0), (int(TELL_AFTER_S) + 1, 1)])
async def test_a_short_wait_is_not_worth_a_word(seconds: int, n_told: int) -> None:
    time, told = Time(), list[str]()
    answers = iter([MAX_WAITING + 1] * seconds + [0])
    await Pace(0, _next(answers), clock=time.clock, sleep=time.sleep, tell=told.append).turn()
    assert len(told) == n_told


async def test_it_holds_back_no_longer_than_it_may_at_a_time() -> None:
    time = Time()
    answers = iter([MAX_WAITING + 1] * 7 + [0] + [MAX_WAITING + 1] * 99)
    pace = Pace(0, _next(answers), clock=time.clock, sleep=time.sleep, limit_s=8)
    await pace.turn()  # 7 s
    await time.sleep(1)
    with pytest.raises(HeldTooLong, match="8 s of holding back"):
        await pace.turn()


def _next(answers: Iterator[int | None]) -> Callable[[], int | None]:
    return lambda: next(answers)
