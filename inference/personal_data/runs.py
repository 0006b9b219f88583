"""Numbers in groups: ``4111 1111 1111 1111``, ``(020) 7946-0958``, ``756.9217.0769.85``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from inference.personal_data.patterns import compiled

MAX_DIGITS: Final = 19
MIN_DIGITS: Final = 7
_MAX_GROUPS: Final = 8
_RUN: Final = compiled(r"[+(]{0,2}[0-9](?:[0-9]|[ .()/-]{1,3}[0-9])*")
_GROUP: Final = compiled(r"[0-9]+")
_CONTEXT_CHARS: Final = 48


class Number:
    """Some groups of digits next to each other.

    Attributes
    ----------
    start, end : int
        Its place in the text; a plus sign or bracket before it belongs to it.
    digits : str
        Its digits.
    shape : tuple of int
        How many digits each group has.
    separators : str
        The characters between the groups.
    prefix : str
        What stands before the first digit: a plus sign, a bracket, both or nothing.
    """

    __slots__ = ("digits", "end", "prefix", "separators", "shape", "start", "text")

    def __init__(self, text: str, start: int, groups: list[tuple[int, int]], prefix: str) -> None:
        self.text = text
        if "(" in prefix and ")" not in text[start : groups[-1][1]]:
            prefix = prefix[prefix.rindex("(") + 1 :]  # the bracket is not one of the number's own
        self.start = start - len(prefix)
        self.end = groups[-1][1]
        self.prefix = prefix
        self.digits = "".join(text[first:last] for first, last in groups)
        self.shape = tuple(last - first for first, last in groups)
        self.separators = "".join(text[left[1] : right[0]] for left, right in pairwise(groups))

    @property
    def before(self) -> str:
        """The words before it, in lower case."""
        return self.text[max(0, self.start - _CONTEXT_CHARS) : self.start].lower()


def numbers(text: str) -> Iterator[list[Number]]:
    """Numbers at each place where one may begin, longest first.

    Digits that touch letters are part of a word, and no number.
    """
    for run in _RUN.finditer(text):
        begin, finish = run.span()
        groups = [(begin + found.start(), begin + found.end()) for found in _GROUP.finditer(text[begin:finish])]
        if groups and (begin > 0 and _is_word(text[begin - 1])):
            groups = groups[1:]
        if groups and finish < len(text) and _is_word(text[finish]):
            groups.pop()
        yield from _starts(text, begin, groups)


def _starts(text: str, begin: int, groups: list[tuple[int, int]]) -> Iterator[list[Number]]:
    n_groups = len(groups)
    for first in range(n_groups):
        prefix = _prefix(text, begin, groups[first][0])
        n_digits = 0
        windows = []
        for last in range(first, min(n_groups, first + _MAX_GROUPS)):
            n_digits += groups[last][1] - groups[last][0]
            if n_digits > MAX_DIGITS:
                break
            if n_digits >= MIN_DIGITS:
                windows.append(last)
        if windows:
            yield [Number(text, groups[first][0], groups[first : last + 1], prefix) for last in reversed(windows)]


def _prefix(text: str, begin: int, first: int) -> str:
    start = first
    while start > begin and text[start - 1] in "+(" and first - start < 2:
        start -= 1
    return text[start:first]


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()
