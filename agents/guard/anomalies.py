"""Answers that look wrong whatever they say: empty, repeating themselves, or holding what must never leave. Pure."""

from collections import Counter
from typing import Final

import msgspec
from millrace.events.guard import Action

from agents.guard.policy import GuardPolicy

_LINE_CHARS: Final = 20
_WORDS: Final = 40
_VARIETY: Final = 0.35


class Anomaly(msgspec.Struct, frozen=True):
    """What is wrong with a text, where, and what follows."""

    rule: str
    action: Action
    start: int = 0
    end: int = 0
    score: float = 1.0

    @property
    def kind(self) -> str:
        """Anomalies are kinds of their own."""
        return self.rule


def anomalies(text: str, *, found: bool, policy: GuardPolicy) -> list[Anomaly]:
    """What is wrong with the text of an answer.

    Parameters
    ----------
    text : str
        As it was read or generated.
    found : bool
        Whether it says that the corpus holds an answer.
    policy : GuardPolicy
        Texts that must not leave, and how often a line may be said.
    """
    wrong = [Anomaly("leak", "block", at, at + len(marker)) for marker, at in _leaks(text, policy)]
    if found and not text.strip():
        wrong.append(Anomaly("empty", "flag"))
    if repeats(text, policy.repeated_times):
        wrong.append(Anomaly("repeated", "flag", 0, len(text)))
    return wrong


def repeats(text: str, times: int) -> bool:
    """Whether a line of some length is said `times` times, or a longer text has few different runs of three words."""
    lines = Counter(line for each in text.splitlines() if len(line := " ".join(each.split()).lower()) >= _LINE_CHARS)
    if any(n >= times for n in lines.values()):
        return True
    words = text.lower().split()
    runs = list(zip(words, words[1:], words[2:], strict=False))
    return len(words) >= _WORDS and len(set(runs)) < _VARIETY * len(runs)


def _leaks(text: str, policy: GuardPolicy) -> list[tuple[str, int]]:
    lower = text.casefold()
    return [(marker, lower.find(marker.casefold())) for marker in policy.leak_markers if marker.casefold() in lower]
