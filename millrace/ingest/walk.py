"""Find the files of a folder: ignore rules, sizes, and nothing outside it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Final

import msgspec

from millrace.errors import InputRejected
from millrace.ingest.patterns import IGNORE_FILE, IgnorePattern, is_any, is_ignored, parsed, read_ignore_file
from millrace.ingest.source import Skipped, below

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
BINARY_TYPES: Final = frozenset(t for t in MEDIA_TYPES.values() if t == "application/pdf" or t.startswith(_OFFICE))
"""Types that no charset has anything to say about."""
UTF8_TYPES: Final = frozenset({"text/markdown", "text/plain"})
"""Types that are text and nothing else; what a parser reads has encodings of its own, or none."""
MAX_BYTES: Final = 16 * 2**20


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
    ignores : bool
        Whether ignore files count.

    Attributes
    ----------
    skipped : list of Skipped
        What was not taken although its type is known, filled while walking.
    passed_over : counter of str
        Files of other types, by their endings.

    Raises
    ------
    InputRejected
        If the path does not exist.
    """

    def __init__(self, root: Path, rules: Rules, prefix: str = "", *, ignores: bool = True) -> None:
        if not root.exists():
            raise InputRejected(f"{root} does not exist; name a folder or a file")
        self.root = root.resolve() if root.is_dir() else root.resolve().parent
        self._only = None if root.is_dir() else root.name
        self._rules = rules
        self._prefix = below(prefix)
        self._takes = chooser(rules)
        self._ignores = ignores
        self.skipped: list[Skipped] = []
        self.passed_over: Counter[str] = Counter()

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
            has_rules = self._ignores and any(entry.name == IGNORE_FILE for entry in entries)
            own = read_ignore_file(folder / IGNORE_FILE) if has_rules else []
        except OSError as error:
            self._skip(relative, "unreadable", f"the folder cannot be listed: {error}")
            return
        except InputRejected as error:  # what it was to keep back stays back
            self._skip(relative, "ignore_file", f"{error}. Nothing of its folder is sent")
            return
        rules = [*above, (relative, own)] if own else above
        for entry in entries:
            path = f"{relative}/{entry.name}" if relative else entry.name
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_ignored(path, rules, folder=is_folder) or entry.name.startswith("."):
                continue
            if is_folder:
                yield from self._folder(Path(entry.path), path, rules)
            else:
                yield from self._file(Path(entry.path), path)

    def _file(self, path: Path, relative: str, *, named: bool = False) -> Iterator[FoundFile]:
        if not self._takes(relative):
            return
        media_type = MEDIA_TYPES.get(path.suffix.lower())
        if media_type is None:
            if named:
                self._skip(relative, "type", f"only {', '.join(MEDIA_TYPES)} files are read")
            elif path.is_file():
                self.passed_over[ending(path)] += 1
            return
        identity = self._prefix + relative
        try:
            identity.encode()
            target = Path(os.path.realpath(path, strict=True))  # resolve() ends a circle with an error of its own
            if not target.is_relative_to(self.root):
                self._skip(relative, "outside", "the link leads out of the folder; copy the file")
                return
            if not target.is_file():
                return
            size = target.stat().st_size
        except UnicodeEncodeError:
            self._skip(relative, "name", "the file name is not UTF-8; rename it")
            return
        except OSError as error:
            self._skip(relative, "unreadable", f"the file cannot be read: {error}")
            return
        if size > self._rules.max_bytes:
            message = f"the file has {size} bytes, at most {self._rules.max_bytes} are taken; raise --max-bytes"
            self._skip(relative, "too_large", message)
            return
        yield FoundFile(identity, target, media_type, size)

    def _skip(self, relative: str, reason: str, message: str) -> None:
        name, told = (text.encode("utf-8", "replace").decode() for text in (self._prefix + relative, message))
        self.skipped.append(Skipped(name, reason, told))


def ending(path: PurePath) -> str:
    """Ending of a file's name, as it is counted and shown."""
    return path.suffix.lower().encode("utf-8", "replace").decode() or "no ending"


def chooser(rules: Rules) -> Callable[[str], bool]:
    """Whether the rules take a relative path.

    Raises
    ------
    InputRejected
        If a pattern can mean nothing.
    """
    include, exclude = parsed(rules.include), parsed(rules.exclude)
    return lambda path: (not include or is_any(include, path)) and not is_any(exclude, path)
