"""Ask a series of recorded questions again: what is down for a moment is tried again, and no answer is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from infra.replaying.asking import recorded_pair
from millrace.errors import MillraceError, Unavailable, classify
from millrace.evaluation.replayed import Pair
from streams.recorded.pace import HeldTooLong, Pace
from streams.recorded.questions import RecordedQuestion

WAITS_S: Final = (1.0, 2.0, 4.0, 8.0)
"""How long a question that found a model or a store down waits until it is tried again."""
IN_A_ROW: Final = 3
"""So many questions one after the other that were tried in vain end the asking."""
UNAVAILABLE: Final = "unavailable"
HELD_BACK: Final = "held_back"
Progress = Callable[[int, int, str], None]


class Asks(Protocol):
    """What asks one question: `infra.replaying.asking.AskerAgain`."""

    async def ask(self, question: RecordedQuestion) -> Pair:
        """Its two answers, or why there are none; a transient error where something is down."""


class Series:
    """Asks questions one after the other.

    Parameters
    ----------
    asker : Asks
        Asks one.
    pace : Pace
        When.
    tell : callable
        Takes what a person who waits should know.
    sleep : callable
        Waits for some seconds.
    """

    def __init__(
        self,
        asker: Asks,
        pace: Pace,
        *,
        tell: Callable[[str], None] = lambda _text: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._asker = asker
        self._pace = pace
        self._tell = tell
        self._sleep = sleep

    async def ask(self, questions: Sequence[RecordedQuestion], progress: Progress) -> list[Pair]:
        """One pair for each question; those that could not be asked say why.

        Raises
        ------
        Unavailable
            Not one could be asked, so nothing is lost.
        """
        pairs: list[Pair] = []
        in_a_row = 0
        for number, question in enumerate(questions):
            try:
                await self._pace.turn()
            except HeldTooLong as error:
                return _ended(pairs, questions[number:], HELD_BACK, str(error))
            pair = await self._tried(question)
            pairs.append(pair)
            progress(len(pairs), len(questions), "ask again")
            in_a_row = in_a_row + 1 if pair.incomplete == UNAVAILABLE else 0
            if in_a_row == IN_A_ROW:
                return _ended(pairs, questions[number + 1 :], UNAVAILABLE, f"not tried; before it {pair.detail}")
        return _ended(pairs, (), UNAVAILABLE, "")

    async def _tried(self, question: RecordedQuestion) -> Pair:
        waits_s = iter(WAITS_S)
        while True:
            try:
                return await self._asker.ask(question)
            except MillraceError as error:
                if classify(error) != "transient":
                    raise
                wait_s = next(waits_s, None)
                if wait_s is None:
                    return _not_asked(question, UNAVAILABLE, f"{1 + len(WAITS_S)} tries failed: {error}")
                self._tell(f"a question is tried again in {wait_s:g} s: {error}")
            await self._sleep(wait_s)


def _ended(pairs: list[Pair], rest: Sequence[RecordedQuestion], reason: str, detail: str) -> list[Pair]:
    """What was asked, and the rest with the reason that it was not."""
    found = [*pairs, *(_not_asked(question, reason, detail) for question in rest)]
    if all(pair.incomplete in {UNAVAILABLE, HELD_BACK} for pair in found):
        raise Unavailable(f"no question could be asked again: {found[0].detail}")
    return found


def _not_asked(question: RecordedQuestion, reason: str, detail: str) -> Pair:
    return msgspec.structs.replace(recorded_pair(question), incomplete=reason, detail=detail)
