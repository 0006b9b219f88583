"""What follows from a session that is over: which answers were asked for again in other words, which given up."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import msgspec
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven
from millrace.events.query import AnswerProduced

from agents.learn.policy import LearnPolicy
from agents.learn.windows import Window
from agents.learn.wording import is_courtesy, likeness

_LIKED: Final = frozenset({"copied", "up"})
_DONE_WITH: Final = frozenset({"copied", "opened", "escalated", "up", "down", "rating", "correction", "comment"})
"""Marks by which someone did something about an answer: it was not given up."""


class Turn(msgspec.Struct):
    """A question with what became of it, as far as it is known.

    Attributes
    ----------
    first_us, asked_us, answered_us : int
        Event time of its first event, of the question and of the answer; 0 for not seen.
    cited : bool
        Whether the answer quoted a source.
    search : bool
        Whether only hits were asked for: that may ask again for an answer, but is none itself.
    again : bool
        Whether the asker was told to ask again, as clients do by themselves.
    marks : dict of str to int
        When something was first done about it, by kind.
    value : float
        The lowest thing that was said of it, -1 to 1.
    """

    correlation: str
    first_us: int
    question: str = ""
    user: str = ""
    asked_us: int = 0
    answered_us: int = 0
    status: str = ""
    cited: bool = False
    search: bool = False
    again: bool = False
    marks: dict[str, int] = {}
    value: float = 0.0

    def answer(self, event: AnswerProduced) -> None:
        """Take the terminal record in; the first one counts."""
        if not self.status:
            self.answered_us, self.status = event.meta.time_us, event.status
            self.cited, self.again = bool(event.citations), event.retry_after_ms > 0
            self.user = self.user or event.user

    def mark(self, kind: str, at_us: int, value: float) -> None:
        """Note that something was done about it."""
        self.marks = {**self.marks, kind: min(at_us, self.marks.get(kind, at_us))}
        self.value = min(self.value, value)

    @property
    def poor(self) -> bool:
        """Whether there was no answer, none that was found, or one that somebody did not like."""
        return self.status != "answered" or self.value < 0

    @property
    def liked(self) -> bool:
        """Whether somebody took something from it or liked it."""
        return self.value >= 0 and bool(_LIKED & self.marks.keys())


def conclusions(cause: Event, turns: Sequence[Turn], window: Window, policy: LearnPolicy) -> Iterator[FeedbackGiven]:
    """Conclusions from the questions of one session.

    Parameters
    ----------
    cause : Event
        Names tenant and conversation.
    turns : sequence of Turn
        In any order.
    window : Window
        The session; what was done after it does not count.
    """
    asked = sorted(
        (_within(turn, window) for turn in turns if turn.question), key=lambda turn: (turn.asked_us, turn.correlation)
    )
    for user in dict.fromkeys(turn.user for turn in asked):
        yield from _of_one(cause, [turn for turn in asked if turn.user == user], policy)


def _of_one(cause: Event, asked: Sequence[Turn], policy: LearnPolicy) -> Iterator[FeedbackGiven]:
    """Conclusions from what one user asked: what others ask says nothing of the answers to it."""
    asked = [turn for at, turn in enumerate(asked) if not _asked_again(turn, asked[at + 1 :])]
    questions = [turn for turn in asked if not is_courtesy(turn.question)]
    thanked = {before.correlation for before, after in pairwise(asked) if is_courtesy(after.question)}
    for at, turn in enumerate(questions):
        if turn.search:
            continue
        later, score = _rephrasing(turn, questions[at + 1 : at + 1 + policy.rephrased_within], policy)
        if later is not None and turn.correlation not in thanked:
            yield _concluded(cause, turn, "rephrased", score, later.question)
        elif turn.poor and turn.correlation not in thanked and _given_up(turn, last=at == len(questions) - 1):
            yield _concluded(cause, turn, "abandoned", 1.0)


def _within(turn: Turn, window: Window) -> Turn:
    marks: Mapping[str, int] = {kind: at_us for kind, at_us in turn.marks.items() if at_us <= window.end_us}
    status = turn.status if turn.answered_us <= window.end_us else ""
    return msgspec.structs.replace(turn, marks=dict(marks), status=status)


def _asked_again(turn: Turn, later: Sequence[Turn]) -> bool:
    """Whether a client that was told to come again did so: the same question, so the first attempt says nothing."""
    return turn.again and any(each.question == turn.question for each in later)


def _rephrasing(turn: Turn, later: Sequence[Turn], policy: LearnPolicy) -> tuple[Turn | None, float]:
    """The first later question that asks the same, and how much it does."""
    if turn.liked:
        return None, 0.0
    least = policy.rephrased_poor if turn.poor else policy.rephrased_ignored
    for each in later:
        if (found := likeness(turn.question, each.question)) >= least:
            return each, found
    return None, 0.0


def _given_up(turn: Turn, *, last: bool) -> bool:
    return (last or "left" in turn.marks) and not _DONE_WITH & turn.marks.keys()


def _concluded(
    cause: Event, turn: Turn, kind: Literal["rephrased", "abandoned"], score: float, text: str = ""
) -> FeedbackGiven:
    return FeedbackGiven(
        tenant=cause.tenant,
        conversation=getattr(cause, "conversation", ""),
        correlation=turn.correlation,
        user=turn.user,
        kind=kind,
        implicit=True,
        text=text,
        score=round(score, 4),
    )
