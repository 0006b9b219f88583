"""Patterns of ignore files, and of what to take: written as in a .gitignore, matched in linear time."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from millrace.errors import InputRejected

IGNORE_FILE: Final = ".millraceignore"
# Wildcards, a set of characters, an escaped character, a character.
_TOKEN: Final = re.compile(r"(?P<star>\*+)|(?P<any>\?)|(?P<set>\[[!^]?[^\]!^][^\]]*\])|\\?(?P<plain>.)", re.DOTALL)
_RANGE: Final = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_FOLDERS: Final = "(?:[^/]*+/)*?"


class IgnorePattern(msgspec.Struct, frozen=True):
    """One line of an ignore file: ``#`` comments, ``!`` takes back, ``/`` at the end: folders, ``**``: any depth."""

    regex: re.Pattern[str]
    negated: bool
    folders_only: bool

    @classmethod
    def parse(cls, line: str) -> "IgnorePattern | None":
        """Pattern of a line, None for a blank or a comment.

        Raises
        ------
        InputRejected
            If it can mean nothing.
        """
        text = line.rstrip("\n").rstrip()
        if not text or text.startswith("#"):
            return None
        negated = text.startswith("!")
        text = text.removeprefix("!")
        folders_only = text.endswith("/")
        text = text.rstrip("/")
        parts = text.lstrip("/").split("/")
        try:
            regex = re.compile(_path(parts if "/" in text else ["**", *parts]), re.DOTALL)
        except re.error as error:
            raise InputRejected(f"{line!r} is no pattern ({error.msg}); write it as in a .gitignore") from error
        return cls(regex, negated, folders_only)

    def matches(self, path: str, *, folder: bool) -> bool:
        """Whether a POSIX path, relative to the ignore file's folder, is meant."""
        return (folder or not self.folders_only) and self.regex.match(path) is not None


def parsed(lines: Sequence[str]) -> list[IgnorePattern]:
    """Patterns of lines.

    Raises
    ------
    InputRejected
        If one can mean nothing.
    """
    return [pattern for line in lines if (pattern := IgnorePattern.parse(line)) is not None]


def read_ignore_file(path: Path) -> list[IgnorePattern]:
    """Patterns of an ignore file.

    Raises
    ------
    InputRejected
        If a line can mean nothing.
    OSError
        If it cannot be read.
    """
    found = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        try:
            pattern = IgnorePattern.parse(line)
        except InputRejected as error:
            raise InputRejected(f"{path}, line {number}: {error}") from error
        found += [pattern] if pattern is not None else []
    return found


def is_any(patterns: Sequence[IgnorePattern], path: str) -> bool:
    """Whether one of the patterns means a file, or a folder above it."""
    parents = [path[:i] for i, character in enumerate(path) if character == "/"]
    return any(p.matches(path, folder=False) or any(p.matches(up, folder=True) for up in parents) for p in patterns)


def is_ignored(path: str, rules: Sequence[tuple[str, list[IgnorePattern]]], *, folder: bool) -> bool:
    """The last pattern that matches decides, those of inner folders after those of outer ones."""
    ignored = False
    for base, patterns in rules:
        inside = path[len(base) + 1 :] if base else path
        for pattern in patterns:
            if pattern.matches(inside, folder=folder):
                ignored = not pattern.negated
    return ignored


# What stands between two wildcards is looked for where it comes first, and never given up for a later place (an
# atomic group): if the rest fits behind a later one, it fits behind the first one too. So nothing is tried twice.


def _path(parts: Sequence[str]) -> str:
    """Regular expression of a pattern, by its parts between slashes."""
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_part(part))
    first, *inner = ["".join(f"{part}/" for part in run) for run in runs[:-1]] or [""]
    floating = "".join(f"(?>{_FOLDERS}{run})" for run in inner if run)
    last = "/".join(runs[-1]) if runs[-1] else ".+"
    return first + floating + (_FOLDERS if len(runs) > 1 else "") + last + r"\Z"


def _part(text: str) -> str:
    """Regular expression of what stands between two slashes; its wildcards do not cross one."""
    pieces = [""]
    for token in _TOKEN.finditer(text):
        if token["star"]:
            pieces.append("")
        else:
            pieces[-1] += _character(token)
    first, *inner = pieces
    if not inner:
        return first
    *inner, last = inner
    return first + "".join(f"(?>[^/]*?{piece})" for piece in inner if piece) + "[^/]*" + last


def _character(token: re.Match[str]) -> str:
    if token["any"]:
        return "[^/]"
    if not token["set"]:
        return re.escape(token["plain"])
    inside = token["set"][1:-1]
    negated = inside[0] in "!^"
    members = _RANGE.sub(
        lambda m: f"{re.escape(m[1])}-{re.escape(m[2])}" if m[1] else re.escape(m[3]), inside[1:] if negated else inside
    )
    return f"(?!/)[{'^' if negated else ''}{members}]"
