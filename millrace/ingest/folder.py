"""Folders and files as a source: what is read, and what is put off because it still changes."""

import asyncio
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from pathlib import Path
from typing import Final

from millrace.errors import InputRejected
from millrace.ingest.homes import Home
from millrace.ingest.source import Document, Held, Skipped
from millrace.ingest.walk import UTF8_TYPES, FoundFile, Rules, Walk

_TRIES: Final = 3
_COARSE_NS: Final = 2_000_000_000
"""Coarsest time stamps of file systems in use (FAT): a file written since may have been written twice."""
Stamp = tuple[int, int, int, int]
"""``(inode, size, mtime_ns, ctime_ns)``."""


class FolderSource:
    """A folder, or a single file.

    Parameters
    ----------
    path : Path
        The folder or file.
    name : str
        Name of the source; the folder's own by default.
    quiet_s : float
        Put off files that were written less than this long ago, and believe that one is gone when it was missing for
        this long, in seconds; 0 takes everything as it stands.
    patience_s : float
        Take a file that is written on and on after this long all the same, in seconds.

    Attributes
    ----------
    home : Home or None
        Told when everything was sent, where the source is named after its folder.

    Raises
    ------
    InputRejected
        If the path does not exist.
    """

    def __init__(
        self,
        path: Path,
        rules: Rules,
        prefix: str = "",
        *,
        name: str = "",
        quiet_s: float = 0.0,
        patience_s: float = 30.0,
    ) -> None:
        self.home: Home | None = None
        self.path = path
        self._rules = rules
        self._prefix = prefix
        self._quiet_s = quiet_s
        self._patience_s = patience_s
        self._walk = Walk(path, rules, prefix)
        self.name = name or self._walk.root.name or "files"
        self.skipped: list[Skipped] = []
        self.passed_over: Counter[str] = Counter()
        self.put_off: set[str] = set()
        self._fresh_since: dict[str, float] = {}
        self._missing_since: dict[str, float] = {}
        self._doubts = False
        self._stamps: dict[str, tuple[Stamp, str]] = {}

    @property
    def root(self) -> Path:
        """The folder, resolved; of a single file, the one that it stands in."""
        return self._walk.root

    @property
    def is_restless(self) -> bool:
        """Whether the last look left something for a later one."""
        return bool(self.put_off) or self._doubts

    async def documents(self, held: Held) -> AsyncGenerator[Document, None]:
        """Files as they stand; one that was read before and was not touched since is not read again."""
        self._walk = Walk(self.path, self._rules, self._prefix)
        self.skipped, self.passed_over, self.put_off = self._walk.skipped, self._walk.passed_over, set()
        for file in self._walk:
            try:
                document = await asyncio.to_thread(self._read, file, held(file.id))
            except OSError as error:
                self.skipped.append(Skipped(file.id, "unreadable", f"the file cannot be read: {error}"))
                continue
            if document is not None:
                yield document
        self._fresh_since = {name: since for name, since in self._fresh_since.items() if name in self.put_off}

    async def lost(self, documents: Collection[str]) -> set[str]:
        """Documents under this folder whose file is gone.

        Raises
        ------
        InputRejected
            For a single file.
        """
        if not self.path.is_dir():
            raise InputRejected("--sync compares a source with folders; name folders, not files")
        now = time.monotonic()
        missing = {document for document in documents if self._walk.lost(document)}
        self._missing_since = {document: self._missing_since.get(document, now) for document in missing}
        lost = {document for document in missing if now - self._missing_since[document] >= self._quiet_s}
        self._doubts = len(missing) > len(lost)
        return lost

    async def commit(self) -> None:
        """Note where the folder is; the log alone knows what it holds."""
        if self.home is not None:
            await asyncio.to_thread(self.home.note)

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, file: FoundFile, digest: str) -> Document | None:
        for _ in range(_TRIES):
            descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as opened:
                before = _stamp(os.fstat(descriptor))
                if self._is_fresh(file.id, before):
                    self.put_off.add(file.id)
                    return None
                if digest and self._stamps.get(file.id) == (before, digest):
                    return Document(id=file.id, media_type=file.media_type, state="unchanged")
                content = opened.read(min(before[1], self._rules.max_bytes) + 1)
                after = _stamp(os.fstat(descriptor))
            if len(content) > self._rules.max_bytes:
                raise OSError(f"it grew over {self._rules.max_bytes} bytes while it was read")
            if before == after:
                return self._document(file, content, after)
        message = f"it was written to while it was read, {_TRIES} times; it is taken when it rests, by the next run"
        self.skipped.append(Skipped(file.id, "changing", message))
        return None

    def _is_fresh(self, document: str, stamp: Stamp) -> bool:
        age_s = time.time() - stamp[2] / 1e9
        if not 0 <= age_s < self._quiet_s:  # a time of the future says nothing about now
            return False
        since = self._fresh_since.setdefault(document, time.monotonic())
        return time.monotonic() - since < self._patience_s

    def _document(self, file: FoundFile, content: bytes, stamp: Stamp) -> Document | None:
        if file.media_type in UTF8_TYPES:
            try:
                content.decode()
            except UnicodeDecodeError as error:
                message = f"byte {error.start} is not UTF-8; convert the file (for example with iconv)"
                self.skipped.append(Skipped(file.id, "undecodable", message))
                return None
        document = Document(id=file.id, media_type=file.media_type, content=content)
        if time.time_ns() - stamp[3] > _COARSE_NS:
            self._stamps[file.id] = (stamp, hashlib.sha256(content).hexdigest())
        return document


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
