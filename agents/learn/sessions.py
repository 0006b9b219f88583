"""Conclude from what people do next how an answer was received: rephrased, abandoned, copied, escalated.

One conversation is one key. Its events are held in session windows of event time and judged when a `SessionDue` says
that everything up to a time has arrived, so that their order of arrival does not matter; copies and calls for a person
say what they say at once. What comes later than the allowed lateness is counted and dropped. A conversation that rested
for 30 days is forgotten, and sooner one of too many: what still comes of it is that of a new one.

Delivery: at least once; a conclusion's id is made of answer and kind, whichever record let it be drawn.
"""

from collections.abc import Iterator
from typing import Final

import msgspec
from millrace.agent import agent
from millrace.event import Event
from millrace.events.feedback import FeedbackGiven, InteractionObserved, SessionDue
from millrace.events.query import AnswerProduced, QueryReceived
from millrace.topics import ANSWER_PRODUCED, FEEDBACK_GIVEN, INTERACTION_OBSERVED, QUERY_RECEIVED, SESSION_DUE

from agents.learn.conclusions import Turn, conclusions
from agents.learn.policy import LearnPolicy
from agents.learn.ports import LearnPorts
from agents.learn.windows import Window, merged

_SECOND_US: Final = 1_000_000
_MAX_TEXT: Final = 400
_MAX_CONCLUDED: Final = 128
AT_ONCE: Final = frozenset({"copied", "escalated"})
"""Interactions that are conclusions already."""

Observed = QueryReceived | AnswerProduced | InteractionObserved | FeedbackGiven


class Sessions(msgspec.Struct):
    """Open sessions of one conversation.

    Attributes
    ----------
    windows : list of Window
        In order of time, more than a gap apart.
    turns : list of Turn
        Questions in them, in no order.
    until_us : int
        Event time that sessions have been closed up to.
    read : dict of str to int
        Offset of the last record that was read, by topic.
    due_until_us, due_positions
        What is to be closed, once everything before it was read; 0 for nothing.
    concluded : list of str
        What was concluded at once lately, as ``correlation:kind``.
    n_late : int
        Events that came too late.
    """

    windows: list[Window] = []
    turns: list[Turn] = []
    until_us: int = 0
    read: dict[str, int] = {}
    due_until_us: int = 0
    due_positions: dict[str, int] = {}
    concluded: list[str] = []
    n_late: int = 0


@agent(
    source=(QUERY_RECEIVED, ANSWER_PRODUCED, INTERACTION_OBSERVED, FEEDBACK_GIVEN, SESSION_DUE),
    sinks=(FEEDBACK_GIVEN,),
    state=Sessions,
    keep_days=30,  # as long as the log keeps what was said
    keep_keys=50_000,
    keep_user_keys=2_000,
)
def conclude_feedback(
    state: Sessions, event: Observed | SessionDue, ports: LearnPorts
) -> tuple[Sessions, list[FeedbackGiven]]:
    """Take an event in; gives what is concluded now."""
    policy = ports.policy
    _note_place(state, event)
    found: list[FeedbackGiven] = []
    if isinstance(event, SessionDue):
        if event.until_us > max(state.until_us, state.due_until_us):
            state.due_until_us, state.due_positions = event.until_us, event.positions
    elif not (isinstance(event, FeedbackGiven) and event.implicit):
        found += _observed(state, event, policy)
    if state.due_until_us and all(state.read.get(topic, -1) >= at for topic, at in state.due_positions.items()):
        found += _closed(state, event, policy)
    return state, found


def _note_place(state: Sessions, event: Event) -> None:
    if (origin := event.meta.origin) is not None:
        state.read[origin.topic] = max(origin.offset, state.read.get(origin.topic, -1))


def _observed(state: Sessions, event: Observed, policy: LearnPolicy) -> Iterator[FeedbackGiven]:
    at_us, gap_us = event.meta.time_us, round(policy.session_gap_s * _SECOND_US)
    if at_us < state.until_us:
        state.n_late += 1
        return
    state.windows = merged(state.windows, at_us, gap_us)[-policy.session_turns :]
    turn = _turn_of(state, event)
    match event:
        case QueryReceived():
            if not turn.question:
                turn.question, turn.user = event.question[:_MAX_TEXT], event.user
                turn.search = event.mode == "search"
            turn.asked_us = min(at_us, turn.asked_us or at_us)
        case AnswerProduced():
            turn.answer(event)
        case InteractionObserved() | FeedbackGiven():
            turn.mark(event.kind, at_us, event.value if isinstance(event, FeedbackGiven) else 0.0)
            if isinstance(event, InteractionObserved) and event.kind in AT_ONCE:
                yield from _at_once(state, event)
    if len(state.turns) > policy.session_turns:
        yield from _overflowing(state, event, policy)


def _turn_of(state: Sessions, event: Observed) -> Turn:
    correlation = event.meta.correlation_id if isinstance(event, QueryReceived) else event.correlation
    found = next((turn for turn in state.turns if turn.correlation == correlation), None)
    if found is None:
        found = Turn(correlation=correlation, first_us=event.meta.time_us)
        state.turns.append(found)
    found.first_us = min(found.first_us, event.meta.time_us)
    return found


def _at_once(state: Sessions, event: InteractionObserved) -> Iterator[FeedbackGiven]:
    name = f"{event.correlation}:{event.kind}"
    if name not in state.concluded:
        state.concluded = [*state.concluded, name][-_MAX_CONCLUDED:]
        yield FeedbackGiven(
            tenant=event.tenant,
            conversation=event.conversation,
            correlation=event.correlation,
            user=event.user,
            kind="copied" if event.kind == "copied" else "escalated",
            implicit=True,
        )


def _closed(state: Sessions, event: Event, policy: LearnPolicy) -> Iterator[FeedbackGiven]:
    """Judge and forget the sessions that are over at the time that is due."""
    gap_us = round(policy.session_gap_s * _SECOND_US)
    until_us = state.until_us = state.due_until_us
    state.due_until_us, state.due_positions = 0, {}
    over = [window for window in state.windows if window.end_us + gap_us <= until_us]
    state.windows = [window for window in state.windows if window not in over]
    for window in over:
        turns = [turn for turn in state.turns if window.holds(turn.first_us)]
        state.turns = [turn for turn in state.turns if turn not in turns]
        yield from conclusions(event, turns, window, policy)


def _overflowing(state: Sessions, event: Event, policy: LearnPolicy) -> Iterator[FeedbackGiven]:
    """Judge the older half of a session that has too many questions, with what is known of it."""
    turns = sorted(state.turns, key=lambda turn: (turn.first_us, turn.correlation))
    older = turns[: len(turns) // 2]
    following = turns[len(older) : len(older) + policy.rephrased_within]
    window = Window(turns[0].first_us, turns[-1].first_us)
    judged = {turn.correlation for turn in older}
    found = conclusions(event, [*older, *following], window, policy)
    yield from (each for each in found if each.correlation in judged and each.kind == "rephrased")
    state.turns = turns[len(older) :]
