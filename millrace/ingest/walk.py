"""Find the files of a folder: ignore rules, sizes, and nothing outside it."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from millrace.errors import InputRejected
from millrace.ingest.source import Skipped

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".pdf": "application/pdf",
    ".docx": f"{_OFFICE}.wordprocessingml.document",
    ".pptx": f"{_OFFICE}.presentationml.presentation",
    ".xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".jsonl": "application/x-ndjson",
}
UTF8_TYPES: Final = frozenset({"text/markdown", "text/plain"})
"""Types that are text and nothing else; what a parser reads has encodings of its own, or none."""
IGNORE_FILE: Final = ".millraceignore"
MAX_BYTES: Final = 16 * 2**20
# A wildcard, a set of characters, an escaped character, a character.
_TOKEN: Final = re.compile(r"\*+|\?|\[!?[^\]!][^\]]*\]|\\.|.", re.DOTALL)


class FoundFile(msgspec.Struct, frozen=True):
    """A file to ingest: its id is its POSIX path relative to the folder."""

    id: str
    path: Path
    media_type: str
    n_bytes: int


class Rules(msgspec.Struct, frozen=True):
    """What to take.

    Attributes
    ----------
    include, exclude : tuple of str
        Patterns as in an ignore file; a file must match one of `include`, if there are any, and none of `exclude`.
    max_bytes : int
        Largest file taken.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_bytes: int = MAX_BYTES


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
        anchored = "/" in text
        body = "/".join(_segment(part) for part in text.lstrip("/").split("/")).replace("(?:.*)/", "(?:.*/)?")
        try:
            regex = re.compile(("" if anchored else "(?:.*/)?") + body + r"\Z")
        except re.error as error:
            raise InputRejected(f"{line!r} is no pattern ({error.msg}); write it as in a .gitignore") from error
        return cls(regex, negated, folders_only)

    def matches(self, path: str, *, folder: bool) -> bool:
        """Whether a POSIX path, relative to the ignore file's folder, is meant."""
        return (folder or not self.folders_only) and self.regex.match(path) is not None


class Walk:
    """One look at a folder or a file.

    Parameters
    ----------
    root : Path
        The folder, or a single file.
    rules : Rules
        What to take.
    prefix : str
        Put before each id, with a slash.

    Attributes
    ----------
    skipped : list of Skipped
        What was not taken although its type is known, filled while walking.

    Raises
    ------
    InputRejected
        If the path does not exist.
    """

    def __init__(self, root: Path, rules: Rules, prefix: str = "") -> None:
        if not root.exists():
            raise InputRejected(f"{root} does not exist; name a folder or a file")
        self.root = root.resolve() if root.is_dir() else root.resolve().parent
        self._only = None if root.is_dir() else root.name
        self._rules = rules
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._takes = chooser(rules)
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[FoundFile]:
        if self._only is not None:
            yield from self._file(self.root / self._only, self._only, named=True)
            return
        yield from self._folder(self.root, "", [])

    def lost(self, document: str) -> bool:
        """Whether a document's id lies under this walk, and nothing stands there any more, ignored or not.

        A folder that cannot be looked into says nothing, so its documents are not lost.
        """
        if self._only is not None or not document.startswith(self._prefix):
            return False
        try:
            os.lstat(self.root / document.removeprefix(self._prefix))
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, ValueError):
            return False
        return False

    def _folder(self, folder: Path, relative: str, above: list[tuple[str, list[IgnorePattern]]]) -> Iterator[FoundFile]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            own = (
                _patterns((folder / IGNORE_FILE).read_text("utf-8", "replace").splitlines())
                if any(entry.name == IGNORE_FILE for entry in entries)
                else []
            )
        except OSError as error:
            self.skipped.append(Skipped(self._prefix + relative, "unreadable", f"the folder cannot be listed: {error}"))
            return
        rules = [*above, (relative, own)] if own else above
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if _ignored(path, rules, folder=is_folder) or entry.name.startswith("."):
                continue
            if is_folder:
                yield from self._folder(Path(entry.path), path, rules)
            else:
                yield from self._file(Path(entry.path), path)

    def _file(self, path: Path, relative: str, *, named: bool = False) -> Iterator[FoundFile]:
        media_type = MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None:
            if named:
                self.skipped.append(
                    Skipped(self._prefix + relative, "type", f"only {', '.join(MEDIA_TYPES)} files are read")
                )
            return
        if not self._takes(relative):
            return
        identity = self._prefix + relative
        try:
            identity.encode()
            target = path.resolve(strict=True)
            if not target.is_relative_to(self.root):
                self.skipped.append(Skipped(identity, "outside", "the link leads out of the folder; copy the file"))
                return
            if not target.is_file():
                return
            size = target.stat().st_size
        except UnicodeEncodeError:
            shown = identity.encode("utf-8", "replace").decode()
            self.skipped.append(Skipped(shown, "name", "the file name is not UTF-8; rename it"))
            return
        except OSError as error:
            self.skipped.append(Skipped(identity, "unreadable", f"the file cannot be read: {error}"))
            return
        if size > self._rules.max_bytes:
            message = f"the file has {size} bytes, at most {self._rules.max_bytes} are taken; raise --max-bytes"
            self.skipped.append(Skipped(identity, "too_large", message))
            return
        yield FoundFile(identity, target, media_type, size)


def chooser(rules: Rules) -> Callable[[str], bool]:
    """Whether the rules take a relative path.

    Raises
    ------
    InputRejected
        If a pattern can mean nothing.
    """
    include, exclude = _patterns(rules.include), _patterns(rules.exclude)
    return lambda path: (not include or _any(include, path)) and not _any(exclude, path)


def _patterns(lines: Sequence[str]) -> list[IgnorePattern]:
    return [pattern for line in lines if (pattern := IgnorePattern.parse(line)) is not None]


def _any(patterns: Sequence[IgnorePattern], path: str) -> bool:
    parents = [path[:i] for i, character in enumerate(path) if character == "/"]
    return any(p.matches(path, folder=False) or any(p.matches(up, folder=True) for up in parents) for p in patterns)


def _ignored(path: str, rules: Sequence[tuple[str, list[IgnorePattern]]], *, folder: bool) -> bool:
    """The last pattern that matches decides, those of inner folders after those of outer ones."""
    ignored = False
    for base, patterns in rules:
        inside = path[len(base) + 1 :] if base else path
        for pattern in patterns:
            if pattern.matches(inside, folder=folder):
                ignored = not pattern.negated
    return ignored


def _segment(part: str) -> str:
    """Regular expression of a pattern between two slashes; its wildcards do not cross one."""
    if part == "**":
        return "(?:.*)"
    return "".join(_wildcard(piece) for piece in _TOKEN.findall(part))


def _wildcard(piece: str) -> str:
    if piece.startswith("[") and len(piece) > 1:
        inside = piece[1:-1].replace("\\", "\\\\").replace("[", "\\[")
        return f"[^{inside[1:]}/]" if inside.startswith("!") else f"[{inside}]"
    if piece.startswith("*"):
        return "[^/]*"
    return "[^/]" if piece == "?" else re.escape(piece[-1])
