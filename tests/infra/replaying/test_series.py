"""Laws about a series of questions asked again: an outage that passes costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from infra.replaying.series import HELD_BACK, IN_A_ROW, UNAVAILABLE, WAITS_S, Series
from millrace.errors import ConfigurationError, Unavailable
from millrace.evaluation.replayed import Pair, Side
from streams.recorded.pace import MAX_WAITING, Pace
from streams.recorded.questions import RecordedQuestion
from tests.builders import asked

DOWN = 1 + len(WAITS_S)
"""So many failures in a row are more than one question is tried through."""


class Asker:
    """Answers; the question of a number fails so many times before."""

    def __init__(self, failures: Mapping[int, int], error: Callable[[str], Exception] = Unavailable) -> None:
        self.left = dict(failures)
        self.error = error
        self.tries: list[str] = []

    async def ask(self, question: RecordedQuestion) -> Pair:
        text = question.received.question
        self.tries.append(text)
        number = int(text)
        if self.left.get(number, 0):
            self.left[number] -= 1
            raise self.error(f"the store is down at {number}")
        side = Side(status="answered")
        return Pair(correlation=text, tenant="acme", question=text, then=side, now=side)


class Run:
    """A series over a number of questions, and all that was said, waited and reported meanwhile."""

    def __init__(self, asker: Asker, n: int, waiting: Callable[[], int | None] | None = None) -> None:
        self.told: list[str] = []
        self.waits_s: list[float] = []
        self.progress: list[tuple[int, int]] = []
        self._now_s = 0.0
        pace = Pace(0, waiting, limit_s=9, clock=lambda: self._now_s, sleep=self._sleep, tell=self.told.append)
        self._series = Series(asker, pace, tell=self.told.append, sleep=self._sleep)
        self._questions = [RecordedQuestion(received=asked(str(number)), asked_at_ms=number) for number in range(n)]

    async def _sleep(self, seconds: float) -> None:
        self._now_s += seconds
        self.waits_s.append(seconds)

    async def pairs(self) -> list[Pair]:
        return await self._series.ask(self._questions, self._report)

    def _report(self, done: int, total: int, _: str) -> None:
        self.progress.append((done, total))
        self._now_s += 2  # a question takes so long that live ones are looked for before the next


def reasons(pairs: Sequence[Pair]) -> list[str]:
    return [pair.incomplete for pair in pairs]


async def test_what_is_down_for_a_moment_is_tried_again_with_growing_waits() -> None:
    asker = Asker({1: DOWN - 1})
    run = Run(asker, 3)
    assert reasons(await run.pairs()) == ["", "", ""]
    assert asker.tries == ["0", *["1"] * DOWN, "2"]
    assert run.waits_s == list(WAITS_S) == sorted(WAITS_S)
    assert [text.startswith("a question is tried again") for text in run.told] == [True] * len(WAITS_S)


async def test_a_question_that_was_tried_in_vain_is_kept_with_its_reason_and_the_others_are_asked() -> None:
    run = Run(Asker({1: DOWN, 3: DOWN, 5: DOWN}), 7)  # as many as end the asking, but never one after the other
    pairs = await run.pairs()
    assert reasons(pairs) == ["", UNAVAILABLE, "", UNAVAILABLE, "", UNAVAILABLE, ""]
    assert (pairs[1].question, pairs[1].compared) == ("1", False)
    assert pairs[1].detail == f"{DOWN} tries failed: the store is down at 1"
    assert run.progress[-1] == (7, 7)


async def test_an_outage_that_stays_ends_the_asking_and_loses_nothing() -> None:
    asker = Asker(dict.fromkeys(range(2, 99), DOWN))
    pairs = await Run(asker, 99).pairs()
    assert reasons(pairs) == ["", "", *[UNAVAILABLE] * 97]
    assert len(asker.tries) == 2 + IN_A_ROW * DOWN  # the others are not tried: each would take as long
    assert pairs[-1].detail.startswith("not tried; before it")


@pytest.mark.parametrize("n", [1, IN_A_ROW, 99])
async def test_where_nothing_could_be_asked_the_outage_is_the_outcome(n: int) -> None:
    with pytest.raises(Unavailable, match="the store is down at 0"):
        await Run(Asker(dict.fromkeys(range(n), DOWN)), n).pairs()


async def test_an_error_that_no_waiting_helps_is_not_tried_again() -> None:
    asker = Asker({1: 1}, ConfigurationError)
    with pytest.raises(ConfigurationError):
        await Run(asker, 3).pairs()
    assert asker.tries == ["0", "1"]


async def test_what_live_questions_hold_back_for_too_long_is_left_out_and_the_rest_is_kept() -> None:
    waiting: Iterator[int] = iter([0, *[MAX_WAITING + 1] * 99])
    asker = Asker({})
    run = Run(asker, 4, lambda: next(waiting))
    pairs = await run.pairs()
    assert reasons(pairs) == ["", HELD_BACK, HELD_BACK, HELD_BACK]
    assert f"{MAX_WAITING + 1} live questions waited" in pairs[1].detail
    assert asker.tries == ["0"]
    assert [text.startswith("holding back") for text in run.told] == [True]


async def test_held_back_from_the_beginning_there_is_no_report() -> None:
    with pytest.raises(Unavailable, match="live questions waited"):
        await Run(Asker({}), 4, lambda: MAX_WAITING + 1).pairs()
