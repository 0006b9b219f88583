"""Feedback counts once for an answer, and little of it for a conversation."""

from __future__ import annotations

import random

from agents.learn.policy import LearnPolicy
from agents.learn.voices import heard

POLICY = LearnPolicy(drift_feedback_window=6, drift_conversation_cap=2)


def counted(*given: tuple[str, str], policy: LearnPolicy = POLICY) -> list[bool]:
    voices, found = b"", []
    for conversation, answer in given:
        after = heard(voices, conversation, answer, policy)
        found.append(after is not None)
        voices = voices if after is None else after
    return found


def test_an_answer_counts_once_and_a_conversation_up_to_its_cap() -> None:
    assert counted(("c", "1"), ("c", "1"), ("c", "2"), ("c", "3"), ("d", "1")) == [True, False, True, False, True]


def test_whoever_is_at_the_cap_stays_there_until_others_were_heard() -> None:
    flood = [("c", str(n)) for n in range(500)]
    assert sum(counted(*flood)) == 2
    others = [(f"o{n}", "1") for n in range(5)]
    assert counted(("c", "1"), ("c", "2"), *others, ("c", "3"))[-1]
    assert not counted(("c", "1"), ("c", "2"), *others[:3], ("c", "3"))[-1]


def test_among_the_last_that_counted_no_conversation_has_more_than_its_cap() -> None:
    rng = random.Random(1)
    policy = LearnPolicy(drift_feedback_window=50, drift_conversation_cap=5)
    given = [(rng.choice(["loud", f"c{rng.randrange(90)}"]), str(n)) for n in range(4_000)]
    taken = [one for one, counts in zip(given, counted(*given, policy=policy), strict=True) if counts]
    windows = [taken[at : at + 50] for at in range(len(taken) - 49)]
    assert max(sum(conversation == "loud" for conversation, _ in window) for window in windows) == 5


def test_what_is_remembered_stays_small() -> None:
    voices = b""
    for n in range(1_000):
        voices = heard(voices, f"c{n}", "1", LearnPolicy()) or voices
    assert len(voices) == 8 * LearnPolicy().drift_feedback_window
