"""Rules by patterns: our own, and those of the ATR set that pyatr carries.

All patterns but a few run in RE2, in time linear in the text. A filter of the words that they need says first which of
them can match at all: of three thousand patterns some dozens remain for a page, and mostly none is found. The few with
look-around are searched by Python, and only where a wider pattern without it was found; that is what the time limit of
the process is for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from importlib import resources
from typing import Any, Final

import msgspec
import re2
import regex

from inference.injection.noisy import NOISY
from inference.injection.phrases import PHRASES, plain_pattern
from millrace.findings import Finding, Kind

_MAX_HITS: Final = 8
_FIELDS: Final = frozenset({"content", "user_input", "tool_response"})
_SEVERITY: Final = {"critical": 0.75, "high": 0.7, "medium": 0.55, "low": 0.4}
_INLINE_FLAGS: Final = re.compile(r"^\(\?[imsx]+\)")
_LOOK_AROUND: Final = re.compile(r"\(\?(?:[=!]|<[=!])")
_UNICODE: Final = re.compile(r"\\u(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))")
_REPETITION: Final = re.compile(r"\{(\d+),(\d{4,})\}")


class Rule(msgspec.Struct, frozen=True):
    """One pattern of a rule, ready to be searched.

    Attributes
    ----------
    rule, kind, score
        As in Finding.
    wide : str
        Pattern for RE2 that finds at least what the rule finds.
    search : callable
        Gives places in a text.
    """

    rule: str
    kind: Kind
    score: float
    wide: str
    search: Callable[[str], Iterator[tuple[int, int]]]


class Ruleset:
    """Searches a text for all rules at once.

    Parameters
    ----------
    rules : iterable of Rule
        The rules.
    alternatives : iterable of iterables of Rule
        More rules: of each, the first that RE2 can compile, where there is one. The filter compiles what it is given,
        and to compile three thousand patterns just to see whether it will takes over a second.

    Raises
    ------
    re2.error
        If RE2 cannot compile one of `rules`.
    """

    def __init__(self, rules: Iterable[Rule] = (), alternatives: Iterable[Iterable[Rule]] = ()) -> None:
        self._rules: list[Rule] = []
        self._filter = re2.Filter()
        self._options = _options()
        for rule in rules:
            self._add(rule)
        for each in alternatives:
            for rule in each:
                if self._takes(rule):
                    break
        self._filter.Compile()

    def _add(self, rule: Rule) -> None:
        self._filter.Add(rule.wide, self._options)
        self._rules.append(rule)

    def _takes(self, rule: Rule) -> bool:
        try:
            self._add(rule)
        except re2.error:
            return False
        return True

    def __len__(self) -> int:
        return len(self._rules)

    def find(self, text: str) -> Iterator[Finding]:
        """Places in a normalised text, some for each rule."""
        for index in self._filter.Match(text) or ():
            rule = self._rules[index]
            for n_hits, (start, end) in enumerate(rule.search(text)):
                if n_hits == _MAX_HITS:
                    break
                yield Finding(rule.kind, rule.rule, start, end, rule.score)


def own_rules(*, quick: bool = False) -> list[Rule]:
    """Our own rules; the fast subset alone if `quick`."""
    return [
        Rule(phrase.rule, phrase.kind, phrase.score, plain_pattern(pattern), _linear(plain_pattern(pattern)))
        for phrase in PHRASES
        if phrase.quick or not quick
        for pattern in phrase.patterns
    ]


def atr_rules() -> Iterator[Iterator[Rule]]:
    """Those rules of the ATR set that are for texts and are no noise; see `inference.injection.noisy`.

    Each in two forms: as it stands, and for RE2 without its look-around.
    """
    raw = json.loads(resources.files("pyatr").joinpath("_bundled_rules.json").read_text(encoding="utf-8"))
    seen: set[str] = set()
    for entry in raw:
        detection = entry["detection"]
        if entry["status"] in {"deprecated", "draft"} or detection.get("condition") == "all" or entry["id"] in NOISY:
            continue
        for condition in detection["conditions"]:
            pattern = _INLINE_FLAGS.sub("", str(condition.get("value")))
            if condition.get("operator") == "regex" and condition.get("field") in _FIELDS and pattern not in seen:
                seen.add(pattern)
                yield _atr_rule(entry["id"], _SEVERITY.get(entry["severity"], 0.4), pattern)


def _atr_rule(name: str, score: float, pattern: str) -> Iterator[Rule]:
    linear = _UNICODE.sub(lambda found: rf"\x{{{found.group(1) or found.group(2)}}}", pattern)
    yield Rule(name, "injection", score, linear, _linear(linear))
    wide = _REPETITION.sub(r"{\1,}", _without_look_around(linear))
    yield Rule(name, "injection", score, wide, _backtracking(pattern))


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    return options


def _linear(pattern: str) -> Callable[[str], Iterator[tuple[int, int]]]:
    compiled: list[Any] = []

    def search(text: str) -> Iterator[tuple[int, int]]:
        if not compiled:
            compiled.append(re2.compile(pattern, _options()))
        shown = compiled[0].groupindex.get("it", 0)
        for found in compiled[0].finditer(text):
            yield found.span(shown)

    return search


def _backtracking(pattern: str) -> Callable[[str], Iterator[tuple[int, int]]]:
    compiled: list[Any] = []

    def search(text: str) -> Iterator[tuple[int, int]]:
        if not compiled:
            try:
                compiled.append(regex.compile(pattern, regex.IGNORECASE | regex.VERSION0))
            except regex.error:
                compiled.append(None)
        if compiled[0] is not None:
            for found in compiled[0].finditer(text):
                yield found.span()

    return search


def _without_look_around(pattern: str) -> str:
    """Pattern without its look-around, which only ever takes matches away."""
    while (found := _LOOK_AROUND.search(pattern)) is not None:
        depth, at, in_class = 0, found.start(), False
        while at < len(pattern):
            character = pattern[at]
            if character == "\\":
                at += 1
            elif in_class:
                in_class = character != "]"
            elif character == "[":
                in_class = True
            elif character in "()":
                depth += 1 if character == "(" else -1
                if depth == 0:
                    break
            at += 1
        pattern = pattern[: found.start()] + pattern[at + 1 :]
    return pattern
