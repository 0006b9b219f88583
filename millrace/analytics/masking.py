"""Keep the data of persons and secrets out of what is shown.

Two ways, and both are gone: places that the guards pointed at when the question was asked stand in the log; and a
finder, where one is at hand, looks again. The finder is part of the stack and none of the SDK: it is handed in.
"""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from millrace.analytics.questions import Asked
from millrace.findings import Finding

MASK: Final = "[masked]"
_FINDER: Final = "inference.personal_data"
_ROUNDS: Final = 4
_MASKED: Final = re.compile(r"\[[A-Za-z_]+\]")

Find = Callable[[str], Sequence[Finding]]


def stack_finder() -> Find | None:
    """The stack's finder of personal data where that is installed, as in a checkout; None with the SDK alone."""
    if find_spec(_FINDER.partition(".")[0]) is None:
        return None
    made: Any = import_module(_FINDER).PersonalDataFinder()
    find: Find = made.find
    return find


def masked(asked: Asked, find: Find | None = None) -> str:
    """Text of a question without what guards or the finder found in it."""
    if asked.hidden:
        return MASK
    text = asked.text
    for start, end in _apart(asked.spans):
        text = f"{text[:start]}{MASK}{text[end:]}"
    if find is None:
        return text
    for _ in range(_ROUNDS):  # neighbours can hide each other
        found = find(text)
        if not found:
            return text
        for place in sorted(found, key=lambda each: -each.start):
            text = f"{text[: place.start]}[{place.rule}]{text[place.end :]}"
    return MASK


def without_masks(text: str) -> str:
    """A masked text without the names of what stood there."""
    return _MASKED.sub(" ", text)


def _apart(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans joined where they overlap, last first."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined[::-1]
